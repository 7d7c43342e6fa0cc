//! A broker that does what a test asks of it, right or wrong. One thread for each connection; ends with the test.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::packet::{self, Packet, Publish};

/// What goes wrong. Most happens to every tenth message of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// Acknowledged and never delivered.
    Lose,
    Double,
    /// Delivered after the next one.
    Swap,
    Damage,
    /// Delivered to everybody.
    Misroute,
    /// Delivered and never acknowledged.
    Withhold,
    /// CONNACK with return code 5.
    Refuse,
    /// SUBACK with 0x80.
    RefuseFilter,
    /// The connection is closed; upon PINGREQ too.
    HangUp,
}

type Receivers = Arc<Mutex<HashMap<Vec<u8>, TcpStream>>>;

/// Starts a broker on a free port.
pub(crate) fn start(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let receivers = Receivers::default();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let client = FaultyConnection { fault, receivers: receivers.clone(), seen: 0, held: None };
            // Ends with an error when the client leaves.
            thread::spawn(move || client.serve(&stream.unwrap()));
        }
    });
    addr
}

struct FaultyConnection {
    fault: Fault,
    receivers: Receivers,
    seen: u64,
    held: Option<Vec<u8>>,
}

impl FaultyConnection {
    fn serve(mut self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        let mut writer = stream;
        loop {
            let packet = read_packet(&mut reader)?;
            match packet[0] {
                0x10 => writer.write_all(&[0x20, 2, 0, if self.fault == Fault::Refuse { 5 } else { 0 }])?,
                0x82 => {
                    let code = if self.fault == Fault::RefuseFilter { 0x80 } else { 1 };
                    let filter = packet[6..packet.len() - 1].to_vec();
                    self.receivers.lock().unwrap().insert(filter, stream.try_clone()?);
                    writer.write_all(&[0x90, 3, packet[2], packet[3], code])?;
                }
                0xC0 if self.fault == Fault::HangUp => return stream.shutdown(Shutdown::Both),
                0xC0 => writer.write_all(&[0xD0, 0])?,
                0x32 if !self.publish(writer, &packet)? => return stream.shutdown(Shutdown::Both),
                _ => {}
            }
        }
    }

    /// Returns whether the connection goes on.
    fn publish(&mut self, mut sender: &TcpStream, packet: &[u8]) -> std::io::Result<bool> {
        let Ok(Some((Packet::Publish(Publish { topic, packet_id, .. }), _))) = packet::read(packet, 1 << 20) else {
            panic!("not a PUBLISH")
        };
        let (topic, mut puback) = (topic.to_vec(), Vec::new());
        packet::puback(&mut puback, packet_id.unwrap());
        let mut bytes = packet.to_vec();
        self.seen += 1;
        let faulty = self.seen.is_multiple_of(10);
        let fault = if faulty { self.fault } else { Fault::Nothing };
        if fault != Fault::Withhold {
            sender.write_all(&puback)?;
        }
        match fault {
            Fault::HangUp => return Ok(false),
            Fault::Lose => return Ok(true),
            Fault::Swap => {
                self.held = Some(bytes);
                return Ok(true);
            }
            Fault::Damage => *bytes.last_mut().unwrap() ^= 1,
            _ => {}
        }
        for (filter, mut receiver) in self.receivers.lock().unwrap().iter() {
            let times = match fault {
                Fault::Double => 2,
                _ => 1,
            };
            if *filter == topic || fault == Fault::Misroute {
                let held = self.held.take().unwrap_or_default();
                // One that has gone is no reason to close its sender's connection.
                _ = (0..times).try_for_each(|_| receiver.write_all(&bytes)).and_then(|()| receiver.write_all(&held));
            }
        }
        Ok(true)
    }
}

fn read_packet(reader: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut packet = vec![0; 2];
    reader.read_exact(&mut packet)?;
    let mut remaining = usize::from(packet[1] & 0x7F);
    while packet.last().unwrap() & 0x80 != 0 {
        packet.push(0);
        let at = packet.len() - 1;
        reader.read_exact(&mut packet[at..])?;
        remaining |= usize::from(packet[at] & 0x7F) << (7 * (at - 1));
    }
    let head = packet.len();
    packet.resize(head + remaining, 0);
    reader.read_exact(&mut packet[head..])?;
    Ok(packet)
}
