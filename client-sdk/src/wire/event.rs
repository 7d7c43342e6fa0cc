//! What arrives on `inbox`. Acknowledge an event (PUBACK) when the app has kept it: the server then forgets it.

use bytes::Bytes;
use godwit_schemas::client::{self, Role, change, event};
use godwit_schemas::ids::{ConversationId, Ordinal, Seq, UserId};
use godwit_schemas::reason::Reason;
use prost::Message;

use crate::media::{self, Media};
use crate::properties::Properties;

/// A member of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedMember {
    /// Its number in the conversation; messages and receipts name it by that.
    pub ordinal: Ordinal,
    /// Who it is.
    pub user: UserId,
    /// What it may do.
    pub role: Role,
}

/// What changed about a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConversationUpdate {
    /// The first event of a conversation: how it was when this user entered it.
    Opened {
        /// Group rather than direct.
        group: bool,
        /// Empty for direct conversations.
        title: String,
        /// In the order they joined.
        members: Vec<OpenedMember>,
    },
    /// A member joined.
    Added(OpenedMember),
    /// A member left or was removed. If it is this user: the last event of the conversation.
    Removed(Ordinal),
    /// A new title.
    Renamed(String),
    /// A member has another role. If it is the owner's, the former owner is an admin now.
    Role(OpenedMember),
    /// What members may do from here on.
    Settings(client::GroupSettings),
    /// The message of this sequence was taken back: forget its body. Believe it if the one who did it sent the message,
    /// or is an admin of the group.
    Recalled(Seq),
    /// The message of this sequence has another body. Believe it if the one who did it sent the message.
    Edited(Seq, Bytes),
    /// A reaction to the message of this sequence, in place of an earlier one; empty: no more.
    Reacted(Seq, String),
    /// How long messages are kept from here on.
    Retention(client::Retention),
    /// The conversation's messages are encrypted from end to end from here on, or their keys are other ones.
    Encrypted,
}

/// A payload of the topic `inbox`, decoded. Within a conversation, messages and changes have consecutive sequences; one that was seen before
/// is a redelivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboxEvent {
    /// A message.
    Message {
        /// The conversation it belongs to.
        conversation: ConversationId,
        /// Its place there.
        sequence: Seq,
        /// Who sent it.
        sender: Ordinal,
        /// Whole seconds since the server stored it.
        age_s: u64,
        /// Opaque to the server.
        body: Bytes,
        /// The message that it answers.
        reply_to: Option<Seq>,
        /// Files that it refers to.
        media: Vec<Media>,
        /// What it says beside its body.
        properties: Option<Box<Properties>>,
        /// The epoch whose key sealed the body; 0: it is not sealed.
        mls_epoch: u64,
        /// Nobody is pushed because of it.
        silent: bool,
        /// Whom it mentions: ordinals.
        mentions: Vec<u32>,
    },
    /// How far a member is. Replaces what was said of it before.
    Receipt {
        /// The conversation whose messages it is about.
        conversation: ConversationId,
        /// The member whose receipt it is.
        member: Ordinal,
        /// One of its devices has everything up to here.
        delivered_up_to: Seq,
        /// It has read up to here.
        read_up_to: Seq,
    },
    /// The conversation changed.
    Changed {
        /// The conversation that changed.
        conversation: ConversationId,
        /// The change's place among the messages.
        sequence: Seq,
        /// Who did it.
        by: Ordinal,
        /// The change.
        change: ConversationUpdate,
    },
    /// MQTT 3.1.1 only: a publish was acknowledged, but refused.
    Refused {
        /// Its packet identifier.
        packet_id: u16,
        /// The reason code of the refusal.
        reason: Reason,
        /// The same for people.
        text: String,
        /// The epoch that the conversation is in, if it was refused for the one that it was sealed in.
        mls_epoch: Option<u64>,
    },
}

/// The payload is no event that this version knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed event: {0}")]
pub struct Malformed(String);

impl InboxEvent {
    /// Reads a payload without copying bodies.
    ///
    /// # Errors
    /// [`Malformed`]: not from a server, or from one much newer. A retry does not help; acknowledge and go on.
    pub fn parse(payload: Bytes) -> Result<Self, Malformed> {
        let event = client::Event::decode(payload).map_err(|error| Malformed(error.to_string()))?;
        match event.event.ok_or_else(|| Malformed("unknown kind".to_owned()))? {
            event::Event::Message(message) => Ok(Self::Message {
                conversation: ConversationId::new(message.conversation),
                sequence: Seq::new(message.sequence),
                sender: Ordinal::new(message.sender),
                age_s: message.age_s,
                body: message.body,
                reply_to: Seq::unless_zero(message.reply_to),
                media: media::told(message.media),
                properties: message.properties.map(|it| Box::new((*it).into())),
                mls_epoch: message.mls_epoch,
                silent: message.silent,
                mentions: message.mentions,
            }),
            event::Event::Receipt(receipt) => Ok(Self::Receipt {
                conversation: ConversationId::new(receipt.conversation),
                member: Ordinal::new(receipt.member),
                delivered_up_to: Seq::new(receipt.delivered_up_to),
                read_up_to: Seq::new(receipt.read_up_to),
            }),
            event::Event::Change(changed) => Ok(Self::Changed {
                conversation: ConversationId::new(changed.conversation),
                sequence: Seq::new(changed.sequence),
                by: Ordinal::new(changed.by),
                change: match changed.change {
                    None if changed.mls.is_some() => ConversationUpdate::Encrypted,
                    change => parse_change(change)?,
                },
            }),
            event::Event::Refusal(refusal) => Ok(Self::Refused {
                packet_id: refusal.packet_id.try_into().map_err(|_| Malformed("packet identifier".to_owned()))?,
                reason: Reason::from_u32(refusal.reason),
                text: refusal.text,
                mls_epoch: Some(refusal.mls_epoch).filter(|epoch| *epoch > 0),
            }),
        }
    }
}

fn parse_change(change: Option<change::Change>) -> Result<ConversationUpdate, Malformed> {
    match change.ok_or_else(|| Malformed("unknown change".to_owned()))? {
        change::Change::Opened(opened) => Ok(ConversationUpdate::Opened {
            group: opened.group,
            title: opened.title,
            members: opened.members.into_iter().map(parse_member).collect::<Result<_, _>>()?,
        }),
        change::Change::Added(member) => parse_member(member).map(ConversationUpdate::Added),
        change::Change::Removed(ordinal) => Ok(ConversationUpdate::Removed(Ordinal::new(ordinal))),
        change::Change::Renamed(title) => Ok(ConversationUpdate::Renamed(title)),
        change::Change::Role(member) => parse_member(member).map(ConversationUpdate::Role),
        change::Change::Settings(settings) => Ok(ConversationUpdate::Settings(settings)),
        change::Change::Recalled(sequence) => Ok(ConversationUpdate::Recalled(Seq::new(sequence))),
        change::Change::Edited(edited) => Ok(ConversationUpdate::Edited(Seq::new(edited.sequence), edited.body)),
        change::Change::Reacted(reacted) => {
            Ok(ConversationUpdate::Reacted(Seq::new(reacted.sequence), reacted.reaction))
        }
        change::Change::Retention(retention) => Ok(ConversationUpdate::Retention(retention)),
    }
}

pub(crate) fn parse_member(member: client::Member) -> Result<OpenedMember, Malformed> {
    Ok(OpenedMember {
        ordinal: Ordinal::new(member.ordinal),
        user: UserId::new(&member.user).map_err(|error| Malformed(error.to_string()))?,
        role: Role::try_from(member.role).map_err(|error| Malformed(error.to_string()))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(event: event::Event) -> Result<InboxEvent, Malformed> {
        InboxEvent::parse(client::Event { event: Some(event) }.encode_to_vec().into())
    }

    #[test]
    fn messages_and_changes_read_back() {
        let body = Bytes::from_static(b"hi");
        let message = client::Message {
            conversation: 65,
            sequence: 2,
            sender: 1,
            age_s: 9,
            body: body.clone(),
            reply_to: 1,
            media: vec![client::Media { id: "m".into(), name: "a.jpg".into(), size: 9, ..Default::default() }],
            properties: Some(Box::new(client::Properties { payload_format: Some(1), ..Default::default() })),
            ..Default::default()
        };
        let (conversation, sequence) = (ConversationId::new(65), Seq::new(2));
        let (sender, reply_to) = (Ordinal::new(1), Some(Seq::new(1)));
        let media = vec![Media { size: 9, ..Media::new("m", "a.jpg") }];
        let properties = Some(Box::new(Properties { is_text: Some(true), ..Properties::default() }));
        let (age_s, mls_epoch, silent, mentions) = (9, 0, false, Vec::new());
        let expected = InboxEvent::Message {
            conversation,
            sequence,
            sender,
            age_s,
            body,
            reply_to,
            media,
            properties,
            mls_epoch,
            silent,
            mentions,
        };
        assert_eq!(parse(event::Event::Message(message)), Ok(expected));

        let member = client::Member { ordinal: 1, user: "bob".into(), role: Role::Admin.into() };
        let change = Some(change::Change::Added(member));
        let added = client::Change { conversation: 65, sequence: 2, change, ..Default::default() };
        let bob = OpenedMember { ordinal: Ordinal::new(1), user: UserId::new("bob").unwrap(), role: Role::Admin };
        let expected = InboxEvent::Changed {
            conversation,
            sequence,
            by: Ordinal::default(),
            change: ConversationUpdate::Added(bob),
        };
        assert_eq!(parse(event::Event::Change(added)), Ok(expected));
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        let member = |user: &str, role| client::Member { ordinal: 1, user: user.into(), role };
        let added = |member| {
            event::Event::Change(client::Change { change: Some(change::Change::Added(member)), ..Default::default() })
        };
        for bad in [
            added(member("", 0)),
            added(member("bob", 99)),
            event::Event::Change(client::Change::default()),
            event::Event::Refusal(client::Refusal { packet_id: 70_000, ..Default::default() }),
        ] {
            assert!(parse(bad.clone()).is_err(), "{bad:?}");
        }
        for bytes in [&b""[..], b"\xff\xff", b"\x0a\x05x"] {
            assert!(InboxEvent::parse(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }
}
