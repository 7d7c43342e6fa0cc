//! Stored values, as protobuf. Numbers are never reused.

use godwit_schemas::client::{Media, Properties};
use prost::Message;

/// What the device is let in with.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PasswordRecord {
    /// Given and not used; empty: there is none.
    #[prost(string, tag = "1")]
    pub(crate) fresh: String,
    /// It was let in with this.
    #[prost(string, tag = "2")]
    pub(crate) proven: String,
}

/// A conversation as this device knows it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct KnownConversationRecord {
    /// Members and title are known.
    #[prost(bool, tag = "1")]
    pub(crate) known: bool,
    #[prost(bool, tag = "2")]
    pub(crate) group: bool,
    #[prost(string, tag = "3")]
    pub(crate) title: String,
    #[prost(message, repeated, tag = "4")]
    pub(crate) members: Vec<KnownMemberRecord>,
    /// See `SequenceTracker`.
    #[prost(uint64, tag = "5")]
    pub(crate) next: u64,
    #[prost(uint64, repeated, tag = "6")]
    pub(crate) seen: Vec<u64>,
    /// First and last, in turn.
    #[prost(uint64, repeated, tag = "7")]
    pub(crate) missing: Vec<u64>,
    #[prost(uint64, tag = "8")]
    pub(crate) last_received: u64,
    /// The highest place of a message of this device.
    #[prost(uint64, tag = "9")]
    pub(crate) last_own: u64,
    /// This user has read up to here.
    #[prost(uint64, tag = "10")]
    pub(crate) read: u64,
    /// Sends whose place is not known.
    #[prost(message, repeated, tag = "11")]
    pub(crate) unplaced: Vec<UnplacedSendRecord>,
    /// The last message or change of any kind, to sort by.
    #[prost(uint64, tag = "12")]
    pub(crate) active_at_s: u64,
    /// The newest message.
    #[prost(uint64, tag = "13")]
    pub(crate) last_message: u64,
    /// Receipts that came before the members were known.
    #[prost(message, repeated, tag = "14")]
    pub(crate) early: Vec<EarlyRecord>,
    /// Messages of others above `read` that are kept; absent: to be counted.
    #[prost(uint64, optional, tag = "15")]
    pub(crate) unread: Option<u64>,
    /// See `fill`: a page of history is asked for.
    #[prost(bool, tag = "16")]
    pub(crate) filling: bool,
    /// Meanwhile a message was changed that is not here: it may be in the page, as it was before.
    #[prost(bool, tag = "17")]
    pub(crate) stale: bool,
}

/// A member, also a former one.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct KnownMemberRecord {
    #[prost(uint32, tag = "1")]
    pub(crate) ordinal: u32,
    #[prost(string, tag = "2")]
    pub(crate) user: String,
    #[prost(int32, tag = "3")]
    pub(crate) role: i32,
    /// Joined with this change.
    #[prost(uint64, tag = "4")]
    pub(crate) since: u64,
    /// Is no member any more.
    #[prost(bool, tag = "5")]
    pub(crate) gone: bool,
    #[prost(uint64, tag = "6")]
    pub(crate) delivered: u64,
    #[prost(uint64, tag = "7")]
    pub(crate) read: u64,
}

/// A receipt of a member that is not known yet.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct EarlyRecord {
    #[prost(uint32, tag = "1")]
    pub(crate) ordinal: u32,
    #[prost(uint64, tag = "2")]
    pub(crate) delivered: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) read: u64,
}

/// See `sequence::UnplacedSend`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct UnplacedSendRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) above: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) below: u64,
}

/// Sends that were stored, the device does not know where.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct UnroutedSendsRecord {
    #[prost(uint64, repeated, tag = "1")]
    pub(crate) sends: Vec<u64>,
}

/// A send that was not answered.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OutRecord {
    /// The recipient, if it is a user.
    #[prost(string, tag = "1")]
    pub(crate) user: String,
    /// The conversation that it goes to; 0: to a user or a phone number.
    #[prost(uint64, tag = "2")]
    pub(crate) conversation: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) body: bytes::Bytes,
    #[prost(uint32, tag = "4")]
    pub(crate) expires_in_s: u32,
    #[prost(uint64, tag = "5")]
    pub(crate) queued_at_s: u64,
    /// The message that it answers; 0: none.
    #[prost(uint64, tag = "6")]
    pub(crate) reply_to: u64,
    #[prost(message, repeated, tag = "7")]
    pub(crate) media: Vec<Media>,
    /// The recipient, if it is a phone number.
    #[prost(string, tag = "8")]
    pub(crate) phone: String,
    /// Nobody is pushed because of it.
    #[prost(bool, tag = "9")]
    pub(crate) silent: bool,
    /// Ordinals of whom it mentions.
    #[prost(uint32, repeated, tag = "10")]
    pub(crate) mentions: Vec<u32>,
    /// The body as it was sealed; empty: it was not.
    #[prost(bytes = "bytes", tag = "11")]
    pub(crate) sealed: bytes::Bytes,
    /// Under the key of this epoch.
    #[prost(uint64, tag = "12")]
    pub(crate) mls_epoch: u64,
}

/// A send that was answered.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SentRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) conversation: u64,
    /// 0: not known yet.
    #[prost(uint64, tag = "2")]
    pub(crate) sequence: u64,
    /// Until the place is known.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) body: bytes::Bytes,
    #[prost(uint64, tag = "4")]
    pub(crate) queued_at_s: u64,
    /// Refused with this reason; 0: it was stored.
    #[prost(uint32, tag = "5")]
    pub(crate) reason: u32,
    #[prost(string, tag = "6")]
    pub(crate) text: String,
    /// Whom it was for, if it was refused.
    #[prost(string, tag = "7")]
    pub(crate) user: String,
    /// The message that it answers; 0: none.
    #[prost(uint64, tag = "8")]
    pub(crate) reply_to: u64,
    /// Until the place is known.
    #[prost(message, repeated, tag = "9")]
    pub(crate) media: Vec<Media>,
    /// Like `user`.
    #[prost(string, tag = "10")]
    pub(crate) phone: String,
}

/// A message at its place.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MessageRecord {
    #[prost(uint32, tag = "1")]
    pub(crate) sender: u32,
    #[prost(uint64, tag = "2")]
    pub(crate) at_s: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) body: bytes::Bytes,
    /// Sent by this device, under this number.
    #[prost(uint64, tag = "4")]
    pub(crate) send: u64,
    /// The message that it answers; 0: none.
    #[prost(uint64, tag = "5")]
    pub(crate) reply_to: u64,
    /// The body is not the first.
    #[prost(bool, tag = "6")]
    pub(crate) edited: bool,
    /// It was taken back.
    #[prost(bool, tag = "7")]
    pub(crate) recalled: bool,
    /// Files that it refers to.
    #[prost(message, repeated, tag = "8")]
    pub(crate) media: Vec<Media>,
    /// The place of the change that gave it its body; 0: of none, or not known.
    #[prost(uint64, tag = "9")]
    pub(crate) edited_at: u64,
    /// By member, the last of each.
    #[prost(message, repeated, tag = "10")]
    pub(crate) reactions: Vec<ReactionRecord>,
    /// What it says beside its body.
    #[prost(message, optional, boxed, tag = "11")]
    pub(crate) properties: Option<Box<Properties>>,
    /// The epoch whose key sealed the body; 0: it was not sealed.
    #[prost(uint64, tag = "12")]
    pub(crate) mls_epoch: u64,
    /// The body is still sealed.
    #[prost(bool, tag = "13")]
    pub(crate) sealed: bool,
    /// As in `client.Message`. Kept while the body is sealed, since it is signed with it.
    #[prost(bool, tag = "14")]
    pub(crate) silent: bool,
    /// Likewise.
    #[prost(uint32, repeated, tag = "15")]
    pub(crate) mentions: Vec<u32>,
}

/// How a member reacts to a message.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReactionRecord {
    #[prost(uint32, tag = "1")]
    pub(crate) member: u32,
    /// Empty: no more.
    #[prost(string, tag = "2")]
    pub(crate) reaction: String,
    /// The place of the change; 0: not known.
    #[prost(uint64, tag = "3")]
    pub(crate) at: u64,
    /// It is still sealed: as in `client.Reaction`.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) sealed: bytes::Bytes,
    #[prost(uint64, tag = "5")]
    pub(crate) mls_epoch: u64,
}

/// A page of history that is to be asked for: see `fill`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct FillRecord {
    /// Only what is below; 0: no bound.
    #[prost(uint64, tag = "1")]
    pub(crate) before: u64,
    /// Pages that were asked for.
    #[prost(uint32, tag = "2")]
    pub(crate) pages: u32,
}

/// What the app has not confirmed.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct InboxRecord {
    #[prost(oneof = "UnconfirmedEvent", tags = "1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12")]
    pub(crate) waiting: Option<UnconfirmedEvent>,
    /// Of a change of a message: the message is here, and who did it may.
    #[prost(bool, tag = "7")]
    pub(crate) checked: bool,
}

/// See [`InboxRecord`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum UnconfirmedEvent {
    /// A message; it is among the messages.
    #[prost(message, tag = "1")]
    Message(PlaceRecord),
    /// A change of a conversation, as an encoded `client.Change`.
    #[prost(bytes = "bytes", tag = "2")]
    Change(bytes::Bytes),
    /// A receipt; its watermarks are with the member, so that a newer one is told at once. `sequence`: the ordinal.
    #[prost(message, tag = "3")]
    Receipt(PlaceRecord),
    /// What did not come.
    #[prost(message, tag = "4")]
    Missing(MissingRecord),
    /// A send that was refused.
    #[prost(uint64, tag = "5")]
    Refused(u64),
    /// A file that was not sent.
    #[prost(message, tag = "6")]
    FileFailed(FailedFileRecord),
    /// The server was restored from a backup.
    #[prost(message, tag = "8")]
    Restored(RestoredRecord),
    /// This user has another identity key.
    #[prost(string, tag = "9")]
    IdentityChanged(String),
    /// A message that cannot be opened.
    #[prost(message, tag = "10")]
    Undecryptable(UndecryptableRecord),
    /// A message that was not sealed, where all are.
    #[prost(message, tag = "11")]
    Plaintext(PlaintextRecord),
    /// A conversation's group was made anew.
    #[prost(message, tag = "12")]
    GroupReset(GroupResetRecord),
}

/// A conversation's group was made anew.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GroupResetRecord {
    #[prost(message, required, tag = "1")]
    pub(crate) place: PlaceRecord,
    /// The ordinal of who has made it.
    #[prost(uint32, tag = "2")]
    pub(crate) by: u32,
}

/// A message that cannot be opened.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct UndecryptableRecord {
    #[prost(message, required, tag = "1")]
    pub(crate) place: PlaceRecord,
    #[prost(string, tag = "2")]
    pub(crate) why: String,
}

/// A message that was not sealed, where all are.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PlaintextRecord {
    #[prost(message, required, tag = "1")]
    pub(crate) place: PlaceRecord,
    #[prost(uint32, tag = "2")]
    pub(crate) sender: u32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) body: bytes::Bytes,
}

/// What the server has forgotten.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RestoredRecord {
    /// Conversations that it does not have any more.
    #[prost(uint64, repeated, tag = "1")]
    pub(crate) lost: Vec<u64>,
}

/// A file that was not sent.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FailedFileRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) file: u64,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    /// Whom it was for: one of these three.
    #[prost(string, tag = "3")]
    pub(crate) user: String,
    #[prost(string, tag = "4")]
    pub(crate) phone: String,
    #[prost(uint64, tag = "5")]
    pub(crate) conversation: u64,
    #[prost(message, optional, tag = "6")]
    pub(crate) failure: Option<FailureRecord>,
}

/// Why a file was not sent.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FailureRecord {
    /// See `files::failure`.
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    /// A reason code, or an HTTP status.
    #[prost(uint32, tag = "2")]
    pub(crate) code: u32,
    #[prost(string, tag = "3")]
    pub(crate) text: String,
}

/// A place.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct PlaceRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) conversation: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) sequence: u64,
}

/// Places of a conversation that hold something that did not come.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct MissingRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) conversation: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) first: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) last: u64,
}
