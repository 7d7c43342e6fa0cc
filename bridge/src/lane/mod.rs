//! A lane: the single owner of some users' sessions and some conversations. It works in rounds of five steps:
//! gather what is queued, read the keys it needs, decide (bridge/core), hand one commit to the committer, and emit the
//! effects of commits that are on disk.
//!
//! What it does follows from what it is given, in that order (hashing is seeded by the epoch, nothing is drawn): that
//! lets a simulation replay it.
//!
//! Keeps P4 (one owner, one order) and P8 (a round costs what is in it). Nothing here is locked or shared.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::FixedState;
use godwit_core::command::{Command, ConnectionKey};
use godwit_core::decide::{Rules, decide};
use godwit_core::fact::Fact;
use godwit_core::load::Load;
use godwit_core::outcome::Outcome;
use godwit_core::world::{Ticket, World};
use godwit_schemas::bus::{self, Bus, UpBatch, up};
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, UserId};
use godwit_schemas::partition::{PARTITIONS, Partition};
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{error, warn};

use self::backlog::{Backlogs, Recount};
use self::contacts::Contacts;
use self::edges::{Accepted, Edges};
use self::phone::Phones;
use self::presence::Presences;
use self::session::Session;
use self::users::Removal;
use crate::Settings;
use crate::link::Link;
use crate::mail::{Commit, Done, Mail, Mailbox, Then, WhenAll};
use crate::media::Calls;
use crate::memberships::Memberships;
use crate::store::{ClockS, Store, StoreError};
use crate::writes;

mod account;
mod ask;
mod backlog;
mod clear;
mod connect;
mod contacts;
mod deliver;
mod edges;
mod effects;
mod history;
mod identity;
mod look_back;
mod media;
mod phone;
mod picture;
mod presence;
mod profile;
mod publish;
mod read;
mod receipts;
mod session;
#[cfg(test)]
mod tests;
mod tokens;
mod users;
mod waiting;

/// How often a bridge says that it is there.
const HELLO: Duration = Duration::from_millis(250);
/// How long acknowledgements wait for a message to share a commit with: alone, each would wake the committer.
const LINGER: Duration = Duration::from_millis(2);
/// Payloads and mails taken in one round.
const GATHER_MAX: usize = 256;
/// Ranks of connections and numbers of receipts that one start of the bridge has: more than a lane will ever need.
const PER_START: u64 = 1 << 40;
/// Devices served from the store in one round.
const FEED_MAX: usize = 64;

/// What a lane is made of.
pub(crate) struct Parts<S, B: Bus> {
    pub(crate) number: u32,
    pub(crate) epoch: u64,
    pub(crate) settings: Settings,
    pub(crate) store: S,
    pub(crate) clock: ClockS,
    pub(crate) link: Link<B>,
    /// Of all lanes, this one's own included.
    pub(crate) lanes: Arc<[Mailbox]>,
    pub(crate) mailbox: mpsc::UnboundedReceiver<Mail>,
    pub(crate) committer: mpsc::Sender<Commit>,
    pub(crate) counters: read::Counters,
    /// Somebody wants to know what happens.
    pub(crate) tells: bool,
    /// Absent: there is no object store.
    pub(crate) media: Option<Calls>,
}

pub(crate) use read::{Counters, decoded};

/// See the module.
pub(crate) struct Lane<S, B: Bus> {
    number: u32,
    epoch: u64,
    settings: Settings,
    rules: Rules,
    store: S,
    clock: ClockS,
    now_s: u32,
    link: Link<B>,
    lanes: Arc<[Mailbox]>,
    mailbox: mpsc::UnboundedReceiver<Mail>,
    committer: mpsc::Sender<Commit>,
    world: World,
    edges: Edges,
    sessions: HashMap<DeviceId, Session, FixedState>,
    connections: HashMap<ConnectionKey, DeviceId, FixedState>,
    /// When connections end whose token does.
    ends: BTreeSet<(u32, ConnectionKey)>,
    /// Connections that wait for what their token makes.
    arriving: BTreeMap<ConnectionKey, bus::Connect>,
    backlogs: Backlogs,
    recount: Recount,
    /// Devices whose next entries are to be read from the store.
    hungry: Vec<DeviceId>,
    /// Devices whose session record is to be written.
    dirty: BTreeSet<DeviceId>,
    /// Devices that may be forgotten once their record is on disk.
    leaving: Vec<DeviceId>,
    commands: Vec<Command>,
    /// Commands that wait until what was sent before them is on disk: until this commit is.
    looking_back: Vec<(Ticket, Command)>,
    /// Whom to let go of when this commit is on disk.
    passing: Vec<(Ticket, Arc<WhenAll>)>,
    media: Option<Calls>,
    /// When what is gathered is to be committed, if it is not due at once.
    linger: Option<Instant>,
    /// Somebody waits for what is gathered.
    due: bool,
    /// Gathered for the next commit, besides what commands decide.
    next: Commit,
    confirmed: Ticket,
    sealed: Ticket,
    next_device: [u64; PARTITIONS as usize],
    /// No start uses a number again: acknowledgements of what an earlier one handed out still come.
    next_receipt: u64,
    /// The store is: what would add to it waits.
    nearly_full: bool,
    /// Connections made before this start have a lower rank.
    first_rank: u64,
    last_rank: u64,
    removals: BTreeMap<UserId, Removal>,
    phones: Phones,
    contacts: Contacts,
    presences: Presences,
    /// Requests over HTTP that wait for their answer.
    asked: BTreeMap<u64, oneshot::Sender<client::Response>>,
    last_asked: u64,
    draining: Option<Vec<Arc<WhenAll>>>,
    tells: bool,
}

impl<S: Store, B: Bus> Lane<S, B> {
    pub(crate) fn new(parts: Parts<S, B>) -> Self {
        let Parts { number, epoch, settings, store, clock, link, lanes, mailbox, committer, counters, tells, media } =
            parts;
        let own = |device: &DeviceId| Partition::of_device(*device).lane(settings.lanes) == number;
        let inbox = Load { entries: settings.inbox_entries, bytes: settings.inbox_bytes };
        let stored = counters.backlogs.into_iter().filter(|(device, _)| own(device));
        Self {
            number,
            epoch,
            backlogs: Backlogs::new(inbox, epoch, stored),
            recount: Recount::default(),
            rules: settings.rules.clone(),
            now_s: clock(),
            world: World::new(settings.cached_per_lane, counters.conversations, epoch),
            edges: Edges::new(number, epoch),
            store,
            clock,
            link,
            lanes,
            mailbox,
            committer,
            sessions: HashMap::with_hasher(FixedState::with_seed(epoch)),
            connections: HashMap::with_hasher(FixedState::with_seed(epoch)),
            ends: BTreeSet::new(),
            arriving: BTreeMap::new(),
            hungry: Vec::new(),
            dirty: BTreeSet::new(),
            leaving: Vec::new(),
            commands: Vec::new(),
            looking_back: Vec::new(),
            passing: Vec::new(),
            media,
            linger: None,
            due: false,
            next: Commit::default(),
            confirmed: 0,
            sealed: 0,
            next_device: counters.devices,
            next_receipt: bus::RECEIPTS_FROM + counters.starts * PER_START,
            nearly_full: false,
            first_rank: counters.starts * PER_START,
            last_rank: counters.starts * PER_START,
            removals: BTreeMap::new(),
            phones: Phones::new(counters.phone_names),
            contacts: Contacts::default(),
            presences: Presences::new(settings.offline_after, epoch),
            asked: BTreeMap::new(),
            last_asked: 0,
            draining: None,
            settings,
            tells,
        }
    }

    /// Runs until told to stop, or until the store fails.
    ///
    /// # Errors
    /// The store's: nothing may be acknowledged any more.
    pub(crate) async fn run(mut self) -> Result<(), StoreError> {
        self.clear_what_is_marked().await?;
        let mut hello = interval(HELLO);
        hello.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let committer = self.committer.clone();
            let mut permit = None;
            tokio::select! {
                biased;
                _ = hello.tick() => self.tick().await?,
                payload = self.link.next(), if self.draining.is_none() => self.take(payload).await?,
                mail = self.mailbox.recv() => {
                    let Some(mail) = mail else { return Ok(()) };
                    if self.open(mail).await?.is_break() {
                        return Ok(());
                    }
                }
                () = until(self.linger) => (self.due, self.linger) = (true, None),
                reserved = committer.reserve(), if self.is_due() => {
                    let Ok(reserved) = reserved else { return Ok(()) };
                    // Kept: given back, it would go to the next lane that waits, and come back from there for ever.
                    permit = Some(reserved);
                }
            }
            for _ in 0..GATHER_MAX {
                let Ok(mail) = self.mailbox.try_recv() else { break };
                if self.open(mail).await?.is_break() {
                    return Ok(());
                }
            }
            for _ in 0..GATHER_MAX {
                let Some(payload) = self.link.try_next().filter(|_| self.draining.is_none()) else { break };
                self.take(payload).await?;
            }
            self.feed().await?;
            if self.is_due()
                && let Some(permit) = permit.or_else(|| committer.try_reserve().ok())
            {
                permit.send(self.commit().await?);
            }
            self.linger_if_it_may_wait();
            self.let_go_if_drained();
            self.tell_of_full();
            self.flush().await;
            if self.more_to_feed() {
                // What waits in the store is as urgent as what waits in the queues.
                tokio::task::yield_now().await;
                self.feed().await?;
                self.flush().await;
            }
        }
    }

    /// One batch from an edge.
    async fn take(&mut self, payload: Bytes) -> Result<(), StoreError> {
        self.now_s = self.now_s.max((self.clock)());
        let batch = match UpBatch::decode(payload) {
            Ok(batch) => batch,
            Err(error) => {
                warn!(lane = self.number, %error, "a payload on the bus is not a batch");
                return Ok(());
            }
        };
        match self.edges.accept(&batch, Instant::now()) {
            Accepted::Void => return Ok(()),
            Accepted::NewGeneration => self.end_connections_of(batch.edge),
            Accepted::Next => {}
        }
        for frame in batch.frames {
            let key = ConnectionKey { edge: batch.edge, connection: frame.connection };
            match frame.frame {
                Some(up::Frame::Connect(connect)) => self.connect(key, connect).await?,
                Some(up::Frame::Publish(publish)) => self.publish(key, publish).await?,
                Some(up::Frame::Acks(acks)) => self.acknowledged(key, &acks.orders),
                Some(up::Frame::Subscribe(subscribe)) => self.subscribe(key, &subscribe).await?,
                Some(up::Frame::Renew(renew)) => self.renew(key, &renew.token).await?,
                Some(up::Frame::Disconnect(disconnect)) => self.disconnect(key, &disconnect),
                None => {}
            }
        }
        Ok(())
    }

    async fn open(&mut self, mail: Mail) -> Result<ControlFlow<()>, StoreError> {
        self.now_s = self.now_s.max((self.clock)());
        match mail {
            Mail::Command(command) => self.queue(command),
            Mail::Committed(committed) => self.committed(committed).await?,
            Mail::ToPhone(message) => self.post_to_owner(message).await?,
            Mail::PhoneReady(hash) => self.phone_ready(hash).await?,
            Mail::Flush(then) => self.when_durable(Done::Then(then)),
            Mail::Admin(by, request) => self.admin(by, request).await?,
            Mail::UserChanged(user, _) => self.world.forget_user(&user),
            Mail::Arrive(key) => self.arrive(key).await?,
            Mail::Ask(user, who, ask, reply) => self.ask(user, who, ask, reply).await?,
            Mail::Effects(effects) => {
                for effect in effects {
                    self.effect(effect).await?;
                }
            }
            Mail::Full(device, full) => self.world.set_full(device, full),
            Mail::Erase(devices, then) => self.erase(devices, then).await?,
            Mail::People(mail) => self.people_mail(mail).await?,
            Mail::Drain(let_go) => self.drain(let_go),
            Mail::Pass(let_go) => {
                // What is gathered is decided too.
                let ticket = if self.has_work() { self.sealed + 1 } else { self.sealed };
                self.passing.push((ticket, let_go));
                self.let_pass();
            }
            Mail::Stop => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The lane that owns a user.
    fn lane_of(&self, user: &UserId) -> u32 {
        Partition::of_user(user).lane(self.lanes.len() as u32)
    }

    /// A mail to this lane itself, by whoever gets that far.
    fn then_mail(&self, mail: impl FnOnce() -> Mail + Send + Sync + 'static) -> Then {
        let this_lane = self.lanes[self.number as usize].clone();
        Box::new(move || {
            // If it is gone the server is ending.
            let _ = this_lane.send(mail());
        })
    }

    /// Sends a command to the lane of its conversation.
    fn dispatch(&mut self, command: Command) {
        let lane = command.partition().lane(self.lanes.len() as u32);
        if lane == self.number {
            self.queue(command);
        } else {
            // A lane that is gone: the server is ending, and nothing of this was acknowledged.
            let _ = self.lanes[lane as usize].send(Mail::Command(command));
        }
    }

    /// There is something to commit, and it should not wait any longer.
    fn is_due(&self) -> bool {
        self.has_work() && (self.due || self.next.durable || self.draining.is_some())
    }

    fn linger_if_it_may_wait(&mut self) {
        if !self.has_work() || self.is_due() {
            self.linger = None;
        } else if self.linger.is_none() {
            self.linger = Some(Instant::now() + LINGER);
        }
    }

    fn has_work(&self) -> bool {
        !self.commands.is_empty()
            || !self.dirty.is_empty()
            || !self.next.writes.is_empty()
            || !self.next.done.is_empty()
            || !self.next.facts.is_empty()
            || self.backlogs.has_unwritten()
    }

    /// Reads, decides, and makes the commit of this round.
    async fn commit(&mut self) -> Result<Commit, StoreError> {
        (self.due, self.linger) = (false, None);
        self.read_for_commands().await?;
        let mut outcome = Outcome { facts: self.tells.then(Vec::new), ..Outcome::default() };
        for command in std::mem::take(&mut self.commands) {
            decide(&mut self.world, &self.rules, self.now_s, command, &mut outcome);
        }
        let mut commit = std::mem::take(&mut self.next);
        commit.memberships = Memberships::of(&outcome.changes);
        writes::of_changes(&self.world, outcome.changes, &mut commit.writes);
        self.write_sessions(&mut commit.writes);
        self.write_backlogs(&mut commit.writes);
        self.sealed = self.world.seal();
        commit.lane = self.number;
        commit.ticket = self.sealed;
        commit.entries = outcome.entries;
        commit.effects = outcome.effects;
        commit.durable |= outcome.durable;
        commit.facts.extend(outcome.facts.into_iter().flatten());
        Ok(commit)
    }

    /// After the next commit, which must be on disk.
    fn when_durable(&mut self, done: Done) {
        self.next.done.push(done);
        self.next.durable = true;
    }

    /// For operators, with the next commit.
    fn note(&mut self, fact: impl FnOnce() -> Fact) {
        if self.tells {
            self.next.facts.push(fact());
        }
    }

    async fn flush(&mut self) {
        for (topic, payload) in self.edges.take_batches(Instant::now()) {
            self.link.publish(&topic, payload).await;
        }
    }

    async fn tick(&mut self) -> Result<(), StoreError> {
        if self.draining.is_some() {
            return Ok(());
        }
        self.look_for_room().await?;
        if self.number == 0 {
            let hello = bus::BridgeHello { epoch: self.epoch, lanes: self.lanes.len() as u32 };
            self.link.publish(bus::EDGES, hello.encode_to_vec().into()).await;
        }
        let (beats, gone) = self.edges.tick(Instant::now());
        for (topic, payload) in beats {
            self.link.publish(&topic, payload).await;
        }
        for edge in gone {
            warn!(edge = format!("{edge:016x}"), "an edge has gone silent: its connections have ended");
            self.end_connections_of(edge);
        }
        self.end_what_has_expired();
        self.tell_presence().await?;
        self.recount().await
    }

    /// Asks the store; when there is room again, takes in what waited for it.
    async fn look_for_room(&mut self) -> Result<(), StoreError> {
        let before = std::mem::replace(&mut self.nearly_full, self.store.is_nearly_full().await);
        if self.nearly_full == before {
            return Ok(());
        }
        // All lanes see the same: one says it.
        match self.nearly_full {
            true if self.number == 0 => error!("the disk is nearly full (store.reserve_mib): messages wait"),
            false if self.number == 0 => warn!("there is room on the disk again: messages are taken"),
            _ => {}
        }
        let waiting: Vec<_> = self.sessions.values().filter(|it| !it.parked.is_empty()).map(|it| it.device).collect();
        for device in waiting {
            self.unpark(device).await?;
        }
        Ok(())
    }

    fn drain(&mut self, let_go: Arc<WhenAll>) {
        if self.draining.is_none() {
            self.note_last_seen_of_all();
        }
        let holding = self.draining.get_or_insert_default();
        holding.push(let_go);
        let changed = self.sessions.iter().filter(|(_, session)| session.is_changed()).map(|(device, _)| *device);
        self.dirty.extend(changed);
    }

    /// What was decided up to here is on disk.
    fn let_pass(&mut self) {
        self.passing.retain(|(ticket, _)| *ticket > self.confirmed);
    }

    fn let_go_if_drained(&mut self) {
        if self.sealed == self.confirmed
            && !self.has_work()
            && let Some(holding) = &mut self.draining
        {
            holding.clear();
        }
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}
