//! Calls of `rpc`: who carries each one out, and what the rest of the bridge must know of it.
//!
//! A [`Call`] becomes a [`RoutedCall`] as soon as it has been read. Its owner then takes the calls of its own type and no
//! others, so a new call does not compile until it has an owner, a [`CallSpec`] and somebody who carries it out.

use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{ConversationId, Seq};

use crate::group::parse_invite;
use crate::keys::MessageKey;

/// Sorts the calls of `client.proto` by their owners: one type for each owner, and the way from a [`Call`] there.
macro_rules! owners {
    ($($(#[$doc:meta])* $owner:ident($calls:ident): $($call:ident)*;)*) => {
        /// A call, by its owner.
        #[derive(Debug, Clone, PartialEq)]
        pub enum RoutedCall {
            $($(#[$doc])* $owner($calls),)*
        }

        $($(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $calls {
            $(#[doc = concat!("See `", stringify!($call), "` in `client.proto`.")] $call(client::$call),)*
        })*

        impl From<Call> for RoutedCall {
            fn from(call: Call) -> Self {
                match call {
                    $($(Call::$call(call) => Self::$owner($calls::$call(call)),)*)*
                }
            }
        }
    };
}

owners! {
    /// Decided where the conversation is kept, like a message (`decide`).
    Conversation(ConversationCall):
        CreateGroup OpenDirect Describe AddMember RemoveMember Leave Rename SetRole ChangeSettings CreateInvite RevokeInvite
        ListInvites Join DeleteConversation SetRetention Recall Edit React Accept;
    /// Carried out by the lane of the calling user, about its account.
    Account(AccountCall):
        Block Unblock ListBlocked ListDevices LabelDevice RemoveDevice RenewPassword ListConversations GetHistory LookUpPhones
        EraseAccount GetServer;
    /// Carried out by the lane of the calling user, about its profile, its contacts and their presence. They wait while a
    /// change of its contacts is on its way to disk.
    Contacts(ContactsCall): GetProfile SetProfile AddContact RemoveContact ListContacts GetPresence;
    /// Carried out by the media service.
    Media(MediaCall): CreateUpload GetUpload CompleteUpload DiscardUpload DownloadLink;
}

/// What is known of a call before it is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallSpec {
    /// What it does to what is stored.
    pub effect: CallEffect,
    /// What it adds to what is stored.
    pub adds: Addition,
    /// The conversation that it names. `None`: it names none, or none that could exist.
    pub conversation: Option<ConversationId>,
    /// It needs what is left of this message, which was sent before.
    pub looks_back: Option<LookBack>,
    /// It makes something that must not be guessed, and needs random bits.
    pub needs_secret: bool,
}

/// What a call does to what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEffect {
    /// Nothing. It waits for its turn among the calls of its device, and publishes may overtake it.
    Reads,
    /// It changes something, and may be carried out again when its client repeats it.
    Changes,
    /// It changes something, and its outcome is recorded, so that a repetition is answered and not carried out again.
    ChangesOnce,
}

/// What a call adds to what is stored. It must wait, or is refused, while the store is nearly full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addition {
    /// Nothing, or it takes more away: whoever is to lose access loses it on a full disk, too.
    Nothing,
    /// Inbox entries, or other rows.
    Entries,
    /// A file.
    Media,
}

/// What a call needs of a message that was sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookBack {
    /// The message.
    pub message: MessageKey,
    /// What is needed of it.
    pub needs: MessageNeeds,
}

/// What is needed of a message that was sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageNeeds {
    /// All copies that wait in inboxes.
    EveryCopy,
    /// One copy, unless history has the message.
    OneCopy,
    /// Only whether it was taken back.
    WhetherRecalled,
}

impl RoutedCall {
    /// What is known of the call before it is carried out.
    pub fn spec(&self) -> CallSpec {
        match self {
            Self::Conversation(call) => call.spec(),
            Self::Account(call) => call.spec(),
            Self::Contacts(call) => call.spec(),
            Self::Media(call) => call.spec(),
        }
    }
}

impl ConversationCall {
    /// What is known of the call before it is carried out.
    pub fn spec(&self) -> CallSpec {
        let invited = |invite: &str| parse_invite(invite).map(|(id, _)| id);
        match self {
            Self::CreateGroup(_) => CHANGES_ONCE.adding_entries(),
            Self::OpenDirect(_) => CHANGES.adding_entries(),
            Self::Describe(call) => READS.of(call.conversation),
            Self::AddMember(call) => CHANGES_ONCE.of(call.conversation).adding_entries(),
            Self::RemoveMember(call) => CHANGES_ONCE.of(call.conversation),
            Self::Leave(call) => CHANGES_ONCE.of(call.conversation),
            Self::Rename(call) => CHANGES_ONCE.of(call.conversation).adding_entries(),
            Self::SetRole(call) => CHANGES_ONCE.of(call.conversation).adding_entries(),
            Self::ChangeSettings(call) => CHANGES_ONCE.of(call.conversation).adding_entries(),
            Self::CreateInvite(call) => CallSpec { needs_secret: true, ..CHANGES_ONCE.of(call.conversation) },
            Self::RevokeInvite(call) => CallSpec { conversation: invited(&call.invite), ..CHANGES_ONCE },
            Self::ListInvites(call) => READS.of(call.conversation),
            Self::Join(call) => CallSpec { conversation: invited(&call.invite), ..CHANGES_ONCE }.adding_entries(),
            Self::DeleteConversation(call) => CHANGES_ONCE.of(call.conversation),
            Self::SetRetention(call) => CHANGES_ONCE.of(call.conversation).adding_entries(),
            Self::Recall(call) => CHANGES_ONCE.looking_back(call.conversation, call.sequence, MessageNeeds::EveryCopy),
            Self::Edit(call) => {
                CHANGES_ONCE.looking_back(call.conversation, call.sequence, MessageNeeds::OneCopy).adding_entries()
            }
            Self::React(call) => CHANGES_ONCE
                .looking_back(call.conversation, call.sequence, MessageNeeds::WhetherRecalled)
                .adding_entries(),
            Self::Accept(call) => CHANGES.of(call.conversation),
        }
    }
}

impl AccountCall {
    /// What is known of the call before it is carried out.
    pub fn spec(&self) -> CallSpec {
        match self {
            Self::ListBlocked(_)
            | Self::ListDevices(_)
            | Self::ListConversations(_)
            | Self::GetHistory(_)
            | Self::LookUpPhones(_)
            | Self::GetServer(_) => READS,
            Self::Block(_)
            | Self::Unblock(_)
            | Self::LabelDevice(_)
            | Self::RemoveDevice(_)
            | Self::RenewPassword(_)
            | Self::EraseAccount(_) => CHANGES,
        }
    }
}

impl ContactsCall {
    /// What is known of the call before it is carried out.
    pub fn spec(&self) -> CallSpec {
        match self {
            Self::GetProfile(_) | Self::ListContacts(_) | Self::GetPresence(_) => READS,
            Self::SetProfile(_) | Self::AddContact(_) => CHANGES.adding_entries(),
            Self::RemoveContact(_) => CHANGES,
        }
    }
}

impl MediaCall {
    /// What is known of the call before it is carried out.
    pub fn spec(&self) -> CallSpec {
        match self {
            Self::DownloadLink(_) => READS,
            // To look at an upload may renew its links.
            Self::CreateUpload(_) | Self::GetUpload(_) => CallSpec { adds: Addition::Media, ..CHANGES },
            Self::CompleteUpload(_) | Self::DiscardUpload(_) => CHANGES,
        }
    }
}

const READS: CallSpec = CallSpec {
    effect: CallEffect::Reads,
    adds: Addition::Nothing,
    conversation: None,
    looks_back: None,
    needs_secret: false,
};
const CHANGES: CallSpec = CallSpec { effect: CallEffect::Changes, ..READS };
const CHANGES_ONCE: CallSpec = CallSpec { effect: CallEffect::ChangesOnce, ..READS };

impl CallSpec {
    const fn of(self, conversation: u64) -> Self {
        Self { conversation: Some(ConversationId::new(conversation)), ..self }
    }

    const fn adding_entries(self) -> Self {
        Self { adds: Addition::Entries, ..self }
    }

    const fn looking_back(self, conversation: u64, sequence: u64, needs: MessageNeeds) -> Self {
        let message = (ConversationId::new(conversation), Seq::new(sequence));
        Self { looks_back: Some(LookBack { message, needs }), ..self.of(conversation) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(call: Call) -> CallSpec {
        RoutedCall::from(call).spec()
    }

    #[test]
    fn an_invite_names_its_conversation_if_it_is_one() {
        let join = |invite: String| spec(Call::Join(client::Join { invite })).conversation;
        assert_eq!(join(format!("99-{}", "0".repeat(32))), Some(ConversationId::new(99)));
        assert_eq!(join("99".to_owned()), None);
    }

    #[test]
    fn a_call_about_a_message_looks_back_at_it() {
        let message = (ConversationId::new(7), Seq::new(3));
        let edit = spec(Call::Edit(client::Edit { conversation: 7, sequence: 3, ..Default::default() }));
        assert_eq!(edit.looks_back, Some(LookBack { message, needs: MessageNeeds::OneCopy }));
        assert_eq!((edit.conversation, edit.adds), (Some(message.0), Addition::Entries));
        let describe = spec(Call::Describe(client::Describe { conversation: 7, ..Default::default() }));
        assert_eq!((describe.looks_back, describe.effect), (None, CallEffect::Reads));
    }

    #[test]
    fn only_calls_of_a_conversation_have_a_retry_record() {
        let leave = Call::Leave(client::Leave { conversation: 7 });
        let block = Call::Block(client::Block { user: "bob".to_owned() });
        assert_eq!([leave, block].map(|call| spec(call).effect), [CallEffect::ChangesOnce, CallEffect::Changes]);
    }
}
