//! Retries without a count: a plain MQTT client that did not get its PUBACK publishes again with DUP set.
//!
//! The answer to "did it take effect already?" is kept for each device's last publishes, in one of [`SLOTS`] places
//! by packet identifier, and written in the same commit as the message. A publish that a client sends again matches if
//! the packet identifier, the content and the epoch are the same. A client that says goodbye with every publish
//! answered is in doubt about none: that begins a new epoch, so that a later publish that happens to look the same is
//! a new one. (A clean start does not: clients repeat what is in doubt across one.)
//!
//! An edge that sends a publish again, because frames were lost or the bridge started anew, knows exactly which one it
//! is: its `mark` says so, and nothing else counts.

use godwit_schemas::ids::{ConversationId, Seq};
use prost::Message;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::command::{ConnectionKey, ReplyTo};

/// Places per device. A client that has at most this many publishes unanswered, as it sees it, never overwrites one
/// that is in doubt. (The receive maximum of MQTT 5 is lower; clients of MQTT 3.1.1 are told in docs/clients.md.)
pub const SLOTS: u16 = 256;

/// A publish that took effect.
#[derive(Clone, PartialEq, Message)]
pub struct Doubt {
    /// Packet identifier.
    #[prost(uint32, tag = "1")]
    pub packet_id: u32,
    /// The device's epoch at the time.
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
    /// Of destination and payload.
    #[prost(fixed64, tag = "3")]
    pub digest: u64,
    /// What it became.
    #[prost(uint64, tag = "4")]
    pub conversation: u64,
    /// What it became.
    #[prost(uint64, tag = "5")]
    pub sequence: u64,
    /// Of edge, connection and the publish's number there.
    #[prost(fixed64, tag = "6")]
    pub mark: u64,
}

impl Doubt {
    /// A publish whose fate is not known yet.
    pub fn new(from: &ReplyTo, epoch: u32, digest: u64) -> Self {
        let ConnectionKey { edge, connection } = from.connection;
        let mark = [edge, connection, from.number].map(u64::to_le_bytes).concat();
        Self { packet_id: from.packet_id.into(), epoch, digest, mark: xxh3_64(&mark), ..Self::default() }
    }

    /// Where it is kept.
    pub fn slot(packet_id: u16) -> u8 {
        (packet_id % SLOTS) as u8
    }

    /// What the publish became, if `other` is a repetition of it: by the client (`duplicate`: it set DUP) or by the
    /// edge.
    pub fn matches(&self, other: &Self, duplicate: bool) -> Option<(ConversationId, Seq)> {
        let alike = self.packet_id == other.packet_id && self.epoch == other.epoch && self.digest == other.digest;
        let same = self.mark == other.mark || (duplicate && alike);
        same.then(|| (ConversationId::new(self.conversation), Seq::new(self.sequence)))
    }
}

/// Digest of a publish: everything that says what it does.
pub fn digest(kind: i32, user: &str, conversation: u64, payload: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&kind.to_le_bytes());
    hash.update(&conversation.to_le_bytes());
    hash.update(&(user.len() as u64).to_le_bytes());
    hash.update(user.as_bytes());
    hash.update(payload);
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_publish_matches() {
        let publish = |connection, number, packet_id, epoch, payload: &[u8]| {
            let connection = ConnectionKey { edge: 5, connection };
            Doubt::new(&ReplyTo { connection, number, packet_id }, epoch, digest(1, "bob", 0, payload))
        };
        let stored = Doubt { conversation: 65, sequence: 3, ..publish(1, 4, 9, 1, b"hello") };
        let place = Some((ConversationId::new(65), Seq::new(3)));
        assert_eq!(stored.matches(&publish(2, 1, 9, 1, b"hello"), true), place);
        assert_eq!(stored.matches(&publish(2, 1, 9 + SLOTS, 1, b"hello"), true), None);
        assert_eq!(stored.matches(&publish(2, 1, 9, 2, b"hello"), true), None);
        assert_eq!(stored.matches(&publish(2, 1, 9, 1, b"hellO"), true), None);
        assert_eq!(stored.matches(&publish(1, 4, 9, 1, b"hello"), false), place, "the edge sent it again");
        assert_eq!(stored.matches(&publish(1, 5, 9, 1, b"hello"), false), None, "another with the same bytes");
    }

    #[test]
    fn digests_tell_fields_apart() {
        assert_ne!(digest(1, "bob", 0, b"x"), digest(1, "bo", 0, b"bx"));
        assert_ne!(digest(1, "", 5, b"x"), digest(2, "", 5, b"x"));
    }
}
