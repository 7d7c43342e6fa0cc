//! One publishing client: its packets, and which of them are not acknowledged yet.

use std::collections::VecDeque;

use anyhow::{Result, bail, ensure};

use crate::body::{BODY_BYTES_MAX, BodyStamp, STAMP_BYTES};
use crate::packet;

/// Packet identifiers there are: 1 to 65,535, used in turn.
const IDENTIFIERS: u64 = 65_535;

/// The publishes of one connection, with their window.
pub(crate) struct LoadSender {
    run: u32,
    number: u32,
    /// A whole PUBLISH; identifier and body are replaced each time.
    template: Vec<u8>,
    identifier_at: usize,
    next: u64,
    in_flight: VecDeque<UnackedSend>,
}

struct UnackedSend {
    sequence: u64,
    at: u64,
}

impl LoadSender {
    /// `number` is unique within `run`. `body_bytes` was checked by [`check_body`].
    pub(crate) fn new(run: u32, number: u32, topic: &str, body_bytes: usize) -> Self {
        let mut template = Vec::new();
        packet::publish_head(&mut template, topic, 0, body_bytes);
        let identifier_at = template.len() - 2;
        template.resize(template.len() + body_bytes, 0);
        Self { run, number, template, identifier_at, next: 0, in_flight: VecDeque::new() }
    }

    /// Messages published so far: the next one's sequence.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Sequences that are not acknowledged.
    pub(crate) fn in_flight(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.in_flight.iter().map(|message| message.sequence)
    }

    /// Whether fewer than `window` publishes are unacknowledged, and the next identifier is free.
    pub(crate) fn has_room(&self, window: usize) -> bool {
        let oldest = self.in_flight.front().map_or(self.next, |message| message.sequence);
        self.in_flight.len() < window && self.next - oldest < IDENTIFIERS
    }

    /// Appends the next message, stamped with the time `at`.
    pub(crate) fn publish(&mut self, out: &mut Vec<u8>, at: u64) {
        let stamp = BodyStamp { run: self.run, sender: self.number, sequence: self.next, at };
        let (identifier, body) = self.template[self.identifier_at..].split_at_mut(2);
        identifier.copy_from_slice(&identifier_of(self.next).to_be_bytes());
        stamp.write(body);
        out.extend_from_slice(&self.template);
        self.in_flight.push_back(UnackedSend { sequence: self.next, at });
        self.next += 1;
    }

    /// Takes a PUBACK; returns the time that the message was stamped with. They normally come in order, which makes
    /// this cheap, but need not.
    pub(crate) fn acknowledge(&mut self, identifier: u16) -> Result<u64> {
        let at = self.in_flight.iter().position(|message| identifier_of(message.sequence) == identifier);
        match at.and_then(|at| self.in_flight.remove(at)) {
            Some(message) => Ok(message.at),
            None => bail!("PUBACK {identifier} answers nothing that is unacknowledged"),
        }
    }
}

fn identifier_of(sequence: u64) -> u16 {
    (1 + sequence % IDENTIFIERS) as u16
}

/// Refuses sizes that cannot carry a stamp or do not fit a read buffer.
pub(crate) fn check_body(bytes: usize) -> Result<()> {
    let sizes = STAMP_BYTES..=BODY_BYTES_MAX;
    ensure!(sizes.contains(&bytes), "a body has {STAMP_BYTES} to {BODY_BYTES_MAX} bytes, not {bytes}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;

    #[test]
    fn publishes_what_a_receiver_can_check() {
        let mut sender = LoadSender::new(9, 5, "to/bob", 100);
        let mut out = Vec::new();
        for sequence in 0..3 {
            out.clear();
            sender.publish(&mut out, 1000 + sequence);
            let (packet, used) = packet::read(&out, 1 << 20).unwrap().unwrap();
            assert_eq!(used, out.len());
            let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
            assert_eq!((publish.topic, publish.packet_id), (&b"to/bob"[..], Some(1 + sequence as u16)));
            let stamp = BodyStamp { run: 9, sender: 5, sequence, at: 1000 + sequence };
            assert_eq!(BodyStamp::read(publish.payload), Some(stamp));
            assert!(stamp.fits(publish.payload) && publish.payload.len() == 100);
        }
    }

    #[test]
    fn acknowledgements_in_any_order() {
        let mut sender = LoadSender::new(1, 1, "t", STAMP_BYTES);
        let mut out = Vec::new();
        (0..3).for_each(|at| sender.publish(&mut out, at));
        assert!(!sender.has_room(3) && sender.has_room(4));
        assert_eq!(sender.acknowledge(2).unwrap(), 1);
        assert_eq!(sender.in_flight().collect::<Vec<_>>(), [0, 2]);
        assert!(sender.acknowledge(2).is_err());
        assert!(sender.acknowledge(4).is_err());
        assert_eq!((sender.acknowledge(1).unwrap(), sender.acknowledge(3).unwrap()), (0, 2));
    }

    #[test]
    fn identifiers_are_never_zero_and_never_in_use_twice() {
        let mut sender = LoadSender::new(1, 1, "t", STAMP_BYTES);
        let mut out = Vec::new();
        for at in 0..IDENTIFIERS {
            assert!(sender.has_room(usize::MAX));
            sender.publish(&mut out, at);
            out.clear();
        }
        assert!(!sender.has_room(usize::MAX));
        assert_eq!(sender.acknowledge(65_535).unwrap(), 65_534);
        assert!(!sender.has_room(usize::MAX), "identifier 1 is next and still in use");
        sender.acknowledge(1).unwrap();
        assert!(sender.has_room(usize::MAX));
    }
}
