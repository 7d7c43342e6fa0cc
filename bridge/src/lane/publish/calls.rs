//! Calls of devices. What a client asks for is counted before it is done: a call that only reads waits in its session until
//! it is its turn, and is carried out only while somebody listens for the answer and not too many answers are under way
//! already. A call that changes something keeps its place among the publishes of its device, which all wait until there is
//! room for one more answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use godwit_core::call::{CallEffect, RoutedCall};
use godwit_core::reply_to::{ConnectionKey, PublishKey};
use godwit_schemas::bus::{self, Kind};
use godwit_schemas::client;
use godwit_schemas::reason::Reason;
use prost::Message;

use crate::lane::publish::request::key_of;
use crate::lane::query::page::AnswerRoom;

/// Answers that a connection may have under way: from when its call is carried out until its client has acknowledged them.
const ANSWERS_MAX: usize = 16;
/// Bytes of them; the one that passes this is the last.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// What MQTT adds to correlation data: its key and length.
const CORRELATION_BYTES: usize = 3;
/// What a PUBLISH to `rpc` has besides its payload and correlation data, at the most: type, length, topic, packet identifier,
/// length of the properties.
pub(in crate::lane) const BESIDE_ANSWER: u32 = 1 + 4 + 5 + 2 + 3;

/// A call that waits for its turn.
pub(in crate::lane) struct WaitingCall {
    pub(in crate::lane) publish: PublishKey,
    pub(super) id: u64,
    pub(super) call: RoutedCall,
    pub(super) correlation: Bytes,
}

impl WaitingCall {
    /// The call that a publish makes, if it only reads.
    pub(in crate::lane) fn of(key: ConnectionKey, publish: &bus::Publish) -> Option<Self> {
        if publish.kind() != Kind::Rpc {
            return None;
        }
        let client::Request { id, call } = client::Request::decode(publish.payload.clone()).ok()?;
        let call = call.map(RoutedCall::from).filter(|call| call.spec().effect == CallEffect::Reads)?;
        let to = key_of(key, publish);
        Some(Self { publish: to, id, call, correlation: publish.correlation() })
    }
}

/// Answers of a connection that its client has not acknowledged.
#[derive(Debug, Default)]
pub(in crate::lane) struct Answers {
    /// Bytes of each, by its number.
    under_way: BTreeMap<u64, usize>,
    bytes: usize,
    /// `None`: any.
    payload_bytes_max: Option<u32>,
}

impl Answers {
    /// None so far. `packet_bytes_max`: of the connection; `None`: any.
    pub(in crate::lane) fn new(packet_bytes_max: Option<u32>) -> Self {
        let payload_bytes_max = packet_bytes_max.map(|limit| limit.saturating_sub(BESIDE_ANSWER).max(1));
        Self { payload_bytes_max, ..Self::default() }
    }

    /// Whether another one may be computed, where so many are already.
    pub(in crate::lane) fn has_room(&self, computing: u32) -> bool {
        self.under_way.len() + (computing as usize) < ANSWERS_MAX && self.bytes < ANSWER_BYTES_MAX
    }

    /// What an answer may hold that repeats so much correlation data.
    pub(in crate::lane) fn room(&self, correlation: &Bytes) -> AnswerRoom {
        let beside = if correlation.is_empty() { 0 } else { CORRELATION_BYTES + correlation.len() };
        AnswerRoom::of_payload(self.payload_bytes_max).without(beside)
    }

    pub(in crate::lane) fn sent(&mut self, number: u64, bytes: usize) {
        self.under_way.insert(number, bytes);
        self.bytes += bytes;
    }

    pub(in crate::lane) fn acknowledge(&mut self, number: u64) {
        self.bytes -= self.under_way.remove(&number).unwrap_or(0);
    }
}

/// A response as it is sent to who takes no more than this. What is larger is told to be so, as far as that can be told.
pub(in crate::lane) fn fitting(response: &client::Response, room: AnswerRoom) -> Option<Bytes> {
    let len = response.encoded_len();
    if len <= room.most {
        return Some(response.encode_to_vec().into());
    }
    let text = format!("the answer has {len} bytes: more than this connection takes (Maximum Packet Size)");
    let reason = Reason::PACKET_TOO_LARGE.into();
    let mut refusal = client::Response { id: response.id, reason, text, ..Default::default() };
    if refusal.encoded_len() > room.most {
        refusal.text.clear();
    }
    (refusal.encoded_len() <= room.most).then(|| refusal.encode_to_vec().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_bounded_by_their_number_and_their_bytes() {
        let mut answers = Answers::default();
        assert!(answers.has_room(15) && !answers.has_room(16));
        (1..16).for_each(|number| answers.sent(number, 10));
        assert!(answers.has_room(0) && !answers.has_room(1));
        answers.sent(16, ANSWER_BYTES_MAX);
        (1..16).for_each(|number| answers.acknowledge(number));
        assert!(!answers.has_room(0), "one is large");
        answers.acknowledge(16);
        answers.acknowledge(16);
        assert!(answers.has_room(15) && answers.bytes == 0);
    }

    #[test]
    fn what_does_not_fit_is_told_to_be_too_large() {
        let response = client::Response { id: 5, users: vec!["somebody".to_owned(); 100], ..Default::default() };
        let told = |most| fitting(&response, AnswerRoom { most }).map(|it| client::Response::decode(it).unwrap());
        assert_eq!(told(10_000), Some(response.clone()));
        let refused = told(200).unwrap();
        assert_eq!((refused.id, refused.reason, refused.users.len()), (5, 0x95, 0));
        assert!(refused.text.contains("1002 bytes"), "{}", refused.text);
        assert_eq!(told(20).map(|it| (it.id, it.reason, it.text)), Some((5, 0x95, String::new())));
        assert_eq!(told(3), None);
    }

    #[test]
    fn correlation_data_takes_room() {
        let answers = Answers::new(Some(100));
        assert_eq!(answers.room(&Bytes::new()), AnswerRoom { most: 85 }, "the packet's head is 15 at the most");
        assert_eq!(answers.room(&Bytes::from_static(b"1234567")), AnswerRoom { most: 75 });
        assert_eq!(Answers::new(None).room(&Bytes::from_static(b"1234567")), AnswerRoom::ANY);
    }
}
