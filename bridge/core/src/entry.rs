//! An inbox entry: what one device has still to receive. Written once per message, shared by all its recipients.
//!
//! Layout: expiry (4 bytes, big endian, first so that the store can drop what is expired without knowing the rest),
//! kind (1), then varints: conversation, sequence, sender's ordinal, time stored, length of the sender's name; the
//! name; of a message with files, their length and a `client.Message` of nothing but them; the rest is the body (message) or
//! the encoded `client.Change`.
//!
//! A large body for many devices is kept once, apart: the messages table holds the entry whole, and each inbox a
//! reference ([`Entry::reference`]), which has the body's length (varint) in its place. Files stand with the body.

use bytes::{Buf, BufMut, Bytes};
use godwit_schemas::client::{self, event};
use godwit_schemas::ids::{ConversationId, Ordinal, Seq};
use prost::Message as _;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

/// What an entry carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
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
    pub kind: Kind,
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
    /// The message that this one answers; 0: none.
    pub reply_to: Seq,
    /// The body is not the first.
    pub edited: bool,
    /// Only its sender knows of it: the other side has blocked it.
    pub unseen: bool,
    /// The body is kept in the messages table, and is so long.
    pub apart: Option<u32>,
    /// A `client.Message` of nothing but files; of a reference: nothing.
    pub media: Bytes,
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
/// It has files.
const MEDIA: u8 = 0x08;
/// Kinds, below the flags.
const KINDS: u8 = 0x07;
const MESSAGE: u8 = 1;
const CHANGE: u8 = 2;
const RECALLED: u8 = 3;
const EDITED: u8 = 4;
const UNSEEN: u8 = 5;
const UNSEEN_EDITED: u8 = 6;

impl Entry {
    /// The stored form.
    pub fn encode(&self) -> Bytes {
        self.encode_with(&self.media, &self.content, if self.apart.is_some() { APART } else { 0 })
    }

    /// The stored form of a reference to a body that is kept apart.
    pub fn reference(&self) -> Bytes {
        let mut length = Vec::with_capacity(5);
        encode_varint(self.content_len().into(), &mut length);
        self.encode_with(&[], &length, REFERENCE)
    }

    /// The body has to be fetched.
    pub fn is_reference(&self) -> bool {
        self.apart.is_some_and(|len| len as usize != self.media.len() + self.content.len())
    }

    /// Length of content and files, wherever they are.
    pub fn content_len(&self) -> u32 {
        self.apart.unwrap_or_else(|| u32::try_from(self.media.len() + self.content.len()).unwrap_or(u32::MAX))
    }

    fn encode_with(&self, media: &[u8], content: &[u8], flags: u8) -> Bytes {
        let numbers = [
            self.conversation.get(),
            self.sequence.get(),
            self.sender.get().into(),
            self.stored_at_s.into(),
            self.sender_name.len() as u64,
        ];
        let numbers_len: usize = numbers.iter().map(|n| encoded_len_varint(*n)).sum();
        let flags = if media.is_empty() { flags } else { flags | MEDIA };
        let mut out = Vec::with_capacity(10 + numbers_len + self.sender_name.len() + media.len() + content.len());
        out.put_u32(self.expires_at_s);
        let kind = match (self.kind, self.edited, self.unseen) {
            (Kind::Message, false, false) => MESSAGE,
            (Kind::Message, true, false) => EDITED,
            (Kind::Message, false, true) => UNSEEN,
            (Kind::Message, true, true) => UNSEEN_EDITED,
            (Kind::Change, ..) => CHANGE,
            (Kind::Recalled, ..) => RECALLED,
        };
        let replies = self.reply_to != Seq::default();
        out.put_u8(kind | flags | if self.limited { LIMITED } else { 0 } | if replies { REPLY } else { 0 });
        for number in numbers {
            encode_varint(number, &mut out);
        }
        if replies {
            encode_varint(self.reply_to.get(), &mut out);
        }
        out.extend_from_slice(&self.sender_name);
        if !media.is_empty() {
            encode_varint(media.len() as u64, &mut out);
            out.extend_from_slice(media);
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
            MESSAGE | EDITED | UNSEEN | UNSEEN_EDITED => Kind::Message,
            CHANGE => Kind::Change,
            RECALLED => Kind::Recalled,
            _ => return Err(Damaged),
        };
        let conversation = ConversationId::new(number(&mut stored)?);
        let sequence = Seq::new(number(&mut stored)?);
        let sender = Ordinal::new(number(&mut stored)?.try_into().map_err(|_| Damaged)?);
        let stored_at_s = number(&mut stored)?.try_into().map_err(|_| Damaged)?;
        let name_len = usize::try_from(number(&mut stored)?).map_err(|_| Damaged)?;
        let reply_to = if flags & REPLY == 0 { Seq::default() } else { Seq::new(number(&mut stored)?) };
        if name_len > stored.len() {
            return Err(Damaged);
        }
        let sender_name = stored.split_to(name_len);
        let media_len = if flags & MEDIA == 0 { 0 } else { number(&mut stored)? };
        let media_len = usize::try_from(media_len).ok().filter(|len| *len <= stored.len()).ok_or(Damaged)?;
        let media = stored.split_to(media_len);
        let length = |number: u64| u32::try_from(number).map_err(|_| Damaged);
        let apart = match flags & (APART | REFERENCE) {
            0 => None,
            APART => Some(length((media.len() + stored.len()) as u64)?),
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
            unseen: matches!(flags & KINDS, UNSEEN | UNSEEN_EDITED),
            apart,
            media,
            content: stored,
        })
    }

    /// The files that it refers to, as the server has filled them in.
    pub fn files(&self) -> Vec<client::Media> {
        client::Message::decode(self.media.clone()).map_or(Vec::new(), |message| message.media)
    }

    /// The payload for a device that reads events.
    pub fn event(&self, now_s: u32) -> Bytes {
        if self.kind == Kind::Change {
            // The content is this field's encoding already, but for its key and length.
            return wrap_change(&self.content);
        }
        client::Event { event: Some(event::Event::Message(self.message(now_s))) }.encode_to_vec().into()
    }

    /// As a client sees it. `None`: a change that is damaged.
    pub fn seen(&self, now_s: u32) -> Option<event::Event> {
        match self.kind {
            Kind::Change => client::Change::decode(self.content.clone()).ok().map(event::Event::Change),
            Kind::Message | Kind::Recalled => Some(event::Event::Message(self.message(now_s))),
        }
    }

    /// As a client sees it, if it is a message.
    pub fn message(&self, now_s: u32) -> client::Message {
        client::Message {
            conversation: self.conversation.get(),
            sequence: self.sequence.get(),
            sender: self.sender.get(),
            age_s: now_s.saturating_sub(self.stored_at_s).into(),
            body: self.content.clone(),
            reply_to: self.reply_to.get(),
            edited: self.edited,
            recalled: self.kind == Kind::Recalled,
            reactions: Vec::new(),
            media: self.files(),
        }
    }
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

    fn entry(kind: Kind, content: Bytes) -> Entry {
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
    fn survives_storage() {
        for content in [Bytes::new(), Bytes::from_static(b"hello"), Bytes::from(vec![0; 70_000])] {
            let entry = entry(Kind::Message, content);
            assert_eq!(Entry::decode(entry.encode()), Ok(entry));
        }
        for (kind, edited, unseen) in [
            (Kind::Message, true, false),
            (Kind::Message, false, true),
            (Kind::Message, true, true),
            (Kind::Change, false, false),
            (Kind::Recalled, false, false),
        ] {
            let plain = entry(kind, Bytes::new());
            let entry = Entry { reply_to: Seq::new(300), edited, unseen, limited: false, ..plain };
            assert_eq!(Entry::decode(entry.encode()), Ok(entry));
        }
    }

    #[test]
    fn a_reference_has_everything_but_the_body() {
        let whole = Entry { apart: Some(700), ..entry(Kind::Message, Bytes::from(vec![7; 700])) };
        assert_eq!(Entry::decode(whole.encode()), Ok(whole.clone()));
        let reference = Entry::decode(whole.reference()).unwrap();
        assert!(reference.is_reference() && !whole.is_reference());
        assert_eq!(reference.content_len(), 700);
        assert_eq!(Entry { content: whole.content.clone(), ..reference }, whole);
        let files = Entry { media: Bytes::from_static(b"files"), apart: Some(705), ..whole.clone() };
        assert_eq!(Entry::decode(files.encode()), Ok(files.clone()));
        let reference = Entry::decode(files.reference()).unwrap();
        assert!(reference.is_reference() && reference.media.is_empty() && reference.content_len() == 705);
        assert!(whole.reference().len() < 32);
    }

    #[test]
    fn damage_is_an_error() {
        let stored = entry(Kind::Message, Bytes::new()).encode();
        for len in 0..stored.len() {
            assert_eq!(Entry::decode(stored.slice(..len)), Err(Damaged), "{len}");
        }
        assert_eq!(Entry::decode(Bytes::from_static(&[0, 0, 0, 0, 9, 1, 1, 1, 1, 0])), Err(Damaged));
    }

    #[test]
    fn events_decode_as_the_client_sees_them() {
        let event = client::Event::decode(entry(Kind::Message, Bytes::from_static(b"hi")).event(1_060)).unwrap();
        let Some(event::Event::Message(message)) = event.event else { panic!("not a message") };
        assert_eq!((message.conversation, message.sequence, message.sender, message.age_s), (300, 7, 1, 60));
        assert_eq!(message.body, "hi");

        let change = client::Change { conversation: 300, sequence: 7, by: 1, change: None };
        let event = client::Event::decode(entry(Kind::Change, change.encode_to_vec().into()).event(0)).unwrap();
        assert_eq!(event.event, Some(event::Event::Change(change)));
    }
}
