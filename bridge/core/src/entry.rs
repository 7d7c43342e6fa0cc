//! An inbox entry: what one device has still to receive. Written once per message, shared by all its recipients.
//!
//! Layout: expiry (4 bytes, big endian, first so that the store can drop what is expired without knowing the rest),
//! kind (1), then varints: conversation, sequence, sender's ordinal, time stored, length of the sender's name; the
//! name; of a message with extras, their length and these, a `client.Message` of nothing but files, properties, mentions,
//! whether it is silent and whether it is sealed; the rest is the body (message) or the encoded `client.Change`.
//!
//! A large body for many devices is kept once, apart: the messages table holds the entry whole, and each inbox a
//! reference ([`Entry::reference`]), which has the body's length (varint) in its place. Extras stand with the body.

use bytes::{Buf, BufMut, Bytes};
use godwit_schemas::client::{self, event};
use godwit_schemas::ids::{ConversationId, Ordinal, Seq};
use prost::Message as _;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

/// What an entry carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EntryKind {
    /// A message: the rest is its body.
    #[default]
    Message,
    /// A message that was taken back: nothing is left of it. Only in history.
    Recalled,
    /// A change of the conversation: the rest is a `client.Change`.
    Change,
}

/// One inbox entry, or a place in history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Second since 1970 from which on it need not be delivered any more.
    pub expires_at_s: u32,
    /// What `content` is.
    pub kind: EntryKind,
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// Its place there.
    pub sequence: Seq,
    /// Who sent it.
    pub sender: Ordinal,
    /// The sender's user name, for clients that do not keep lists of members.
    pub sender_name: Bytes,
    /// Second since 1970 at which it was stored.
    pub stored_at_s: u32,
    /// Whether the sender limited its life: then what is left is told to the recipient (MQTT-3.3.2-6).
    pub limited: bool,
    /// The message that this one answers.
    pub reply_to: Option<Seq>,
    /// The body is not the first.
    pub edited: bool,
    /// Only who sent it, or made the change, knows of it: the other side has blocked it.
    pub unseen: bool,
    /// The body is kept in the messages table, and is so long.
    pub apart: Option<u32>,
    /// A `client.Message` of nothing but files, properties and what concerns pushes; of a reference: nothing.
    pub extras: Bytes,
    /// Body or encoded change. Of a reference: nothing, see [`Self::is_reference`].
    pub content: Bytes,
}

/// The stored bytes are not an entry: the store is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("damaged inbox entry")]
pub struct Damaged;

const LIMITED: u8 = 0x80;
const APART: u8 = 0x40;
const REFERENCE: u8 = 0x20;
const REPLY: u8 = 0x10;
/// It has extras.
const EXTRAS: u8 = 0x08;
/// Kinds, below the flags.
const KINDS: u8 = 0x07;
const MESSAGE: u8 = 1;
const CHANGE: u8 = 2;
const RECALLED: u8 = 3;
const EDITED: u8 = 4;
const UNSEEN: u8 = 5;
const UNSEEN_EDITED: u8 = 6;
const UNSEEN_CHANGE: u8 = 7;
const UNSEEN_RECALLED: u8 = 0;

impl Entry {
    /// The stored form.
    pub fn encode(&self) -> Bytes {
        self.encode_with(&self.extras, &self.content, if self.apart.is_some() { APART } else { 0 })
    }

    /// The stored form of a reference to a body that is kept apart.
    pub fn reference(&self) -> Bytes {
        let mut length = Vec::with_capacity(5);
        encode_varint(self.content_len().into(), &mut length);
        self.encode_with(&[], &length, REFERENCE)
    }

    /// The body has to be fetched.
    pub fn is_reference(&self) -> bool {
        self.apart.is_some_and(|len| len as usize != self.extras.len() + self.content.len())
    }

    /// Length of content and extras, wherever they are.
    pub fn content_len(&self) -> u32 {
        self.apart.unwrap_or_else(|| u32::try_from(self.extras.len() + self.content.len()).unwrap_or(u32::MAX))
    }

    fn encode_with(&self, extras: &[u8], content: &[u8], flags: u8) -> Bytes {
        let numbers = [
            self.conversation.get(),
            self.sequence.get(),
            self.sender.get().into(),
            self.stored_at_s.into(),
            self.sender_name.len() as u64,
        ];
        let numbers_len: usize = numbers.iter().map(|n| encoded_len_varint(*n)).sum();
        let flags = if extras.is_empty() { flags } else { flags | EXTRAS };
        let mut out = Vec::with_capacity(10 + numbers_len + self.sender_name.len() + extras.len() + content.len());
        out.put_u32(self.expires_at_s);
        let kind = match (self.kind, self.edited, self.unseen) {
            (EntryKind::Message, false, false) => MESSAGE,
            (EntryKind::Message, true, false) => EDITED,
            (EntryKind::Message, false, true) => UNSEEN,
            (EntryKind::Message, true, true) => UNSEEN_EDITED,
            (EntryKind::Change, _, false) => CHANGE,
            (EntryKind::Change, _, true) => UNSEEN_CHANGE,
            (EntryKind::Recalled, _, false) => RECALLED,
            (EntryKind::Recalled, _, true) => UNSEEN_RECALLED,
        };
        let reply = if self.reply_to.is_some() { REPLY } else { 0 };
        out.put_u8(kind | flags | if self.limited { LIMITED } else { 0 } | reply);
        for number in numbers {
            encode_varint(number, &mut out);
        }
        if let Some(reply_to) = self.reply_to {
            encode_varint(reply_to.get(), &mut out);
        }
        out.extend_from_slice(&self.sender_name);
        if !extras.is_empty() {
            encode_varint(extras.len() as u64, &mut out);
            out.extend_from_slice(extras);
        }
        out.extend_from_slice(content);
        out.into()
    }

    /// Reads the stored form without copying.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn decode(mut stored: Bytes) -> Result<Self, Damaged> {
        if stored.len() < 5 {
            return Err(Damaged);
        }
        let expires_at_s = stored.get_u32();
        let flags = stored.get_u8();
        let kind = match flags & KINDS {
            MESSAGE | EDITED | UNSEEN | UNSEEN_EDITED => EntryKind::Message,
            CHANGE | UNSEEN_CHANGE => EntryKind::Change,
            // Three bits: there is no other.
            _ => EntryKind::Recalled,
        };
        let conversation = ConversationId::new(number(&mut stored)?);
        let sequence = Seq::new(number(&mut stored)?);
        let sender = Ordinal::new(number(&mut stored)?.try_into().map_err(|_| Damaged)?);
        let stored_at_s = number(&mut stored)?.try_into().map_err(|_| Damaged)?;
        let name_len = usize::try_from(number(&mut stored)?).map_err(|_| Damaged)?;
        let reply_to = if flags & REPLY == 0 { None } else { Some(Seq::new(number(&mut stored)?)) };
        if name_len > stored.len() {
            return Err(Damaged);
        }
        let sender_name = stored.split_to(name_len);
        let extras_len = if flags & EXTRAS == 0 { 0 } else { number(&mut stored)? };
        let extras_len = usize::try_from(extras_len).ok().filter(|len| *len <= stored.len()).ok_or(Damaged)?;
        let extras = stored.split_to(extras_len);
        let length = |number: u64| u32::try_from(number).map_err(|_| Damaged);
        let apart = match flags & (APART | REFERENCE) {
            0 => None,
            APART => Some(length((extras.len() + stored.len()) as u64)?),
            _ => Some(length(number(&mut stored)?)?),
        };
        Ok(Self {
            expires_at_s,
            kind,
            conversation,
            sequence,
            sender,
            sender_name,
            stored_at_s,
            limited: flags & LIMITED != 0,
            reply_to,
            edited: matches!(flags & KINDS, EDITED | UNSEEN_EDITED),
            unseen: matches!(flags & KINDS, UNSEEN | UNSEEN_EDITED | UNSEEN_CHANGE | UNSEEN_RECALLED),
            apart,
            extras,
            content: stored,
        })
    }

    /// Bytes of the largest packet that delivers it over MQTT 5, as an event or as a raw body, at any time and without an
    /// alias. Only that version has a limit of its packets.
    pub fn packet_bytes_max(&self) -> usize {
        let content = self.content_len() as usize;
        let expiry = if self.limited { EXPIRY_BYTES } else { 0 };
        let payload = match self.kind {
            EntryKind::Change => content,
            EntryKind::Message | EntryKind::Recalled => {
                // What the body is read with is in the content's length already.
                let frame = Self { content: Bytes::new(), extras: Bytes::new(), ..self.clone() }.message(u32::MAX);
                frame.encoded_len() + field_len(content)
            }
        };
        let event = publish_len("inbox".len(), expiry, field_len(payload));
        let [conversation, sequence] = [self.conversation.get(), self.sequence.get()].map(decimal_len);
        let from = USER_PROPERTY_BYTES + "from".len() + self.sender_name.len();
        let seq = USER_PROPERTY_BYTES + "seq".len() + sequence;
        event.max(publish_len("inbox/".len() + conversation, expiry + from + seq, content))
    }

    /// The files that it refers to, as the server has filled them in.
    pub fn files(&self) -> Vec<client::Media> {
        self.read_extras().map(|extras| extras.media).unwrap_or_default()
    }

    /// What MQTT 5 says beside the body.
    pub fn properties(&self) -> Option<Box<client::Properties>> {
        self.read_extras()?.properties
    }

    /// Nobody is pushed because of it, as its sender said.
    pub fn is_silent(&self) -> bool {
        self.read_extras().is_some_and(|extras| extras.silent)
    }

    /// The epoch whose key has sealed the body; 0: it is not sealed.
    pub fn mls_epoch(&self) -> u64 {
        self.read_extras().map_or(0, |extras| extras.mls_epoch)
    }

    /// The same with a body that was sealed in another epoch. What is not sealed has none.
    pub fn sealed_in(self, mls_epoch: u64) -> Self {
        if mls_epoch == 0 {
            return self;
        }
        let extras = client::Message { mls_epoch, ..self.read_extras().unwrap_or_default() };
        Self { extras: extras.encode_to_vec().into(), ..self }
    }

    /// Whom it mentions.
    pub fn mentions(&self) -> Vec<u32> {
        self.read_extras().map(|extras| extras.mentions).unwrap_or_default()
    }

    /// `None`: there are none, as of most messages.
    fn read_extras(&self) -> Option<client::Message> {
        if self.extras.is_empty() {
            return None;
        }
        client::Message::decode(self.extras.clone()).ok()
    }

    /// The payload for a device that reads events.
    pub fn event(&self, now_s: u32) -> Bytes {
        if self.kind == EntryKind::Change {
            // The content is this field's encoding already, but for its key and length.
            return wrap_change(&self.content);
        }
        client::Event { event: Some(event::Event::Message(self.message(now_s))) }.encode_to_vec().into()
    }

    /// As a client sees it. `None`: a change that is damaged.
    pub fn seen(&self, now_s: u32) -> Option<event::Event> {
        match self.kind {
            EntryKind::Change => client::Change::decode(self.content.clone()).ok().map(event::Event::Change),
            EntryKind::Message | EntryKind::Recalled => Some(event::Event::Message(self.message(now_s))),
        }
    }

    /// As a client sees it, if it is a message.
    pub fn message(&self, now_s: u32) -> client::Message {
        let client::Message { media, properties, silent, mentions, mls_epoch, .. } =
            self.read_extras().unwrap_or_default();
        client::Message {
            conversation: self.conversation.get(),
            sequence: self.sequence.get(),
            sender: self.sender.get(),
            age_s: now_s.saturating_sub(self.stored_at_s).into(),
            body: self.content.clone(),
            reply_to: self.reply_to.map_or(0, Seq::get),
            edited: self.edited,
            recalled: self.kind == EntryKind::Recalled,
            reactions: Vec::new(),
            media,
            omitted_bytes: 0,
            properties,
            silent,
            mentions,
            mls_epoch,
        }
    }
}

/// An identifier and the length of two strings.
const USER_PROPERTY_BYTES: usize = 5;
/// An identifier and a number of four bytes.
const EXPIRY_BYTES: usize = 5;

/// Bytes of a PUBLISH of MQTT 5 with QoS 1 (3.3).
fn publish_len(topic: usize, properties: usize, payload: usize) -> usize {
    let varint = |number: usize| encoded_len_varint(number as u64);
    let remaining = 2 + topic + 2 + varint(properties) + properties + payload;
    1 + varint(remaining) + remaining
}

/// Bytes of a field of protobuf that holds so many.
fn field_len(bytes: usize) -> usize {
    1 + encoded_len_varint(bytes as u64) + bytes
}

fn decimal_len(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// `client.Event { change }` around an encoded `client.Change`.
fn wrap_change(change: &Bytes) -> Bytes {
    const EVENT_CHANGE: u32 = 3;
    let mut out = Vec::with_capacity(change.len() + 4);
    prost::encoding::bytes::encode(EVENT_CHANGE, change, &mut out);
    out.into()
}

fn number(stored: &mut Bytes) -> Result<u64, Damaged> {
    decode_varint(stored).map_err(|_| Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: EntryKind, content: Bytes) -> Entry {
        Entry {
            expires_at_s: 2_000_000_000,
            kind,
            conversation: ConversationId::new(300),
            sequence: Seq::new(7),
            sender: Ordinal::new(1),
            sender_name: Bytes::from_static(b"alice"),
            stored_at_s: 1_000,
            limited: true,
            content,
            ..Entry::default()
        }
    }

    #[test]
    fn its_largest_packet_is_known_without_making_it() {
        let whole = |entry: &Entry| {
            // Type, length, topic, identifier, no properties.
            let event = 1 + 1 + 2 + "inbox".len() + 2 + 1 + entry.event(u32::MAX).len();
            let name = entry.sender_name.len();
            let properties = 5 + "from".len() + name + 5 + "seq".len() + entry.sequence.to_string().len();
            let expiry = if entry.limited { 5 } else { 0 };
            let topic = "inbox/".len() + entry.conversation.to_string().len();
            (event + expiry, 1 + 1 + 2 + topic + 2 + 1 + expiry + properties + entry.content.len())
        };
        for (limited, sequence, name, content) in
            [(false, 1, "alice", 0), (true, 1, "alice", 20), (false, 1_000, "a", 60), (true, 99, "", 3)]
        {
            let entry = Entry {
                limited,
                sequence: Seq::new(sequence),
                conversation: ConversationId::new(65),
                sender_name: name.into(),
                content: vec![0; content].into(),
                ..Entry::default()
            };
            let (event, raw) = whole(&entry);
            // An event without a body leaves its field out.
            let most = event.max(raw) + if content == 0 { 2 } else { 0 };
            let bound = entry.packet_bytes_max();
            assert!(bound >= event.max(raw) && bound <= most, "{bound} {event} {raw}");
            let change = Entry { kind: EntryKind::Change, ..entry };
            assert!(change.packet_bytes_max() >= whole(&change).0);
        }
        // Longer lengths take more bytes themselves.
        let long = Entry { content: vec![0; 20_000].into(), ..Entry::default() };
        assert!(long.packet_bytes_max() > 20_000 + 1 + 3 + 2 + 5 + 2 + 1);
        let apart = Entry { content: Bytes::new(), apart: Some(20_000), ..long.clone() };
        assert_eq!(apart.packet_bytes_max(), long.packet_bytes_max());
    }

    #[test]
    fn survives_storage() {
        for content in [Bytes::new(), Bytes::from_static(b"hello"), Bytes::from(vec![0; 70_000])] {
            let entry = entry(EntryKind::Message, content);
            assert_eq!(Entry::decode(entry.encode()), Ok(entry));
        }
        for (kind, edited, unseen) in [
            (EntryKind::Message, true, false),
            (EntryKind::Message, false, true),
            (EntryKind::Message, true, true),
            (EntryKind::Change, false, false),
            (EntryKind::Recalled, false, false),
            (EntryKind::Change, false, true),
            (EntryKind::Recalled, false, true),
        ] {
            let plain = entry(kind, Bytes::new());
            let entry = Entry { reply_to: Some(Seq::new(300)), edited, unseen, limited: false, ..plain };
            assert_eq!(Entry::decode(entry.encode()), Ok(entry));
        }
    }

    #[test]
    fn a_reference_has_everything_but_the_body() {
        let whole = Entry { apart: Some(700), ..entry(EntryKind::Message, Bytes::from(vec![7; 700])) };
        assert_eq!(Entry::decode(whole.encode()), Ok(whole.clone()));
        let reference = Entry::decode(whole.reference()).unwrap();
        assert!(reference.is_reference() && !whole.is_reference());
        assert_eq!(reference.content_len(), 700);
        assert_eq!(Entry { content: whole.content.clone(), ..reference }, whole);
        let files = Entry { extras: Bytes::from_static(b"files"), apart: Some(705), ..whole.clone() };
        assert_eq!(Entry::decode(files.encode()), Ok(files.clone()));
        let reference = Entry::decode(files.reference()).unwrap();
        assert!(reference.is_reference() && reference.extras.is_empty() && reference.content_len() == 705);
        assert!(whole.reference().len() < 32);
    }

    #[test]
    fn damage_is_an_error() {
        let stored = entry(EntryKind::Message, Bytes::new()).encode();
        for len in 0..stored.len() {
            assert_eq!(Entry::decode(stored.slice(..len)), Err(Damaged), "{len}");
        }
        assert_eq!(Entry::decode(Bytes::from_static(&[0, 0, 0, 0, 9, 1, 1, 1, 1, 0])), Err(Damaged));
    }

    #[test]
    fn events_decode_as_the_client_sees_them() {
        let event = client::Event::decode(entry(EntryKind::Message, Bytes::from_static(b"hi")).event(1_060)).unwrap();
        let Some(event::Event::Message(message)) = event.event else { panic!("not a message") };
        assert_eq!((message.conversation, message.sequence, message.sender, message.age_s), (300, 7, 1, 60));
        assert_eq!(message.body, "hi");

        let change = client::Change { conversation: 300, sequence: 7, by: 1, ..Default::default() };
        let event = client::Event::decode(entry(EntryKind::Change, change.encode_to_vec().into()).event(0)).unwrap();
        assert_eq!(event.event, Some(event::Event::Change(change)));
    }
}
