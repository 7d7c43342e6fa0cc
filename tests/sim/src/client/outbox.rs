//! What a device has to send, in order, until it is answered. Two kinds of clients: one relies on MQTT, and repeats under
//! the same packet identifier with DUP; the other counts, and repeats under any.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use godwit_schemas::client::{self, request::Call, send};
use prost::Message as _;

use crate::event::Place;
use crate::mqtt::Publish;
use crate::plan::Traits;

/// Of so many messages one is long.
const LONG_EACH: u64 = 4;

/// Publishes without an answer at a time; fewer than the server takes.
const UNANSWERED_MAX: usize = 4;
/// Packet identifiers go round after so many, to be used again soon.
const IDENTIFIERS: u16 = 20;

/// What a publish is for.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A message. `sure`: nothing can forbid it.
    Post { sure: bool },
    /// A call, answered by a Response too.
    Call { titled: bool },
    /// A receipt.
    Read(Place),
}

/// A publish, until it is answered.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) say: String,
    pub(super) kind: Kind,
    pub(super) publish: Publish,
    /// It is counted, and for the user of this name.
    pub(super) counted_to: Option<String>,
    counted: bool,
    ever_sent: bool,
    in_flight: bool,
}

/// See the module.
pub(super) struct Outbox {
    label: String,
    traits: Traits,
    items: VecDeque<Item>,
    last_say: u64,
    last_identifier: u16,
    counted: u64,
    counts: BTreeMap<String, u64>,
    /// Calls by their number.
    pub(super) calls: BTreeMap<u64, String>,
}

impl Outbox {
    /// Counts from behind `counted` on.
    pub(super) fn new(label: String, traits: Traits, counted: u64) -> Self {
        Self {
            label,
            traits,
            items: VecDeque::new(),
            last_say: 0,
            last_identifier: 0,
            counted,
            counts: BTreeMap::new(),
            calls: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Nothing is in flight any more.
    pub(super) fn disconnected(&mut self) {
        self.items.iter_mut().for_each(|item| item.in_flight = false);
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.items.iter().any(|item| item.in_flight)
    }

    /// The next to send, and whether DUP is set and it was sent before.
    pub(super) fn next(&mut self) -> Option<(Item, bool, bool)> {
        if self.items.iter().filter(|item| item.in_flight).count() >= UNANSWERED_MAX {
            return None;
        }
        let index = self.items.iter().position(|item| !item.in_flight)?;
        let again = self.items[index].ever_sent;
        // An app that counts has forgotten the identifier with its connection.
        let renamed = self.items[index].counted || !again;
        if renamed {
            self.items[index].publish.packet_id = self.identifier();
        }
        let item = &mut self.items[index];
        (item.in_flight, item.ever_sent) = (true, true);
        Some((item.clone(), again && !renamed, again))
    }

    fn identifier(&mut self) -> u16 {
        let most = if self.traits.repetitive { u16::MAX } else { IDENTIFIERS };
        loop {
            self.last_identifier = self.last_identifier % most + 1;
            let identifier = self.last_identifier;
            if !self.items.iter().any(|item| item.ever_sent && item.publish.packet_id == identifier) {
                return identifier;
            }
        }
    }

    /// PUBACK came.
    pub(super) fn answered(&mut self, packet_id: u16) -> Option<Item> {
        let index = self.items.iter().position(|item| item.in_flight && item.publish.packet_id == packet_id)?;
        self.items.remove(index)
    }

    fn say(&mut self, repetitive: bool) -> String {
        if repetitive {
            return format!("{}/same", self.label);
        }
        self.last_say += 1;
        format!("{}/{}", self.label, self.last_say)
    }

    fn push(&mut self, say: String, kind: Kind, topic: String, payload: Bytes, expires_in_s: u32, counted: bool) {
        let publish = Publish { topic, packet_id: 0, payload, expires_in_s };
        let counted_to = None;
        self.items.push_back(Item { say, kind, publish, counted_to, counted, ever_sent: false, in_flight: false });
    }

    /// A message to a user.
    pub(super) fn send_to_user(&mut self, user: &str, expires_in_s: u32) {
        let to = send::To::User(user.to_owned());
        self.post(to, format!("to/{user}"), expires_in_s, true);
    }

    /// A message to a conversation.
    pub(super) fn send_to_conversation(&mut self, id: u64, expires_in_s: u32) {
        self.post(send::To::Conversation(id), format!("send/{id}"), expires_in_s, false);
    }

    fn post(&mut self, to: send::To, topic: String, expires_in_s: u32, sure: bool) {
        let mut say = self.say(self.traits.repetitive);
        if !self.traits.repetitive && self.last_say.is_multiple_of(LONG_EACH) {
            // Kept apart from inboxes.
            say.extend(std::iter::repeat_n('x', 700));
        }
        if !self.traits.counts {
            let body = Bytes::from(say.clone());
            return self.push(say, Kind::Post { sure }, topic, body, expires_in_s, false);
        }
        let count = self.counts.entry(topic).or_insert(self.counted);
        *count += 1;
        let body = say.clone().into();
        let counted_to = match &to {
            send::To::User(user) => Some(user.clone()),
            _ => None,
        };
        let send = client::Send { to: Some(to), client_sequence: *count, body, expires_in_s, ..Default::default() };
        self.push(say, Kind::Post { sure }, "send".to_owned(), send.encode_to_vec().into(), 0, true);
        self.items.back_mut().into_iter().for_each(|item| item.counted_to.clone_from(&counted_to));
    }

    /// A call; `make` is handed a title that nobody else uses.
    pub(super) fn call(&mut self, make: impl FnOnce(String) -> Call) {
        let say = self.say(false);
        let id = self.last_say;
        self.calls.insert(id, say.clone());
        let call = make(say.clone());
        let titled = matches!(call, Call::CreateGroup(_) | Call::Rename(_));
        let request = client::Request { id, call: Some(call) };
        self.push(say, Kind::Call { titled }, "rpc".to_owned(), request.encode_to_vec().into(), 0, false);
    }

    /// Everything up to this place was read.
    pub(super) fn read(&mut self, place: Place) {
        let receipt = client::ReadReceipt { conversation: place.conversation, read_up_to: place.sequence };
        let payload = receipt.encode_to_vec().into();
        self.push(String::new(), Kind::Read(place), "receipt".to_owned(), payload, 0, false);
    }
}
