//! Operators' commands as lanes are asked to carry them out, their answers and their refusals.

use godwit_core::entry::Entry;
use godwit_schemas::ids::{BadName, ConversationId, DeviceId, DeviceName, Order, UserId};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::phone::PhoneHash;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A name that cannot be one.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// There is no such user.
    #[error("no user \"{0}\"")]
    NoUser(UserId),
    /// The user has no such device.
    #[error("user \"{0}\" has no device \"{1}\"")]
    NoDevice(UserId, DeviceName),
    /// There is no such conversation.
    #[error("no conversation {0}")]
    NoConversation(ConversationId),
    /// The user exists already.
    #[error("user \"{0}\" exists")]
    UserExists(UserId),
    /// The user has a device of this name already.
    #[error("user \"{0}\" has a device \"{1}\" already")]
    DeviceExists(UserId, DeviceName),
    /// The user has as many devices as a user may have.
    #[error("user \"{0}\" has {1} devices, the most a user may have")]
    TooManyDevices(UserId, usize),
    /// The user is being removed.
    #[error("user \"{0}\" is being removed")]
    BeingRemoved(UserId),
    /// The system gave no random bits for a password.
    #[error("no randomness for a password: {0}")]
    NoRandomness(String),
    /// Another user has the phone number.
    #[error("another user has this phone number")]
    PhoneTaken,
    /// Somebody claims the phone number right now, or has just been written to under it for the first time.
    #[error("this phone number is being set: try again")]
    PhoneBusy,
    /// What waited for a phone number does not go to its user: the inbox is full, or it is in too many conversations.
    #[error("the inbox of user \"{0}\" is full, or it is in as many conversations as a user may be in")]
    InboxFull(UserId),
    /// The store is nearly full.
    #[error("the disk is nearly full (store.reserve_mib)")]
    NoRoom,
    /// The bridge is stopping.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// A new device's way in: what the server answers an operator's command. The command line reads it from the HTTP API as a
/// type of the same name (`server/src/admin.rs`).
#[derive(Debug, Serialize)]
pub struct DeviceCredentials {
    /// MQTT user name.
    pub user: String,
    /// MQTT client id.
    pub device: String,
    /// MQTT password: 256 random bits in URL-safe base64. The server keeps only a hash of it.
    pub password: String,
}

/// A user and its devices.
#[derive(Debug, Serialize)]
pub struct UserListing {
    /// The user's name.
    pub user: String,
    /// Names of its devices, in the order they were added.
    pub devices: Vec<String>,
    /// Of these, the ones whose inbox is full. Absent where users are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<Vec<String>>,
    /// Second since 1970 since which it is suspended. Absent if it is not, and where users are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended_at_s: Option<u32>,
}

/// A connected device.
#[derive(Debug, Clone, Serialize)]
pub struct ClientListing {
    /// Its user.
    pub user: String,
    /// Its name.
    pub device: String,
    /// "3.1.1" or "5".
    pub protocol: &'static str,
    /// Name of the broker that has the connection, as in its log: hexadecimal.
    pub broker: String,
    /// The broker's number of the connection, as in its log.
    pub connection: u64,
    /// How long its session outlasts the connection.
    pub session_expiry_s: u32,
    /// Second since 1970 at which the connection ends with its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ends_at_s: Option<u32>,
    /// Deliveries that it has not acknowledged.
    pub in_flight: usize,
    /// Its publishes and calls that are being carried out.
    pub publishes: u32,
}

/// How a device is.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceReport {
    /// If it is connected.
    pub connection: Option<ClientListing>,
    /// Day since 1970 on which it was connected last, as far as is written.
    pub seen_day: Option<u32>,
    /// What waits for it.
    pub inbox: InboxReport,
}

/// How much waits in an inbox.
#[derive(Debug, Clone, Serialize)]
pub struct InboxReport {
    /// Entries, as far as is known.
    pub entries: u32,
    /// It takes nothing more.
    pub is_full: bool,
    /// Second since 1970 since which it is full.
    pub full_since_s: Option<u64>,
}

/// A conversation, without its title and what was said in it.
#[derive(Debug, Clone, Serialize)]
pub struct ConversationReport {
    /// Group rather than direct.
    pub group: bool,
    /// Sequence of the last message or change.
    pub last_sequence: u64,
    /// In the order they joined.
    pub members: Vec<MemberReport>,
}

/// A member of a conversation, and how far it is.
#[derive(Debug, Clone, Serialize)]
pub struct MemberReport {
    /// Its name.
    pub user: String,
    /// What it may do, as `client.Role` numbers it.
    pub role: i32,
    /// Its devices have everything up to here.
    pub delivered: u64,
    /// It has read everything up to here.
    pub read: u64,
    /// Sequence of its last message.
    pub last_sent: u64,
    /// It joined after this.
    pub joined_after: u64,
}

/// An entry of an inbox: what it is, and nothing of what it says.
#[derive(Debug, Clone, Serialize)]
pub struct InboxEntry {
    /// Its order, which grows.
    pub order: u64,
    /// The conversation it belongs to.
    pub conversation: u64,
    /// Its place there.
    pub sequence: u64,
    /// "message", "change" or "recalled".
    pub kind: &'static str,
    /// Length of its content.
    pub bytes: u32,
    /// Second since 1970 at which it was stored.
    pub stored_at_s: u32,
    /// Second since 1970 from which on it need not be delivered any more.
    pub expires_at_s: u32,
}

/// A page of an inbox.
#[derive(Debug, Clone, Serialize)]
pub struct InboxPage {
    /// By their order.
    pub entries: Vec<InboxEntry>,
    /// The order behind which the next page begins. `None`: there is none.
    pub next: Option<u64>,
}

/// An operator's command, for the lane that owns the user.
pub(crate) enum AdminRequest {
    AddUser(UserId, DeviceName, AdminReply<DeviceCredentials>),
    RemoveUser(UserId, AdminReply<()>),
    AddDevice(UserId, DeviceName, AdminReply<DeviceCredentials>),
    RemoveDevice(UserId, DeviceName, AdminReply<()>),
    /// A new password for a device; the one before is void.
    RenewPassword(UserId, DeviceName, AdminReply<DeviceCredentials>),
    User(UserId, AdminReply<UserListing>),
    /// For the lane of the user that would wait for the number: who has it.
    PhoneOwner(PhoneHash, AdminReply<Option<UserId>>),
    /// For the lane of the user that would wait for the number: it is to be this user's. Messages to it are held.
    ClaimPhone(PhoneHash, UserId, AdminReply<()>),
    /// The same lane: the device whose inbox has what waits for the number, and gets no more.
    NextWaiting(PhoneHash, UserId, AdminReply<Option<DeviceId>>),
    /// What is in such an inbox, behind this order.
    Waiting(DeviceId, Order, AdminReply<WaitingPage>),
    /// All of it has been sent to somebody else.
    HandedOver(PhoneHash, DeviceId, AdminReply<()>),
    /// The same lane: the number is this user's, or stays nobody's. What was held goes on.
    SettlePhone(PhoneHash, Option<UserId>, AdminReply<()>),
    /// The same lane: the user has it no longer.
    ReleasePhone(PhoneHash, UserId, AdminReply<()>),
    /// The user's lane: its number from now on; tells the one before.
    SetPhone(UserId, Option<PhoneHash>, AdminReply<Option<PhoneHash>>),
    /// Any lane: users after this one, at most so many.
    Users(Option<UserId>, usize, AdminReply<Vec<UserListing>>),
    /// Those of these users of the lane that are connected.
    Clients(Vec<UserId>, AdminReply<Vec<ClientListing>>),
    /// How a device is.
    Device(UserId, DeviceName, AdminReply<DeviceReport>),
    /// Entries of a device's inbox behind an order, at most so many.
    Inbox(UserId, DeviceName, (Order, usize), AdminReply<InboxPage>),
    /// Any lane: who is in a conversation.
    Conversation(ConversationId, AdminReply<ConversationReport>),
    /// Ends a device's connection.
    Kick(UserId, DeviceName, AdminReply<()>),
    /// Shuts a user out, or lets it in again.
    Suspend(UserId, bool, AdminReply<()>),
}

/// A page of an inbox, with bodies.
pub(crate) struct WaitingPage {
    pub(crate) now_s: u32,
    pub(crate) entries: Vec<(Order, Entry)>,
    /// Behind it the next page begins. `None`: this is behind the last.
    pub(crate) next: Option<Order>,
}

/// Where the answer goes.
pub(crate) type AdminReply<T> = oneshot::Sender<Result<T, AdminError>>;
