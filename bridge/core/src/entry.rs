//! An inbox entry: what one device has still to receive. Written once per message, shared by all its recipients.
//!
//! Layout: expiry (4 bytes, big endian, first so that the store can drop what is expired without knowing the rest),
//! kind (1), then varints: conversation, sequence, sender's ordinal, time stored, length of the sender's name; the
//! name; the rest is the body (message) or the encoded `client.Change`.

use bytes::{Buf, BufMut, Bytes};
use godwit_schemas::client::{self, event};
use godwit_schemas::ids::{ConversationId, Ordinal, Seq};
use prost::Message as _;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

/// What an entry carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A message: the rest is its body.
    Message,
    /// A change of the conversation: the rest is a `client.Change`.
    Change,
}

/// One inbox entry.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Body or encoded change.
    pub content: Bytes,
}

/// The stored bytes are not an entry: the store is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("damaged inbox entry")]
pub struct Damaged;

const LIMITED: u8 = 0x80;

impl Entry {
    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let numbers = [
            self.conversation.get(),
            self.sequence.get(),
            self.sender.get().into(),
            self.stored_at_s.into(),
            self.sender_name.len() as u64,
        ];
        let numbers_len: usize = numbers.iter().map(|n| encoded_len_varint(*n)).sum();
        let mut out = Vec::with_capacity(5 + numbers_len + self.sender_name.len() + self.content.len());
        out.put_u32(self.expires_at_s);
        let kind = match self.kind {
            Kind::Message => 1,
            Kind::Change => 2,
        };
        out.put_u8(if self.limited { kind | LIMITED } else { kind });
        for number in numbers {
            encode_varint(number, &mut out);
        }
        out.extend_from_slice(&self.sender_name);
        out.extend_from_slice(&self.content);
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
        let kind = match flags & !LIMITED {
            1 => Kind::Message,
            2 => Kind::Change,
            _ => return Err(Damaged),
        };
        let conversation = ConversationId::new(number(&mut stored)?);
        let sequence = Seq::new(number(&mut stored)?);
        let sender = Ordinal::new(number(&mut stored)?.try_into().map_err(|_| Damaged)?);
        let stored_at_s = number(&mut stored)?.try_into().map_err(|_| Damaged)?;
        let name_len = usize::try_from(number(&mut stored)?).map_err(|_| Damaged)?;
        if name_len > stored.len() {
            return Err(Damaged);
        }
        let sender_name = stored.split_to(name_len);
        Ok(Self {
            expires_at_s,
            kind,
            conversation,
            sequence,
            sender,
            sender_name,
            stored_at_s,
            limited: flags & LIMITED != 0,
            content: stored,
        })
    }

    /// The payload for a device that reads events.
    pub fn event(&self, now_s: u32) -> Bytes {
        let event = match self.kind {
            Kind::Message => event::Event::Message(client::Message {
                conversation: self.conversation.get(),
                sequence: self.sequence.get(),
                sender: self.sender.get(),
                age_s: now_s.saturating_sub(self.stored_at_s).into(),
                body: self.content.clone(),
            }),
            // The content is this field's encoding already, but for its key and length.
            Kind::Change => return wrap_change(&self.content),
        };
        client::Event { event: Some(event) }.encode_to_vec().into()
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
        }
    }

    #[test]
    fn survives_storage() {
        for content in [Bytes::new(), Bytes::from_static(b"hello"), Bytes::from(vec![0; 70_000])] {
            let entry = entry(Kind::Message, content);
            assert_eq!(Entry::decode(entry.encode()), Ok(entry));
        }
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
