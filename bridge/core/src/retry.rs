//! Retries without a count: a plain MQTT client that did not get its PUBACK publishes again with DUP set.
//!
//! The answer to "did it take effect already?" is kept for each device's last publishes, in one of [`SLOTS`] places
//! by packet identifier, and written in the same commit as the message. A publish that a client sends again matches if
//! the packet identifier, the content and the epoch are the same. A client that says goodbye with every publish
//! answered is in doubt about none: that begins a new epoch, so that a later publish that happens to look the same is
//! a new one. (A clean start does not: clients repeat what is in doubt across one.)
//!
//! An edge that sends a publish again, because frames were lost or the bridge started anew, knows exactly which one it
//! is: rank and number say so, and nothing else counts.
//!
//! An edge may not know yet that its client has gone, come through another edge and published there. What it sends then
//! was repeated by the client itself, or given up: where a connection of a higher rank has left its publish, nothing of
//! a lower one is carried out any more.

use godwit_schemas::ids::{ConversationId, Seq};
use prost::Message;
use xxhash_rust::xxh3::Xxh3;

use crate::reply_to::PublishKey;
use crate::stored::InviteRecord;

/// Places per device. A client that has at most this many publishes unanswered, as it sees it, never overwrites one
/// that is in doubt. (The receive maximum of MQTT 5 is lower; clients of MQTT 3.1.1 are told in docs/users/clients.md.)
pub const SLOTS: u16 = 256;

/// A publish that took effect.
#[derive(Clone, PartialEq, Message)]
pub struct PublishRecord {
    /// Packet identifier.
    #[prost(uint32, tag = "1")]
    pub packet_id: u32,
    /// The device's epoch at the time.
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
    /// Of destination and payload.
    #[prost(fixed64, tag = "3")]
    pub digest: u64,
    /// The conversation it went to, or made.
    #[prost(uint64, tag = "4")]
    pub conversation: u64,
    /// The sequence of its message; 0: it is no message.
    #[prost(uint64, tag = "5")]
    pub sequence: u64,
    /// Rank of its connection.
    #[prost(uint64, tag = "7")]
    pub rank: u64,
    /// Its number there.
    #[prost(uint64, tag = "8")]
    pub number: u64,
    /// The invite that it made.
    #[prost(message, optional, tag = "9")]
    pub invite: Option<InviteRecord>,
}

/// What is known of a publish that may be a repetition.
#[derive(Debug, Clone, PartialEq)]
pub enum RetryVerdict {
    /// It has not taken effect.
    Open,
    /// This is what it became.
    Done(AppliedPublish),
    /// It comes from a connection that its client has left for a later one.
    Superseded,
}

/// What a publish became.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AppliedPublish {
    /// The conversation that the publish went to, or made; `None`: it is about none.
    pub conversation: Option<ConversationId>,
    /// Where; `None`: it is no message, or nobody knows where.
    pub sequence: Option<Seq>,
    /// The invite that it made.
    pub invite: Option<InviteRecord>,
    /// The client has sent it twice, not the edge.
    pub by_client: bool,
}

impl PublishRecord {
    /// A publish whose fate is not known yet, of a connection of this rank.
    pub fn new(from: &PublishKey, rank: u64, epoch: u32, digest: u64) -> Self {
        let PublishKey { packet_id, number, .. } = *from;
        let packet_id = packet_id.map_or(0, |packet_id| packet_id.get().into());
        Self { packet_id, epoch, digest, rank, number, ..Self::default() }
    }

    /// Where it is kept.
    pub fn slot(packet_id: u16) -> u8 {
        (packet_id % SLOTS) as u8
    }

    /// What `other`, whose place this is in, has become: it may be a repetition of this one by the client (`duplicate`:
    /// it set DUP) or by the edge.
    pub fn verdict_on(&self, other: &Self, duplicate: bool) -> RetryVerdict {
        let alike = self.packet_id == other.packet_id && self.epoch == other.epoch && self.digest == other.digest;
        let same = self.rank == other.rank && self.number == other.number;
        match () {
            () if self.rank > other.rank => RetryVerdict::Superseded,
            () if same || (duplicate && alike) => RetryVerdict::Done(AppliedPublish {
                conversation: ConversationId::unless_zero(self.conversation),
                sequence: Seq::unless_zero(self.sequence),
                invite: self.invite.clone(),
                by_client: !same,
            }),
            () => RetryVerdict::Open,
        }
    }
}

/// Digest of a publish: everything that says what it does.
pub fn digest(kind: i32, user: &str, conversation: u64, payload: &[u8], properties: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&kind.to_le_bytes());
    hash.update(&conversation.to_le_bytes());
    hash.update(&(user.len() as u64).to_le_bytes());
    hash.update(user.as_bytes());
    hash.update(payload);
    if !properties.is_empty() {
        hash.update(properties);
        hash.update(&(properties.len() as u64).to_le_bytes());
    }
    hash.digest()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::reply_to::ConnectionKey;

    fn publish(rank: u64, number: u64, packet_id: u16, epoch: u32, payload: &[u8]) -> PublishRecord {
        let connection = ConnectionKey { edge: 5, connection: 1 };
        let from = PublishKey { connection, number, packet_id: NonZeroU16::new(packet_id) };
        PublishRecord::new(&from, rank, epoch, digest(1, "bob", 0, payload, b""))
    }

    #[test]
    fn only_the_same_publish_is_done() {
        let stored = PublishRecord { conversation: 65, sequence: 3, ..publish(1, 4, 9, 1, b"hello") };
        let done = |by_client| {
            let (conversation, sequence) = (Some(ConversationId::new(65)), Some(Seq::new(3)));
            RetryVerdict::Done(AppliedPublish { conversation, sequence, invite: None, by_client })
        };
        assert_eq!(stored.verdict_on(&publish(2, 1, 9, 1, b"hello"), true), done(true));
        assert_eq!(stored.verdict_on(&publish(2, 1, 9 + SLOTS, 1, b"hello"), true), RetryVerdict::Open);
        assert_eq!(stored.verdict_on(&publish(2, 1, 9, 2, b"hello"), true), RetryVerdict::Open);
        assert_eq!(stored.verdict_on(&publish(2, 1, 9, 1, b"hellO"), true), RetryVerdict::Open);
        assert_eq!(stored.verdict_on(&publish(1, 4, 9, 1, b"hello"), false), done(false), "the edge sent it again");
        assert_eq!(
            stored.verdict_on(&publish(1, 5, 9, 1, b"hello"), false),
            RetryVerdict::Open,
            "another with the same bytes"
        );
    }

    #[test]
    fn nothing_of_an_earlier_connection_follows_a_later_one() {
        let stored = publish(7, 1, 9, 1, b"hello");
        for earlier in [publish(6, 4, 9, 1, b"hello"), publish(6, 5, 9, 1, b"world")] {
            assert_eq!(stored.verdict_on(&earlier, false), RetryVerdict::Superseded);
        }
        assert_eq!(stored.verdict_on(&publish(8, 1, 9, 1, b"world"), false), RetryVerdict::Open);
    }

    #[test]
    fn digests_tell_fields_apart() {
        assert_ne!(digest(1, "bob", 0, b"x", b""), digest(1, "bo", 0, b"bx", b""));
        assert_ne!(digest(1, "", 5, b"x", b""), digest(2, "", 5, b"x", b""));
        assert_ne!(digest(1, "", 5, b"x", b"p"), digest(1, "", 5, b"x", b""), "properties are a part of what is sent");
        assert_ne!(digest(1, "", 5, b"x", b"p"), digest(1, "", 5, b"xp", b""));
    }
}
