//! What the tasks of the bridge say to each other. Lanes hear each other, the committer and operators through one
//! queue each, unbounded: what is in it is bounded by what devices may have under way (windows, unanswered publishes).

use std::sync::Arc;

use bytes::Bytes;
use godwit_core::command::{Command, ConnectionKey, Draft, Origin};
use godwit_core::entry::Entry;
use godwit_core::fact::Fact;
use godwit_core::outcome::{Effect, NewEntry};
use godwit_core::world::Ticket;
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{DeviceId, DeviceName, Order, UserId};
use tokio::sync::{mpsc, oneshot};

use crate::admin::{AdminError, Credentials, UserListing};
use crate::audit::By;
use crate::chat::Who;
use crate::memberships::Memberships;
use crate::phone::PhoneHash;
use crate::store::Write;

mod people;

pub(crate) use self::people::{Look, People, Told, Whom};

/// To a lane.
pub(crate) enum Mail {
    /// From a session's lane to a conversation's.
    Command(Command),
    /// From the committer.
    Committed(Committed),
    /// For the lane of the user that would wait for it: a message to a phone number.
    ToPhone(ToPhone),
    /// Messages to a phone number go on.
    PhoneReady(PhoneHash),
    /// Go on when everything is on disk that was handed to the committer before.
    Flush(Then),
    /// From an operator, or in an operator's stead.
    Admin(By, AdminRequest),
    /// What a token has made for this connection is known everywhere.
    Arrive(ConnectionKey),
    /// Over HTTP, for the lane that owns the user.
    Ask(UserId, Who, Ask, oneshot::Sender<client::Response>),
    /// A change of this lane's is known everywhere: tell whom it concerns.
    Effects(Vec<Effect>),
    /// A user of another lane is not what it was.
    UserChanged(UserId, #[expect(dead_code, reason = "held until the mail is opened")] Arc<WhenAll>),
    /// A device's inbox is full (`true`), or is so no longer.
    Full(DeviceId, bool),
    /// No lane has anything to do with these devices any more: erase what they left, then tell.
    Erase(Vec<DeviceId>, Then),
    /// About contacts and presence.
    People(People),
    /// Take no more from the bus; let go when all that is under way is on disk.
    Drain(Arc<WhenAll>),
    /// Let go when what was decided so far is on disk.
    Pass(Arc<WhenAll>),
    /// End.
    Stop,
}

/// What a user wants over HTTP.
pub(crate) enum Ask {
    /// A call of `rpc`.
    Call(Call),
    /// What is published to `send`.
    Send(client::Send),
    /// What is published to `receipt`.
    Read(client::ReadReceipt),
    /// A page of what waits for one of the user's devices and is kept nowhere else, above this order.
    Waiting(String, Order),
}

/// A lane's mailbox.
pub(crate) type Mailbox = mpsc::UnboundedSender<Mail>;

/// To the committer: what a lane wants on disk, all or nothing.
#[derive(Default)]
pub(crate) struct Commit {
    /// Whose.
    pub(crate) lane: u32,
    /// The lane's number for it.
    pub(crate) ticket: Ticket,
    /// To be numbered.
    pub(crate) entries: Vec<NewEntry>,
    /// Everything else.
    pub(crate) writes: Vec<Write>,
    /// Memberships that begin and end by it, to be counted.
    pub(crate) memberships: Memberships,
    /// For whom it may concern, afterwards.
    pub(crate) effects: Vec<Effect>,
    /// For the lane itself, afterwards.
    pub(crate) done: Vec<Done>,
    /// Needs an fsync.
    pub(crate) durable: bool,
    /// For operators, afterwards.
    pub(crate) facts: Vec<Fact>,
    /// Of a commit that is no lane's: who waits for it. Then it has writes alone.
    pub(crate) then: Option<Then>,
}

/// From the committer: what is on disk, told to one lane.
#[derive(Default)]
pub(crate) struct Committed {
    /// New entries of its devices, in order.
    pub(crate) wakes: Vec<Wake>,
    /// Effects for its sessions.
    pub(crate) effects: Vec<Effect>,
    /// What it wanted to do after its own commits.
    pub(crate) done: Vec<Done>,
    /// Its own commits up to here.
    pub(crate) ticket: Option<Ticket>,
}

/// A device has a new inbox entry.
#[derive(Debug)]
pub(crate) struct Wake {
    pub(crate) device: DeviceId,
    pub(crate) order: Order,
    pub(crate) value: Bytes,
    /// Length of its content.
    pub(crate) bytes: u32,
}

/// What a lane does when its commit is on disk.
pub(crate) enum Done {
    /// Tell the edge that the filters are stored.
    Subscribed(ConnectionKey, u32),
    /// Go on.
    Then(Then),
    /// Tell all lanes that the user changed, and go on when all know.
    Announce(UserId, Then),
    /// Nothing is kept of these devices any more: go on.
    Erased(Vec<DeviceId>, Then),
}

/// A step that is taken later, by whoever gets that far.
pub(crate) type Then = Box<dyn FnOnce() + Send + Sync>;

/// Takes a step when its last holder lets go of it.
pub(crate) struct WhenAll(Option<Then>);

impl WhenAll {
    pub(crate) fn new(then: Then) -> Arc<Self> {
        Arc::new(Self(Some(then)))
    }
}

impl Drop for WhenAll {
    fn drop(&mut self) {
        if let Some(then) = self.0.take() {
            then();
        }
    }
}

/// An operator's command, for the lane that owns the user.
pub(crate) enum AdminRequest {
    AddUser(UserId, DeviceName, Reply<Credentials>),
    RemoveUser(UserId, Reply<()>),
    AddDevice(UserId, DeviceName, Reply<Credentials>),
    RemoveDevice(UserId, DeviceName, Reply<()>),
    /// A new password for a device; the one before is void.
    RenewPassword(UserId, DeviceName, Reply<Credentials>),
    User(UserId, Reply<UserListing>),
    /// For the lane of the user that would wait for the number: who has it.
    PhoneOwner(PhoneHash, Reply<Option<UserId>>),
    /// For the lane of the user that would wait for the number: it is to be this user's. Messages to it are held.
    ClaimPhone(PhoneHash, UserId, Reply<()>),
    /// The same lane: the device whose inbox has what waits for the number, and gets no more.
    NextWaiting(PhoneHash, UserId, Reply<Option<DeviceId>>),
    /// What is in such an inbox, behind this order.
    Waiting(DeviceId, Order, Reply<Waiting>),
    /// All of it has been sent to somebody else.
    HandedOver(PhoneHash, DeviceId, Reply<()>),
    /// The same lane: the number is this user's, or stays nobody's. What was held goes on.
    SettlePhone(PhoneHash, Option<UserId>, Reply<()>),
    /// The same lane: the user has it no longer.
    ReleasePhone(PhoneHash, UserId, Reply<()>),
    /// The user's lane: its number from now on; tells the one before.
    SetPhone(UserId, Option<PhoneHash>, Reply<Option<PhoneHash>>),
    /// Any lane: users after this one, at most so many.
    Users(Option<UserId>, usize, Reply<Vec<UserListing>>),
}

/// A message to a phone number.
pub(crate) struct ToPhone {
    pub(crate) hash: PhoneHash,
    pub(crate) origin: Origin,
    pub(crate) draft: Draft,
}

/// A page of an inbox, with bodies.
pub(crate) struct Waiting {
    pub(crate) now_s: u32,
    pub(crate) entries: Vec<(Order, Entry)>,
    /// Behind it the next page begins. `None`: this is behind the last.
    pub(crate) next: Option<Order>,
}

/// Where the answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, AdminError>>;
