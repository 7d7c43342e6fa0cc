//! What rumqttd's router costs, used in two ways: with an inbox filter for every client, as a broker would use it, and
//! with a handful of filters and batched payloads, as Godwit does. docs/dev/decisions/rumqttd.md rests on these figures.
//!
//! `make router-cost`, or with other numbers of clients: `make router-cost CLIENTS="1000 50000"`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement: it prints, and ends where it cannot go on"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use bytes::Bytes;
use futures::FutureExt as _;
use rumqttd::local::{LinkBuilder, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet};
use rumqttd::{Notification, Router, RouterConfig};

/// Publishes, and reconnections, that a median is taken of.
const SAMPLES: usize = 200;
/// Filters of the second measurement: as many as a bridge has lanes.
const FILTERS: usize = 4;
/// How long it takes.
const HOPS_FOR: Duration = Duration::from_secs(3);
/// Payloads on their way in it: far fewer than the router keeps.
const ON_THE_WAY_MAX: u64 = 512;

fn main() {
    let arguments: Vec<usize> = env::args().skip(1).map(|number| number.parse().unwrap()).collect();
    let counts = if arguments.is_empty() { vec![1_000, 10_000] } else { arguments };
    println!("A filter for every client, links within the process, 100-byte messages:\n");
    println!("| clients | memory per client | first publish to a new topic | a later one | one reconnection |");
    println!("|---|---|---|---|---|");
    counts.into_iter().for_each(filter_for_each);
    println!("\n{FILTERS} filters, one publisher:\n");
    println!("| payload | payloads per second |");
    println!("|---|---|");
    [100, 64 * 100].into_iter().for_each(few_filters);
}

/// A client as the router knows it.
struct Client {
    tx: LinkTx,
    rx: LinkRx,
}

/// Opens links. The type of the router's channel has no name outside rumqttd; that of a function has one.
type Connect = Box<dyn Fn(&str) -> Client>;

fn router(connections: usize) -> Connect {
    let config = RouterConfig {
        max_connections: connections + 16,
        max_outgoing_packet_count: 200,
        max_segment_size: 512 * 1024,
        max_segment_count: 16,
        ..RouterConfig::default()
    };
    let events = Router::new(0, config).spawn();
    Box::new(move |name| {
        let (tx, rx, _) = LinkBuilder::new(name, events.clone()).build().unwrap();
        Client { tx, rx }
    })
}

impl Client {
    /// Subscribes, and waits until the router has done so.
    fn subscribe(&mut self, filter: &str) {
        self.tx.subscribe(filter).unwrap();
        while !matches!(self.rx.recv().unwrap(), Some(Notification::DeviceAck(_))) {}
    }

    /// Waits for the next message.
    fn receive(&mut self) {
        loop {
            match self.rx.recv().unwrap() {
                Some(Notification::Forward(_)) => return,
                Some(Notification::Unschedule) => self.rx.ready().unwrap(),
                _ => {}
            }
        }
    }
}

fn filter_for_each(count: usize) {
    let connect = router(count);
    let name = |n: usize| format!("client-{n}");
    let inbox = |n: usize| format!("c/user-{n}/phone/inbox");
    let join = |n: usize| {
        let mut client = connect(&name(n));
        client.subscribe(&inbox(n));
        client
    };
    let before = resident_bytes();
    let mut clients: Vec<Client> = (0..count).map(join).collect();
    let memory = (resident_bytes() - before) / count;

    let mut publisher = connect("publisher");
    let sampled: Vec<usize> = (0..SAMPLES).map(|sample| sample * count / SAMPLES).collect();
    let mut publish = |n: usize| {
        let begun = Instant::now();
        publisher.tx.publish(inbox(n), Bytes::from_static(&[0; 100])).unwrap();
        clients[n].receive();
        begun.elapsed()
    };
    let first = median(sampled.iter().map(|n| publish(*n)));
    let later = median(sampled.iter().map(|n| publish(*n)));
    let reconnect = median(sampled.iter().map(|&n| {
        let begun = Instant::now();
        let goodbye = Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection };
        clients[n].tx.send(Packet::Disconnect(goodbye, None)).now_or_never().unwrap().unwrap();
        clients[n] = join(n);
        begun.elapsed()
    }));
    println!("| {count} | {:.1} KB | {first:.0?} | {later:.0?} | {reconnect:.0?} |", memory as f64 / 1e3);
    // Kept, so that the next measurement finds no memory that was used before.
    std::mem::forget(clients);
}

fn few_filters(payload_bytes: usize) {
    let connect = router(FILTERS);
    let received = Arc::new(AtomicU64::new(0));
    for lane in 0..FILTERS {
        let (mut client, received) = (connect(&format!("lane-{lane}")), received.clone());
        client.subscribe(&format!("up/{lane}"));
        thread::spawn(move || {
            loop {
                client.receive();
                received.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut publisher = connect("edge");
    let topics: Vec<Bytes> = (0..FILTERS).map(|lane| format!("up/{lane}").into()).collect();
    let payload = Bytes::from(vec![0; payload_bytes]);
    let (begun, mut published) = (Instant::now(), 0);
    while begun.elapsed() < HOPS_FOR {
        while published - received.load(Ordering::Relaxed) >= ON_THE_WAY_MAX {
            thread::yield_now();
        }
        publisher.tx.publish(topics[published as usize % FILTERS].clone(), payload.clone()).unwrap();
        published += 1;
    }
    let per_second = received.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    println!("| {payload_bytes} bytes | {per_second:.0} |");
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_ascii_whitespace().next().unwrap().parse::<usize>().unwrap() * 1_024
}
