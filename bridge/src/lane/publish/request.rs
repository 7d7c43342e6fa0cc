//! What a publish asks for: the payload of a frame is read here, once, when its turn has come. What cannot be read is refused, and
//! says with which reason code (docs/users/reason-codes.md).

use std::num::{NonZeroU16, NonZeroU64};

use bytes::Bytes;
use godwit_core::call::{Addition, CallEffect, RoutedCall};
use godwit_core::command::{ClientSequence, CountName, Draft, To};
use godwit_core::refusal::{self, Refusal};
use godwit_core::reply_to::{ConnectionKey, PublishKey};
use godwit_schemas::bus::{self, Kind};
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, Seq, UserId};
use godwit_schemas::phone::PhoneNumber;
use prost::Message;

/// Whom a message is for.
pub(in crate::lane) enum MessageRecipient {
    To(To),
    /// Whoever has this phone number.
    Phone(PhoneNumber),
}

/// What a publish asks for.
pub(in crate::lane) enum PublishRequest {
    Post { to: MessageRecipient, draft: Draft },
    Read { conversation: ConversationId, up_to: Seq },
    Live { conversation: ConversationId, body: Bytes },
    Call { id: u64, call: RoutedCall, correlation: Bytes },
}

impl PublishRequest {
    pub(in crate::lane) fn parse(publish: &bus::Publish, epoch: u64) -> Result<Self, Refusal> {
        let expires_in_s = publish.expires_in_s;
        let raw_to = |to| {
            let (body, properties) = (publish.payload.clone(), properties_of(publish)?);
            let draft = Draft { body, expires_in_s, properties, ..Draft::default() };
            Ok(Self::Post { to, draft })
        };
        let raw = |to| raw_to(MessageRecipient::To(to));
        match Kind::try_from(publish.kind) {
            Ok(Kind::ToConversation) => raw(To::Conversation(ConversationId::new(publish.conversation))),
            Ok(Kind::ToUser) => raw(To::User(UserId::new(&publish.user).map_err(|_| refusal::NO_USER)?)),
            Ok(Kind::ToPhone) => raw_to(MessageRecipient::Phone(
                PhoneNumber::parse(&publish.user).map_err(|_| refusal::BAD_PHONE_NUMBER)?,
            )),
            Ok(Kind::Send) => {
                let send = client::Send::decode(publish.payload.clone()).map_err(|_| refusal::NOT_A_SEND)?;
                let (to, draft) = post_of(send, CountName::Sender, expires_in_s, epoch)?;
                Ok(Self::Post { to, draft })
            }
            Ok(Kind::Receipt) => {
                let receipt =
                    client::ReadReceipt::decode(publish.payload.clone()).map_err(|_| refusal::NOT_A_RECEIPT)?;
                let (conversation, up_to) = (ConversationId::new(receipt.conversation), Seq::new(receipt.read_up_to));
                Ok(Self::Read { conversation, up_to })
            }
            Ok(Kind::Live) => {
                let (conversation, body) = (ConversationId::new(publish.conversation), publish.payload.clone());
                Ok(Self::Live { conversation, body })
            }
            Ok(Kind::Rpc) => {
                let request = client::Request::decode(publish.payload.clone()).map_err(|_| refusal::NOT_A_REQUEST)?;
                let call = request.call.ok_or(refusal::NOT_A_REQUEST)?.into();
                Ok(Self::Call { id: request.id, call, correlation: publish.correlation() })
            }
            Err(_) => Err(refusal::UNKNOWN_PUBLISH),
        }
    }

    /// Whether doing it twice would be seen.
    pub(in crate::lane) fn needs_retry_record(&self) -> bool {
        match self {
            Self::Post { draft, .. } => draft.client_sequence.is_none(),
            Self::Read { .. } | Self::Live { .. } => false,
            Self::Call { call, .. } => call.spec().effect == CallEffect::ChangesOnce,
        }
    }
}

/// What a raw publish says beside its body.
fn properties_of(publish: &bus::Publish) -> Result<Option<Box<client::Properties>>, Refusal> {
    let encoded = publish.properties();
    if encoded.is_empty() {
        return Ok(None);
    }
    let properties = client::Properties::decode(encoded).map_err(|_| refusal::NOT_PROPERTIES)?;
    Ok(Some(Box::new(properties)))
}

/// What a publish is answered by.
pub(in crate::lane) fn key_of(connection: ConnectionKey, publish: &bus::Publish) -> PublishKey {
    let packet_id = u16::try_from(publish.packet_id).ok().and_then(NonZeroU16::new);
    PublishKey { connection, number: publish.number, packet_id }
}

/// Whether it makes entries that take room in the store. Whoever is to lose access loses it all the same.
pub(in crate::lane) fn adds(publish: &bus::Publish) -> bool {
    match Kind::try_from(publish.kind) {
        Ok(Kind::Send | Kind::ToUser | Kind::ToPhone | Kind::ToConversation) => true,
        Ok(Kind::Receipt | Kind::Live) | Err(_) => false,
        Ok(Kind::Rpc) => {
            let call = client::Request::decode(publish.payload.clone()).ok().and_then(|request| request.call);
            call.is_some_and(|call| RoutedCall::from(call).spec().adds == Addition::Entries)
        }
    }
}

/// What a `Send` asks for, in a packet that may have an expiry of its own. `count`: what `Send.counter` is the name of.
/// `epoch`: the store's.
pub(in crate::lane) fn post_of(
    send: client::Send,
    count: fn(u64) -> CountName,
    packet_expires_in_s: Option<u32>,
    epoch: u64,
) -> Result<(MessageRecipient, Draft), Refusal> {
    if send.epoch != 0 && send.epoch != epoch {
        return Err(refusal::ANOTHER_EPOCH);
    }
    let to = match send.to.ok_or(refusal::NOT_A_SEND)? {
        client::send::To::Conversation(id) => MessageRecipient::To(To::Conversation(ConversationId::new(id))),
        client::send::To::User(user) => {
            MessageRecipient::To(To::User(UserId::new(&user).map_err(|_| refusal::NO_USER)?))
        }
        client::send::To::Phone(number) => {
            MessageRecipient::Phone(PhoneNumber::parse(&number).map_err(|_| refusal::BAD_PHONE_NUMBER)?)
        }
    };
    // The packet's own expiry holds as well as the message's: the shorter one wins.
    let expires_in_s = Some(send.expires_in_s).filter(|seconds| *seconds > 0);
    let expires_in_s = expires_in_s.into_iter().chain(packet_expires_in_s).min();
    let client_sequence = NonZeroU64::new(send.client_sequence);
    let client_sequence = client_sequence.map(|number| ClientSequence { number, count: count(send.counter) });
    let reply_to = Seq::unless_zero(send.reply_to);
    let client::Send { body, media, properties, silent, mentions, mls_epoch, .. } = send;
    Ok((to, Draft { body, client_sequence, expires_in_s, reply_to, media, properties, silent, mentions, mls_epoch }))
}
