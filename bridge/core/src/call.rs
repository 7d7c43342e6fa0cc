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

        impl RoutedCall {
            /// The names of all calls, as in `client.proto`.
            pub const NAMES: &[&str] = &[$($(stringify!($call),)*)*];
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
        EraseAccount GetServer SetPush GetPush SetMute ListMutes PeekInbox;
    /// Carried out by the lane of the calling user, about its profile, its contacts and their presence. They wait while a
    /// change of its contacts is on its way to disk.
    Contacts(ContactsCall): GetProfile SetProfile AddContact RemoveContact ListContacts GetPresence;
    /// Carried out by the lane of the calling user: what its devices and others' encrypt to each other with.
    Encryption(EncryptionCall): PublishKeys ClaimKeys GetIdentity PutVault GetVault AcceptLink TakeLink;
    /// Begun by the lane of the calling user: the MLS groups of conversations. Commits are decided where the conversation is kept.
    Mls(MlsCall): GetGroup CommitGroup;
    /// Carried out by the media service.
    Media(MediaCall): CreateUpload GetUpload CompleteUpload DiscardUpload DownloadLink;
}

/// What is known of a call before it is carried out. It borrows names from the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallSpec<'c> {
    /// What it does to what is stored.
    pub effect: CallEffect,
    /// What it adds to what is stored.
    pub adds: Addition,
    /// The conversation that it names. `None`: it names none, or none that could exist.
    pub conversation: Option<ConversationId>,
    /// The users that it is about, besides the members of that conversation.
    pub users: AffectedUsers<'c>,
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

/// The users that a call is about, by their names as the caller gave them. What must be read of them before the call is
/// decided follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AffectedUsers<'c> {
    /// None but members of its conversation.
    None,
    /// This one, which may be none any more: its record is read.
    Named(&'c str),
    /// The other side of a direct conversation, which is read or made.
    OtherSide(&'c str),
    /// The caller enters a conversation: in how many it is must be known.
    Caller,
    /// These enter a conversation: also their records, and whether the caller is a stranger to them.
    Added(&'c [String]),
    /// These and the caller.
    AddedByFounder(&'c [String]),
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
    pub fn spec(&self) -> CallSpec<'_> {
        match self {
            Self::Conversation(call) => call.spec(),
            Self::Account(call) => call.spec(),
            Self::Contacts(call) => call.spec(),
            Self::Encryption(call) => call.spec(),
            Self::Mls(call) => call.spec(),
            Self::Media(call) => call.spec(),
        }
    }
}

impl ConversationCall {
    /// What is known of the call before it is carried out.
    pub fn spec(&self) -> CallSpec<'_> {
        let invited = |invite: &str| parse_invite(invite).map(|(id, _)| id);
        match self {
            Self::CreateGroup(call) => CHANGES_ONCE.about(AffectedUsers::AddedByFounder(&call.users)).adding_entries(),
            Self::OpenDirect(call) => CHANGES.about(AffectedUsers::OtherSide(&call.user)).adding_entries(),
            Self::Describe(call) => READS.of(call.conversation),
            Self::AddMember(call) => CHANGES_ONCE
                .of(call.conversation)
                .about(AffectedUsers::Added(std::slice::from_ref(&call.user)))
                .adding_entries(),
            Self::RemoveMember(call) => CHANGES_ONCE.of(call.conversation).about(AffectedUsers::Named(&call.user)),
            Self::Leave(call) => CHANGES_ONCE.of(call.conversation),
            Self::Rename(call) => CHANGES_ONCE.of(call.conversation).adding_entries(),
            Self::SetRole(call) => CHANGES_ONCE.of(call.conversation).adding_entries(),
            Self::ChangeSettings(call) => CHANGES_ONCE.of(call.conversation).adding_entries(),
            Self::CreateInvite(call) => CallSpec { needs_secret: true, ..CHANGES_ONCE.of(call.conversation) },
            Self::RevokeInvite(call) => CallSpec { conversation: invited(&call.invite), ..CHANGES_ONCE },
            Self::ListInvites(call) => READS.of(call.conversation),
            Self::Join(call) => CallSpec { conversation: invited(&call.invite), ..CHANGES_ONCE }
                .about(AffectedUsers::Caller)
                .adding_entries(),
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
    pub fn spec(&self) -> CallSpec<'_> {
        match self {
            Self::ListBlocked(_)
            | Self::ListDevices(_)
            | Self::ListConversations(_)
            | Self::GetHistory(_)
            | Self::LookUpPhones(_)
            | Self::GetServer(_)
            | Self::GetPush(_)
            | Self::ListMutes(_)
            | Self::PeekInbox(_) => READS,
            Self::SetPush(call) if call.to.is_some() => CHANGES.adding_entries(),
            Self::SetMute(call) if call.for_s > 0 => CHANGES.adding_entries(),
            Self::Block(_)
            | Self::Unblock(_)
            | Self::LabelDevice(_)
            | Self::RemoveDevice(_)
            | Self::RenewPassword(_)
            | Self::EraseAccount(_)
            | Self::SetPush(_)
            | Self::SetMute(_) => CHANGES,
        }
    }
}

impl ContactsCall {
    /// What is known of the call before it is carried out.
    pub fn spec(&self) -> CallSpec<'_> {
        match self {
            Self::GetProfile(_) | Self::ListContacts(_) | Self::GetPresence(_) => READS,
            Self::SetProfile(_) | Self::AddContact(_) => CHANGES.adding_entries(),
            Self::RemoveContact(_) => CHANGES,
        }
    }
}

impl EncryptionCall {
    /// What is known of the call before it is carried out.
    pub fn spec(&self) -> CallSpec<'_> {
        match self {
            Self::GetIdentity(_) | Self::GetVault(_) => READS,
            Self::PublishKeys(_) | Self::PutVault(_) | Self::AcceptLink(_) => CHANGES.adding_entries(),
            Self::ClaimKeys(_) | Self::TakeLink(_) => CHANGES,
        }
    }
}

impl MlsCall {
    /// What is known of the call before it is carried out.
    pub fn spec(&self) -> CallSpec<'_> {
        match self {
            Self::GetGroup(_) => READS,
            // What was accepted is recognised by what it is.
            Self::CommitGroup(_) => CHANGES.adding_entries(),
        }
    }
}

impl MediaCall {
    /// What is known of the call before it is carried out.
    pub fn spec(&self) -> CallSpec<'_> {
        match self {
            Self::DownloadLink(_) => READS,
            // To look at an upload may renew its links.
            Self::CreateUpload(_) | Self::GetUpload(_) => CallSpec { adds: Addition::Media, ..CHANGES },
            Self::CompleteUpload(_) | Self::DiscardUpload(_) => CHANGES,
        }
    }
}

const READS: CallSpec<'static> = CallSpec {
    effect: CallEffect::Reads,
    adds: Addition::Nothing,
    conversation: None,
    users: AffectedUsers::None,
    looks_back: None,
    needs_secret: false,
};
const CHANGES: CallSpec<'static> = CallSpec { effect: CallEffect::Changes, ..READS };
const CHANGES_ONCE: CallSpec<'static> = CallSpec { effect: CallEffect::ChangesOnce, ..READS };

impl<'c> CallSpec<'c> {
    /// Of what adds these to a conversation besides something else.
    pub(crate) const fn of_added(users: &'c [String]) -> Self {
        READS.about(AffectedUsers::Added(users))
    }

    const fn of(self, conversation: u64) -> Self {
        Self { conversation: Some(ConversationId::new(conversation)), ..self }
    }

    const fn about(self, users: AffectedUsers<'c>) -> Self {
        Self { users, ..self }
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

    #[test]
    fn an_invite_names_its_conversation_if_it_is_one() {
        let join = |invite: String| RoutedCall::from(Call::Join(client::Join { invite })).spec().conversation;
        assert_eq!(join(format!("99-{}", "0".repeat(32))), Some(ConversationId::new(99)));
        assert_eq!(join("99".to_owned()), None);
    }

    #[test]
    fn a_call_about_a_message_looks_back_at_it() {
        let message = (ConversationId::new(7), Seq::new(3));
        let edit = RoutedCall::from(Call::Edit(client::Edit { conversation: 7, sequence: 3, ..Default::default() }));
        let edit = edit.spec();
        assert_eq!(edit.looks_back, Some(LookBack { message, needs: MessageNeeds::OneCopy }));
        assert_eq!((edit.conversation, edit.adds), (Some(message.0), Addition::Entries));
        let describe = RoutedCall::from(Call::Describe(client::Describe { conversation: 7, ..Default::default() }));
        let describe = describe.spec();
        assert_eq!((describe.looks_back, describe.effect), (None, CallEffect::Reads));
    }

    #[test]
    fn a_call_names_the_users_that_it_is_about() {
        let users = ["bob".to_owned(), "carol".to_owned()];
        let create =
            RoutedCall::from(Call::CreateGroup(client::CreateGroup { users: users.to_vec(), ..Default::default() }));
        assert_eq!(create.spec().users, AffectedUsers::AddedByFounder(&users));
        let add = RoutedCall::from(Call::AddMember(client::AddMember { conversation: 7, user: "bob".to_owned() }));
        let add = add.spec();
        assert_eq!((add.conversation, add.users), (Some(ConversationId::new(7)), AffectedUsers::Added(&users[..1])));
        let rename = RoutedCall::from(Call::Rename(client::Rename { conversation: 7, ..Default::default() }));
        assert_eq!(rename.spec().users, AffectedUsers::None);
    }

    #[test]
    fn only_calls_of_a_conversation_have_a_retry_record() {
        let leave = Call::Leave(client::Leave { conversation: 7 });
        let block = Call::Block(client::Block { user: "bob".to_owned() });
        assert_eq!(
            [leave, block].map(|call| RoutedCall::from(call).spec().effect),
            [CallEffect::ChangesOnce, CallEffect::Changes]
        );
    }
}
