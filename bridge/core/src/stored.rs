//! Stored values other than inbox entries, as protobuf (numbers are never reused).

use bytes::Bytes;
use godwit_schemas::client::{
    ApnsAddress, Audience, FcmAddress, GroupSettings, GroupsFrom, Preview, Retention, WebAddress,
};
use godwit_schemas::ids::UserId;
use prost::Message;

/// Role numbers are those of `client.Role`.
#[derive(Clone, PartialEq, Message)]
pub struct MemberRecord {
    /// The member's ordinal in its conversation.
    #[prost(uint32, tag = "1")]
    pub ordinal: u32,
    /// User name.
    #[prost(string, tag = "2")]
    pub user: String,
    /// Its role, as in `client.proto`.
    #[prost(int32, tag = "3")]
    pub role: i32,
    /// It joined after this sequence.
    #[prost(uint64, tag = "4")]
    pub joined_after: u64,
    /// What it has set while the other side had blocked it.
    #[prost(message, optional, tag = "10")]
    pub own_retention: Option<Retention>,
}

/// What seldom changes about a conversation.
#[derive(Clone, PartialEq, Message)]
pub struct ConversationRecord {
    /// Group rather than direct.
    #[prost(bool, tag = "1")]
    pub group: bool,
    /// Title of a group.
    #[prost(string, tag = "2")]
    pub title: String,
    /// Members in the order they joined.
    #[prost(message, repeated, tag = "3")]
    pub members: Vec<MemberRecord>,
    /// Ordinal for the next member.
    #[prost(uint32, tag = "4")]
    pub next_ordinal: u32,
    /// What members of a group may do; absent: the defaults.
    #[prost(message, optional, tag = "5")]
    pub settings: Option<GroupSettings>,
    /// Invites to a group.
    #[prost(message, repeated, tag = "6")]
    pub invites: Vec<InviteRecord>,
    /// How long messages are kept; absent: as the server is configured.
    #[prost(message, optional, tag = "7")]
    pub retention: Option<Retention>,
    /// Counts of those who have left.
    #[prost(message, repeated, tag = "8")]
    pub left: Vec<AcceptedRecord>,
    /// Its MLS group; absent: it is not encrypted.
    #[prost(message, optional, boxed, tag = "9")]
    pub mls: Option<Box<MlsRecord>>,
}

/// Which store this is.
#[derive(Clone, PartialEq, Message)]
pub struct OriginRecord {
    /// Random, of the first start.
    #[prost(fixed64, tag = "1")]
    pub server: u64,
    /// Random, of the first start and of each time it went back.
    #[prost(fixed64, tag = "2")]
    pub epoch: u64,
    /// `Floor`; 0: it never went back.
    #[prost(uint64, tag = "3")]
    pub floor: u64,
    /// How many partitions it has, for ever; 0: 64.
    #[prost(uint32, tag = "4")]
    pub partitions: u32,
}

/// What a partition has sent to another, which has not taken it in ([`crate::outbox::Item`]).
#[derive(Clone, PartialEq, Message)]
pub struct ItemRecord {
    /// `None`: one of a newer program.
    #[prost(oneof = "item_record::Kind", tags = "1, 2, 3, 4, 5")]
    pub kind: Option<item_record::Kind>,
}

/// See [`ItemRecord`].
pub mod item_record {
    use super::{ContactGoneRecord, ForgetRecord, MembershipRecord, ReleasedRecord, WatchRecord};

    /// What it says.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// A user is in a conversation, or is no more.
        #[prost(message, tag = "1")]
        Membership(MembershipRecord),
        /// A user has a contact, or has it no more.
        #[prost(message, tag = "2")]
        Watch(WatchRecord),
        /// A contact is no more.
        #[prost(message, tag = "3")]
        ContactGone(ContactGoneRecord),
        /// A device will not get messages.
        #[prost(message, tag = "4")]
        Released(ReleasedRecord),
        /// A user leaves.
        #[prost(message, tag = "5")]
        Forget(ForgetRecord),
    }
}

/// A user is in a conversation, or is no more.
#[derive(Clone, PartialEq, Message)]
pub struct MembershipRecord {
    /// The user's name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// The conversation's number.
    #[prost(uint64, tag = "2")]
    pub conversation: u64,
    /// It is in it from here on.
    #[prost(bool, tag = "3")]
    pub begins: bool,
    /// A stranger has added it, on this day since 1970.
    #[prost(uint32, optional, tag = "4")]
    pub by_stranger_on: Option<u32>,
}

/// A user has a contact, or has it no more.
#[derive(Clone, PartialEq, Message)]
pub struct WatchRecord {
    /// Name of the contact.
    #[prost(string, tag = "1")]
    pub contact: String,
    /// Name of who has it.
    #[prost(string, tag = "2")]
    pub by: String,
    /// It has it from here on.
    #[prost(bool, tag = "3")]
    pub begins: bool,
}

/// A contact is no more.
#[derive(Clone, PartialEq, Message)]
pub struct ContactGoneRecord {
    /// Name of who has it.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Name of the contact.
    #[prost(string, tag = "2")]
    pub contact: String,
}

/// A user is removed that is still in a conversation.
#[derive(Clone, PartialEq, Message)]
pub struct ForgetRecord {
    /// The user's name.
    #[prost(string, tag = "1")]
    pub user: String,
    /// The conversation's number.
    #[prost(uint64, tag = "2")]
    pub conversation: u64,
}

/// A device is removed that had not got these messages, which are kept apart.
#[derive(Clone, PartialEq, Message)]
pub struct ReleasedRecord {
    /// The device's number.
    #[prost(uint64, tag = "1")]
    pub device: u64,
    /// The conversation's number.
    #[prost(uint64, tag = "2")]
    pub conversation: u64,
    /// Sequences of the messages.
    #[prost(uint64, repeated, tag = "3")]
    pub apart: Vec<u64>,
}

/// An invite to a group.
#[derive(Clone, PartialEq, Message)]
pub struct InviteRecord {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub secret: Vec<u8>,
    /// Ordinal of who made it.
    #[prost(uint32, tag = "2")]
    pub by: u32,
    /// Second since 1970 at which it ends; `u32::MAX`: never.
    #[prost(uint32, tag = "3")]
    pub expires_at_s: u32,
}

/// How far a member is.
#[derive(Clone, PartialEq, Message)]
pub struct ProgressRecord {
    /// The member's ordinal in its conversation.
    #[prost(uint32, tag = "1")]
    pub ordinal: u32,
    /// Sequence of the last message it sent.
    #[prost(uint64, tag = "2")]
    pub last_sent: u64,
    /// Delivered to one of its devices up to here.
    #[prost(uint64, tag = "3")]
    pub delivered: u64,
    /// Read up to here.
    #[prost(uint64, tag = "4")]
    pub read: u64,
    /// It has deleted everything up to here for itself.
    #[prost(uint64, tag = "6")]
    pub hidden: u64,
    /// What came after this is unseen by it; absent: nothing is.
    #[prost(uint64, optional, tag = "10")]
    pub shown: Option<u64>,
    /// It has not accepted the conversation; absent: it has.
    #[prost(message, optional, tag = "11")]
    pub pending: Option<PendingRecord>,
}

/// What waits for a member that has not accepted a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct PendingRecord {
    /// Everything up to here was delivered, or has expired.
    #[prost(uint64, tag = "1")]
    pub from: u64,
    /// Second since 1970 at which all after it has expired.
    #[prost(uint32, tag = "2")]
    pub expires_at_s: u32,
}

/// How far somebody has counted its sends.
#[derive(Clone, PartialEq, Message)]
pub struct AcceptedRecord {
    /// The device that counts; 0: a user without one.
    #[prost(uint64, tag = "1")]
    pub device: u64,
    /// The last client sequence that was accepted.
    #[prost(uint64, tag = "2")]
    pub client_sequence: u64,
    /// Where that message stands.
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
    /// The user that counts, if no device does. Absent with device 0: stored when all users without one shared a count.
    #[prost(string, tag = "4")]
    pub user: String,
    /// The count's name; 0: none.
    #[prost(uint64, tag = "5")]
    pub counter: u64,
}

/// What changes with every message.
#[derive(Clone, PartialEq, Message)]
pub struct StateRecord {
    /// Sequence of the last message or change.
    #[prost(uint64, tag = "1")]
    pub last_seq: u64,
    /// Members' progress.
    #[prost(message, repeated, tag = "2")]
    pub progress: Vec<ProgressRecord>,
    /// Who counts its sends.
    #[prost(message, repeated, tag = "3")]
    pub accepted: Vec<AcceptedRecord>,
    /// What stands in the last places (see `recent`).
    #[prost(bytes = "vec", tag = "4")]
    pub recent: Vec<u8>,
}

/// A device of a user.
#[derive(Clone, PartialEq, Message)]
pub struct DeviceRecord {
    /// Number, never given again.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Name among the user's devices.
    #[prost(string, tag = "2")]
    pub name: String,
    /// SHA-256 of the password.
    #[prost(bytes = "vec", tag = "3")]
    pub password_hash: Vec<u8>,
    /// It has subscribed to events once: receipts are kept for it.
    #[prost(bool, tag = "4")]
    pub reads_events: bool,
    /// What it is called for people.
    #[prost(string, tag = "5")]
    pub label: String,
    /// SHA-256 of a password that it has renewed its own with and not used yet; empty: there is none. Until then the one
    /// before is good too.
    #[prost(bytes = "vec", tag = "6")]
    pub next_password_hash: Vec<u8>,
    /// First bytes of the SHA-256 of its certificate: it takes part in encrypted conversations. 0: it has none.
    #[prost(fixed64, tag = "7")]
    pub certificate: u64,
}

/// A user.
#[derive(Clone, PartialEq, Message)]
pub struct UserRecord {
    /// Devices in the order they were added.
    #[prost(message, repeated, tag = "1")]
    pub devices: Vec<DeviceRecord>,
    /// Names of users that this one has blocked, ascending.
    #[prost(string, repeated, tag = "2")]
    pub blocked: Vec<String>,
    /// Nobody has registered as this user yet; somebody has written to its phone number. Its one device has no name.
    #[prost(bool, tag = "3")]
    pub waiting: bool,
    /// SHA-256 of its phone number; empty: it has none.
    #[prost(bytes = "vec", tag = "4")]
    pub phone_sha256: Vec<u8>,
    /// Who may add it to groups (numbers are those of `client.GroupsFrom`).
    #[prost(enumeration = "GroupsFrom", tag = "10")]
    pub groups_from: i32,
    /// Second since 1970 since which it is suspended: none of its devices gets in. 0: it is not.
    #[prost(uint32, tag = "30")]
    pub suspended_at_s: u32,
}

impl UserRecord {
    /// Whether an operator has shut it out for a while.
    pub fn is_suspended(&self) -> bool {
        self.suspended_at_s != 0
    }

    /// Whether the user has blocked `other`, which then is told nothing of it.
    pub fn has_blocked(&self, other: &UserId) -> bool {
        self.blocked.binary_search_by(|name| name.as_str().cmp(other.as_str())).is_ok()
    }
}

/// What a user says of itself.
#[derive(Clone, PartialEq, Message)]
pub struct ProfileRecord {
    /// What it calls itself.
    #[prost(string, tag = "1")]
    pub name: String,
    /// For people.
    #[prost(string, tag = "2")]
    pub about: String,
    /// Id of a medium.
    #[prost(string, tag = "3")]
    pub picture: String,
    /// Who may see whether it is online (numbers are those of `client.Audience`).
    #[prost(enumeration = "Audience", tag = "4")]
    pub presence_to: i32,
}

/// A contact of a user.
#[derive(Clone, PartialEq, Message)]
pub struct ContactRecord {
    /// What the user calls it.
    #[prost(string, tag = "1")]
    pub label: String,
}

/// What a session leaves behind when its connection ends, and the place of the inbox's first entry.
#[derive(Clone, PartialEq, Message)]
pub struct SessionRecord {
    /// Filters (bits).
    #[prost(uint32, tag = "1")]
    pub filters: u32,
    /// No inbox entry of the device has a lower order.
    #[prost(uint64, tag = "2")]
    pub low: u64,
    /// Highest order handed to the device: up to here a delivery is a repeated one (DUP).
    #[prost(uint64, tag = "3")]
    pub sent: u64,
    /// Second since 1970 at which the MQTT session ends; `u64::MAX`: never, or not while it is connected.
    #[prost(uint64, tag = "4")]
    pub ends_at_s: u64,
    /// Publishes of earlier epochs are not in doubt any more (see `retry`).
    #[prost(uint32, tag = "5")]
    pub doubt_epoch: u32,
    /// There is an MQTT session, with these filters, until `ends_at_s`.
    #[prost(bool, tag = "6")]
    pub exists: bool,
    /// Something was published in this epoch.
    #[prost(bool, tag = "7")]
    pub published: bool,
    /// Rank of the last connection that published something in doubt, at the least (see `bus.proto`, `Connected`).
    #[prost(uint64, tag = "8")]
    pub rank: u64,
    /// Day since 1970 on which the device was connected last; 0: not known.
    #[prost(uint32, tag = "20")]
    pub seen_day: u32,
}

/// Who has still to get a message that is kept apart.
#[derive(Clone, PartialEq, Message)]
pub struct HoldersRecord {
    /// Devices, ascending.
    #[prost(uint64, repeated, tag = "1")]
    pub devices: Vec<u64>,
    /// Second since 1970 at which their entries expire.
    #[prost(uint32, tag = "2")]
    pub expires_at_s: u32,
    /// Files that the message refers to, 16 bytes each.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub media: Vec<Vec<u8>>,
    /// As in [`ReferenceRecord`].
    #[prost(message, optional, tag = "4")]
    pub reference: Option<ReferenceRecord>,
}

/// A message's reference to a file: who sees the message may have the file.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ReferenceRecord {
    /// Second since 1970 at which it ends.
    #[prost(uint32, tag = "1")]
    pub expires_at_s: u32,
    /// Ordinal of who sent the message.
    #[prost(uint32, tag = "2")]
    pub sender: u32,
    /// Only its sender knows of the message.
    #[prost(bool, tag = "3")]
    pub unseen: bool,
}

/// Watermarks in a receipt that a device has still to get.
#[derive(Clone, PartialEq, Message)]
pub struct ReceiptRecord {
    /// Delivered up to.
    #[prost(uint64, tag = "1")]
    pub delivered: u64,
    /// Read up to.
    #[prost(uint64, tag = "2")]
    pub read: u64,
}

/// Where a device is pushed. One of `apns`, `fcm` and `web` is there.
#[derive(Clone, PartialEq, Message)]
pub struct PushRecord {
    /// The device's user.
    #[prost(string, tag = "1")]
    pub user: String,
    /// Apple's.
    #[prost(message, optional, tag = "2")]
    pub apns: Option<ApnsAddress>,
    /// Google's.
    #[prost(message, optional, tag = "3")]
    pub fcm: Option<FcmAddress>,
    /// Web Push.
    #[prost(message, optional, tag = "4")]
    pub web: Option<WebAddress>,
    /// What payloads are encrypted to; empty: there are none.
    #[prost(bytes = "vec", tag = "5")]
    pub p256dh: Vec<u8>,
    /// Belongs to it.
    #[prost(bytes = "vec", tag = "6")]
    pub auth: Vec<u8>,
    /// How much of a message is in a push.
    #[prost(enumeration = "Preview", tag = "7")]
    pub preview: i32,
    /// What the device has fetched and its user has not read.
    #[prost(uint32, tag = "8")]
    pub unread: u32,
    /// Second since 1970 in which it was set last.
    #[prost(uint32, tag = "9")]
    pub set_at_s: u32,
}

/// How far a device is pushed.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct PushedRecord {
    /// Of its inbox, everything up to this order.
    #[prost(uint64, tag = "1")]
    pub up_to: u64,
    /// Pushes since it was connected last, about.
    #[prost(uint32, tag = "2")]
    pub unanswered: u32,
}

/// Who is pushed at an address.
#[derive(Clone, PartialEq, Message)]
pub struct PushAddressRecord {
    /// The device.
    #[prost(uint64, tag = "1")]
    pub device: u64,
    /// Its user.
    #[prost(string, tag = "2")]
    pub user: String,
}

/// Until when a user has muted a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct MuteRecord {
    /// Second since 1970; `u32::MAX`: for ever.
    #[prost(uint32, tag = "1")]
    pub until_s: u32,
    /// But for mentions.
    #[prost(bool, tag = "2")]
    pub mentions_only: bool,
}

/// Who a user is to others' devices.
#[derive(Clone, PartialEq, Message)]
pub struct IdentityRecord {
    /// Its identity keys, as links of a chain, from the first.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub chain: Vec<Bytes>,
    /// Number of its last certificate.
    #[prost(uint64, tag = "2")]
    pub last_certificate: u64,
}

/// A certificate of a user's device, which may be no more.
#[derive(Clone, PartialEq, Message)]
pub struct CertificateRecord {
    /// As the device handed it in.
    #[prost(bytes = "bytes", tag = "1")]
    pub certificate: Bytes,
    /// As in [`DeviceRecord`].
    #[prost(fixed64, tag = "2")]
    pub fingerprint: u64,
}

/// What others encrypt to a device with, besides the key packages that are rows of their own.
#[derive(Clone, PartialEq, Message)]
pub struct DeviceKeysRecord {
    /// Number of its certificate among those of its user.
    #[prost(uint64, tag = "1")]
    pub certificate: u64,
    /// Number of its oldest key package.
    #[prost(uint64, tag = "2")]
    pub first: u64,
    /// Number of its next key package.
    #[prost(uint64, tag = "3")]
    pub next: u64,
    /// Used when there is no other; empty: none.
    #[prost(bytes = "bytes", tag = "4")]
    pub last_resort: Bytes,
    /// Second since 1970 at which that ends.
    #[prost(uint32, tag = "5")]
    pub last_resort_ends_s: u32,
    /// First bytes of the SHA-256 of the key packages that came last: none of them is taken twice.
    #[prost(fixed64, repeated, tag = "6")]
    pub known: Vec<u64>,
}

/// A key package for one use.
#[derive(Clone, PartialEq, Message)]
pub struct KeyPackageRecord {
    /// As the device handed it in.
    #[prost(bytes = "bytes", tag = "1")]
    pub package: Bytes,
    /// Second since 1970 at which it ends.
    #[prost(uint32, tag = "2")]
    pub ends_s: u32,
}

/// What a user's device has sealed for a new one.
#[derive(Clone, PartialEq, Message)]
pub struct LinkRecord {
    /// What the new device has drawn, 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub link: Bytes,
    /// For the new device.
    #[prost(bytes = "bytes", tag = "2")]
    pub sealed: Bytes,
    /// Second since 1970 at which nobody can take it any more.
    #[prost(uint32, tag = "3")]
    pub ends_s: u32,
}

/// The MLS group of an encrypted conversation, as far as it is read for commits only.
#[derive(Clone, PartialEq, Message)]
pub struct MlsGroupRecord {
    /// Its epoch, as in [`MlsRecord`].
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// All but the tree, for who checks commits.
    #[prost(bytes = "bytes", tag = "2")]
    pub state: Bytes,
    /// The ratchet tree.
    #[prost(bytes = "bytes", tag = "3")]
    pub tree: Bytes,
    /// What it takes to join from outside.
    #[prost(bytes = "bytes", tag = "4")]
    pub group_info: Bytes,
    /// Who is in it.
    #[prost(message, repeated, tag = "5")]
    pub leaves: Vec<MlsLeafRecord>,
}

/// A device in an MLS group.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MlsLeafRecord {
    /// The device's number.
    #[prost(uint64, tag = "1")]
    pub device: u64,
    /// As in [`DeviceRecord`].
    #[prost(fixed64, tag = "2")]
    pub certificate: u64,
    /// Whose it is.
    #[prost(string, tag = "3")]
    pub user: String,
    /// Its name.
    #[prost(string, tag = "4")]
    pub name: String,
}

/// The MLS group of an encrypted conversation, as far as every message needs it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MlsRecord {
    /// Generation * 2^32 + the epoch of the group.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Second since 1970 at which the epoch began.
    #[prost(uint32, tag = "2")]
    pub began_at_s: u32,
    /// Numbers of the devices in it.
    #[prost(uint64, repeated, tag = "3")]
    pub devices: Vec<u64>,
    /// Their certificates, as in [`DeviceRecord`].
    #[prost(fixed64, repeated, tag = "4")]
    pub certificates: Vec<u64>,
    /// The epoch before it.
    #[prost(uint64, tag = "5")]
    pub before: u64,
    /// SHA-256 of what has begun it.
    #[prost(bytes = "vec", tag = "6")]
    pub begun_by: Vec<u8>,
    /// Where the change stands that has begun it.
    #[prost(uint64, tag = "7")]
    pub sequence: u64,
    /// Second since 1970 at which the group was founded, or reset last.
    #[prost(uint32, tag = "8")]
    pub founded_at_s: u32,
    /// How far the store had gone back by then ([`crate::floor::Floor`]).
    #[prost(uint64, tag = "9")]
    pub floor: u64,
    /// Minute since 1970 of the last commit.
    #[prost(uint32, tag = "10")]
    pub minute: u32,
    /// Commits in it.
    #[prost(uint32, tag = "11")]
    pub commits: u32,
}
