//! A crowd against a server that routes, and one that loses.

use std::cell::RefCell;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, split};

use super::*;
use crate::packet;

fn accounts(count: usize) -> Vec<Account> {
    let account = |n| Account { user: format!("{n}"), device: "phone".into(), password: "secret".into() };
    (0..count).map(account).collect()
}

/// A client's next packet: first byte and what follows the length.
async fn read(stream: &mut ReadHalf<DuplexStream>) -> Option<(u8, Vec<u8>)> {
    let first = stream.read_u8().await.ok()?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((first, body))
}

/// Runs a crowd of eight; the server delivers what `delivers` says of a receiver.
async fn hold(delivers: fn(usize) -> bool) -> HoldReport {
    let (all, mut outputs): (Vec<_>, Vec<_>) = (0..8).map(|_| mpsc::unbounded_channel::<Vec<u8>>()).unzip();
    outputs.reverse();
    let outputs = RefCell::new(outputs);
    let serve = |stream| {
        let (mut input, mut output) = split(stream);
        let (mut queue, all) = (outputs.borrow_mut().pop().unwrap(), all.clone());
        let own = all[7 - outputs.borrow().len()].clone();
        tokio::spawn(async move {
            while let Some(bytes) = queue.recv().await {
                output.write_all(&bytes).await.unwrap();
            }
        });
        tokio::spawn(async move {
            while let Some((first, body)) = read(&mut input).await {
                match first {
                    0x10 => own.send(vec![0x20, 2, 0, 0]).unwrap(),
                    0x82 => own.send(vec![0x90, 3, body[0], body[1], 1]).unwrap(),
                    0x32 => {
                        let topic = std::str::from_utf8(&body[2..6]).unwrap();
                        let receiver: usize = topic.strip_prefix("to/").unwrap().parse().unwrap();
                        let mut publish = Vec::new();
                        packet::publish_head(&mut publish, "inbox/1", 1, body.len() - 8);
                        publish.extend(&body[8..]);
                        if delivers(receiver) {
                            all[receiver].send(publish).unwrap();
                        }
                        own.send(vec![0x40, 2, body[6], body[7]]).unwrap();
                    }
                    _ => {}
                }
            }
        });
    };
    let hold = Hold { connections: 9, rate: 100.0 };
    hold.run(accounts(9), serve, async || Ok(()), &Control::new(|_| {})).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_neighbour_hears_once() {
    let report = hold(|_| true).await;
    assert_eq!((report.connections, report.delivered, report.delivery.count), (8, 8, 8));
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_arrive_is_lost() {
    let report = hold(|receiver| receiver != 3).await;
    assert_eq!((report.delivered, report.violations.lost), (7, 1));
    assert!(!report.is_clean());
}
