//! What a device publishes. Durable when the broker has acknowledged it (PUBACK with a reason below 0x80).

use bytes::Bytes;
use godwit_schemas::client::{ReadReceipt, Request, Send, request::Call, send};
use godwit_schemas::ids::{ConversationId, Seq, UserId};
use prost::Message;

use crate::media::announced;
use crate::send::{Draft, Recipient, SendId};

/// Publish it with QoS 1. If the answer does not come, publish the same again: it takes effect once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The topic's name.
    pub topic: &'static str,
    /// Its payload.
    pub payload: Bytes,
}

impl Publication {
    /// A message to a user; opens the direct conversation if there is none yet.
    ///
    /// `client_sequence` must be above that of every earlier message to the same recipient, and survive the app: it is
    /// what makes a retry safe.
    pub fn to_user(user: &UserId, client_sequence: u64, body: impl Into<Bytes>) -> Self {
        Self::send(send::To::User(user.to_string()), (0, client_sequence), Draft::new(body))
    }

    /// A message to a conversation. See [`Self::to_user`] for `client_sequence`.
    pub fn to_conversation(conversation: ConversationId, client_sequence: u64, body: impl Into<Bytes>) -> Self {
        Self::send(send::To::Conversation(conversation.get()), (0, client_sequence), Draft::new(body))
    }

    /// A send from the outbox, numbered in this count.
    pub(crate) fn of(counter: u64, id: SendId, to: &Recipient, draft: Draft, mls_epoch: u64) -> Self {
        let to = match to {
            Recipient::User(user) => send::To::User(user.to_string()),
            Recipient::Conversation(conversation) => send::To::Conversation(conversation.get()),
            Recipient::Phone(number) => send::To::Phone(number.to_string()),
        };
        Self::sealed(to, (counter, id.get()), draft, mls_epoch)
    }

    fn send(to: send::To, number: (u64, u64), draft: Draft) -> Self {
        Self::sealed(to, number, draft, 0)
    }

    fn sealed(to: send::To, (counter, client_sequence): (u64, u64), draft: Draft, mls_epoch: u64) -> Self {
        let Draft { body, expires_in_s, reply_to, media, silent, mentions } = draft;
        let (reply_to, media) = (reply_to.map_or(0, Seq::get), media.into_iter().map(announced).collect());
        let send = Send {
            to: Some(to),
            client_sequence,
            body,
            expires_in_s,
            reply_to,
            media,
            counter,
            silent,
            mentions,
            mls_epoch,
            ..Send::default()
        };
        Self { topic: "send", payload: send.encode_to_vec().into() }
    }

    /// Everything up to and including this message was read. Going back has no effect.
    pub fn read(conversation: ConversationId, up_to: Seq) -> Self {
        let receipt = ReadReceipt { conversation: conversation.get(), read_up_to: up_to.get() };
        Self { topic: "receipt", payload: receipt.encode_to_vec().into() }
    }

    /// A call, answered on `rpc` by a `Response` with the same `id`.
    pub fn call(id: u64, call: Call) -> Self {
        Self { topic: "rpc", payload: Request { id, call: Some(call) }.encode_to_vec().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_reads_what_was_meant() {
        let sent = Publication::to_conversation(ConversationId::new(65), 3, "hi");
        let expected =
            Send { to: Some(send::To::Conversation(65)), client_sequence: 3, body: "hi".into(), ..Send::default() };
        assert_eq!((sent.topic, Send::decode(sent.payload)), ("send", Ok(expected)));
        let read = Publication::read(ConversationId::new(65), Seq::new(9));
        assert_eq!(ReadReceipt::decode(read.payload), Ok(ReadReceipt { conversation: 65, read_up_to: 9 }));
    }

    #[test]
    fn a_short_message_costs_few_bytes() {
        // What is counted are the bytes over the body, for the hundredth message to a young conversation.
        let sent = Publication::to_conversation(ConversationId::new(4_000), 100, vec![0; 100]);
        assert_eq!(sent.payload.len() - 100, 7);
    }
}
