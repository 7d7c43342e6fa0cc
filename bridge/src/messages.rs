//! What the tasks of the bridge say to each other. Lanes hear each other, the committer and operators through one
//! queue each, unbounded: what is in it is bounded by what devices may have under way (windows, unanswered publishes).

use std::sync::Arc;

use bytes::Bytes;
use godwit_core::command::{Command, CommandOrigin, Draft};
use godwit_core::event::DomainEvent;
use godwit_core::keys::Ticket;
use godwit_core::outcome::{Effect, EffectKind, NewEntry};
use godwit_core::reply_to::ConnectionKey;
use godwit_core::usage::Fullness;
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, Order, UserId};
use godwit_store::Write;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::audit::Actor;
use crate::memberships::Memberships;
use crate::phone::PhoneHash;
use crate::push::messages::PushMessage;

mod admin;
mod encryption;
mod people;
mod user;

pub use self::admin::{
    AdminError, ClientListing, ConversationReport, DeviceCredentials, DeviceReport, InboxEntry, InboxPage, InboxReport,
    MemberReport, UserListing,
};
pub(crate) use self::admin::{AdminReply, AdminRequest, WaitingPage};
pub(crate) use self::encryption::Encryption;
pub(crate) use self::people::{People, PresenceQuery, PresenceUpdate, Requester};
pub use self::user::Principal;
pub(crate) use self::user::UserRequest;

/// To a lane.
pub(crate) enum LaneMessage {
    /// From a session's lane to a conversation's.
    Command(Command),
    /// From the committer.
    Committed(Committed),
    /// For the lane of the user that would wait for it: a message to a phone number.
    ToPhone(ToPhone),
    /// Messages to a phone number go on.
    PhoneReady(PhoneHash),
    /// Go on when everything is on disk that was handed to the committer before.
    Flush(Continuation),
    /// From an operator, or in an operator's stead.
    Admin(Actor, AdminRequest),
    /// All lanes know these devices as they are.
    Known(Vec<DeviceId>),
    /// The device of this connection is one of them.
    Arrive(ConnectionKey),
    /// What a user asks without a connection, over HTTP mostly, for the lane that owns it.
    UserRequest(UserId, Principal, UserRequest, oneshot::Sender<client::Response>),
    /// A change of this lane's is known everywhere: tell whom it concerns.
    Effects(Vec<EffectKind>),
    /// A user of another lane is not what it was; release the barrier when what was decided before is on disk.
    UserChanged(UserId, Arc<Barrier>),
    /// A device's inbox is so full from now on.
    Fullness(DeviceId, Fullness),
    /// What a device was shut out by is on disk: go on when its connections are closed.
    Closed(DeviceId, Continuation),
    /// No lane has anything to do with these devices any more: erase what they left, then tell.
    Erase(Vec<DeviceId>, Continuation),
    /// About contacts and presence.
    People(People),
    /// About what devices encrypt to each other with.
    Encryption(Encryption),
    /// About where devices are pushed.
    Push(PushMessage),
    /// Take no more from the bus; release the barrier when all that is under way is on disk.
    Drain(Arc<Barrier>),
    /// Release the barrier when what was decided so far is on disk.
    Pass(Arc<Barrier>),
    /// End the task.
    Stop,
}

/// A lane's mailbox.
pub(crate) type LaneHandle = mpsc::UnboundedSender<LaneMessage>;

/// To the committer: what a lane wants on disk, all or nothing.
#[derive(Default)]
pub(crate) struct Commit {
    /// The lane that it is of.
    pub(crate) lane: u32,
    /// The lane's number for it.
    pub(crate) ticket: Ticket,
    /// Inbox entries, which the committer numbers.
    pub(crate) entries: Vec<NewEntry>,
    /// All other writes.
    pub(crate) writes: Vec<Write>,
    /// Memberships that begin and end by it, to be counted.
    pub(crate) memberships: Memberships,
    /// Effects, told to the lanes of their sessions when it is on disk.
    pub(crate) effects: Vec<Effect>,
    /// What the lane itself does when it is on disk.
    pub(crate) done: Vec<AfterCommit>,
    /// Whether it needs an fsync: something of it is acknowledged.
    pub(crate) durable: bool,
    /// Events for operators, told when it is on disk.
    pub(crate) events: Vec<DomainEvent>,
    /// Runs when it is on disk. Set by tasks that are no lanes; such a commit has writes alone.
    pub(crate) then: Option<Continuation>,
}

/// From the committer: what is on disk, told to one lane.
#[derive(Default)]
pub(crate) struct Committed {
    /// New entries of its devices, in order.
    pub(crate) new_entries: Vec<NewInboxEntry>,
    /// Of its devices there are no others up to this order.
    pub(crate) last_order: Order,
    /// Effects for its sessions.
    pub(crate) effects: Vec<EffectKind>,
    /// What it wanted to do after its own commits.
    pub(crate) done: Vec<AfterCommit>,
    /// Its own commits up to here.
    pub(crate) ticket: Option<Ticket>,
    /// When it was on disk.
    pub(crate) at: Option<Instant>,
}

/// A device has a new inbox entry.
#[derive(Debug)]
pub(crate) struct NewInboxEntry {
    pub(crate) device: DeviceId,
    pub(crate) order: Order,
    pub(crate) value: Bytes,
    /// Length of its content.
    pub(crate) bytes: u32,
}

/// What a lane does when its commit is on disk.
pub(crate) enum AfterCommit {
    /// Tell the edge that the filters are stored.
    Subscribed(ConnectionKey, u32),
    /// Go on.
    Then(Continuation),
    /// Tell all lanes that the user changed, and go on when all know.
    Announce(UserId, Continuation),
    /// Nothing is kept of these devices any more: go on.
    Erased(Vec<DeviceId>, Continuation),
}

/// A step that is taken later, by whoever gets that far.
pub(crate) type Continuation = Box<dyn FnOnce() + Send + Sync>;

/// Takes a step when its last holder lets go of it.
pub(crate) struct Barrier(Option<Continuation>);

impl Barrier {
    pub(crate) fn new(then: Continuation) -> Arc<Self> {
        Arc::new(Self(Some(then)))
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        if let Some(then) = self.0.take() {
            then();
        }
    }
}

/// A message to a phone number.
pub(crate) struct ToPhone {
    pub(crate) hash: PhoneHash,
    pub(crate) origin: CommandOrigin,
    pub(crate) draft: Draft,
}
