//! The memory of Godwit: conversations, inboxes, receipts, replay, and the HTTP API.
//!
//! - `lane`: single-owner loops that own sessions and conversations. `commit`: their commits, many in one fsync.
//!   `mail`: what they say to each other. `link`: how they hang on the bus.
//! - [`media`]: files that messages refer to.
//! - [`store`]: what is kept. `writes`: from decisions to keys and values.
//! - [`admin`]: operators' commands; [`chat`]: users' calls without a connection; [`http`]: both over HTTP.
//! - [`events`]: what happens, told to operators. [`audit`]: who got in, and who changed accounts, in a file.
//! - [`token`]: tokens of the operator's own accounts.
//! - [`registration`]: people who prove that they have a phone number. [`webhook`]: signed posts to operators.
//! - [`remote_bus`]: the bus of a broker in another process.
//! - `phone`: phone numbers, and what waits for those that nobody has registered with.
//! - [`crash`]: named points at which tests of crashes have it die.
//!
//! What is decided, and why, stands in `godwit-core`; nothing here decides.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures::FutureExt as _;
use godwit_core::decide::Rules;
use godwit_core::fact::Fact;
use godwit_schemas::bus::{self, Bus};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use self::admin::Admin;
use self::audit::{Audit, By};
use self::chat::Chat;
use self::crash::Point;
use self::events::Sink;
use self::lane::{Counters, Lane, Parts};
use self::link::Link;
use self::mail::{Committed, Mail, Mailbox, WhenAll};
use self::media::MediaSettings;
use self::media::keeper::{self, Keeper};
use self::phone::Names;
use self::registration::registrar::{self, Registrar};
use self::registration::{Registration, RegistrationSettings};
use self::store::{ClockS, Store, StoreError};
use self::token::Tokens;

pub mod admin;
pub mod audit;
pub mod chat;
mod commit;
pub mod crash;
pub mod events;
pub mod http;
mod lane;
mod link;
mod mail;
pub mod media;
mod memberships;
mod password;
mod phone;
pub mod registration;
pub mod remote_bus;
pub mod store;
pub mod token;
pub mod webhook;
mod writes;

pub use godwit_core::{decide, doubt, retention};

/// How a bridge is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limits that decisions depend on.
    pub rules: Rules,
    /// Number of lanes, 1 to 64. May change from one start to the next.
    pub lanes: u32,
    /// Deliveries that a device may leave unacknowledged, 1 to 65,535.
    pub window_messages: u32,
    /// Bytes of content that a device may leave unacknowledged; a single larger message is allowed.
    pub window_bytes: u32,
    /// Most devices of a user.
    pub devices_per_user_max: usize,
    /// Entries that an inbox takes, at least 4.
    pub inbox_entries: u32,
    /// Bytes of content that an inbox takes; 0: however many.
    pub inbox_bytes: u64,
    /// Phone numbers that a user may look up in a day.
    pub phone_lookups_per_day: u32,
    /// How long a user must be gone before others are told.
    pub offline_after: Duration,
    /// Users, pairs and conversations that each lane keeps in memory (of each about so many).
    pub cached_per_lane: usize,
    /// Where files are kept; `None`: nowhere.
    pub media: Option<MediaSettings>,
    /// How people register; `None`: not by themselves.
    pub registration: Option<RegistrationSettings>,
    /// Where it is noted who got in and what became of accounts.
    pub audit: Audit,
    /// What verifies tokens of the operator's own accounts; `None`: there are none.
    pub tokens: Option<Arc<Tokens>>,
}

/// A running bridge. Its lanes are tasks of the runtime that it was started in, beside the connections: what a client
/// sends is taken by a lane without waking a thread. Its committer, which waits for the disk, has a thread of its own.
pub struct Bridge {
    lanes: Arc<[Mailbox]>,
    phone_names: Names,
    registration: Option<Registration>,
    tasks: TaskTracker,
    failure: watch::Receiver<Option<StoreError>>,
}

/// Starts a bridge: reads its counters, then serves whatever edges come on the bus. Must be called within a Tokio
/// runtime, of more than one thread: lanes block theirs while they read from the store.
///
/// `events`: where to tell what happens, if somebody wants to know.
///
/// # Errors
/// The store cannot be read, or the system gives no threads or random numbers.
pub async fn start<S: Store, B: Bus>(
    settings: Settings,
    store: S,
    clock: ClockS,
    bus: B,
    events: Option<Sink>,
) -> Result<Bridge, StoreError> {
    let (failed, failure) = watch::channel(None);
    let Assembly { lanes, phone_names, registration, committing, running } =
        assemble(settings, store, clock, bus, epoch()?, events).await?;
    let tasks = TaskTracker::new();
    spawn_thread("godwit-committer", tasks.track_future(watched(committing, failed.clone())))?;
    for lane in running {
        tasks.spawn(watched(lane, failed.clone()));
    }
    tasks.close();
    Ok(Bridge { lanes, phone_names, registration, tasks, failure })
}

/// A part of a bridge, to be run to its end. It ends well only when the bridge is told to stop.
pub type Task = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// A bridge whose tasks do not run yet.
pub struct Assembly {
    lanes: Arc<[Mailbox]>,
    phone_names: Names,
    registration: Option<Registration>,
    committing: Task,
    running: Vec<Task>,
}

impl Assembly {
    /// Operators' commands, answered as soon as the tasks run.
    pub fn admin(&self) -> Admin {
        Admin::new(self.lanes.clone(), self.phone_names.clone())
    }

    /// What users do without a connection, answered as soon as the tasks run.
    pub fn chat(&self) -> Chat {
        Chat::new(self.lanes.clone())
    }

    /// How people register, if they may. Answered as soon as the tasks run.
    pub fn registration(&self) -> Option<Registration> {
        self.registration.clone()
    }

    /// The committer, the keeper of files, the registrar and the lanes, each to be run to its end.
    pub fn into_tasks(self) -> impl Iterator<Item = Task> {
        std::iter::once(self.committing).chain(self.running)
    }
}

/// Puts a bridge together for whoever runs its tasks: [`start`] as a server does, a simulation on a clock of its own. When one
/// task fails, the others are to be ended too. `epoch`: random, tells this start from others. `events`: as in [`start`].
///
/// # Errors
/// The counters cannot be read from the store, or the start cannot be counted there.
pub async fn assemble<S: Store, B: Bus>(
    settings: Settings,
    store: S,
    clock: ClockS,
    bus: B,
    epoch: u64,
    events: Option<Sink>,
) -> Result<Assembly, StoreError> {
    let counters = Counters::begin(&store).await?;
    let (committer, commits) = mpsc::channel(commit::QUEUE);
    let (lanes, mailboxes): (Vec<_>, Vec<_>) = (0..settings.lanes).map(|_| mpsc::unbounded_channel()).unzip();
    let lanes: Arc<[Mailbox]> = lanes.into();
    let tells = events.is_some();
    let told = Told { lanes: lanes.clone(), events };
    let committing = commit::run(store.clone(), commits, settings.lanes, counters.last_order, told);
    let mut running: Vec<Task> = Vec::new();
    let media = settings.media.clone().map(|settings| {
        let (media, calls) = mpsc::channel(media::QUEUE);
        let (clock, committer, lanes) = (clock.clone(), committer.clone(), lanes.clone());
        let keeper = Keeper::new(keeper::Parts { settings, clock, calls, committer, lanes }, store.clone());
        running.push(Box::pin(keeper.run()));
        media
    });
    let phone_names = counters.phone_names.clone();
    let audit = &settings.audit;
    let registration = settings.registration.clone().map(|settings| {
        let (asks, asked) = mpsc::channel(registration::QUEUE);
        let (clock, committer, lanes) = (clock.clone(), committer.clone(), lanes.clone());
        let admin = Admin::new(lanes.clone(), phone_names.clone()).by(By::Registration);
        let audit = audit.clone();
        let parts = registrar::Parts { settings, clock, asks: asked, committer, lanes, key: phone_names.code_key() };
        running.push(Box::pin(Registrar::new(parts, store.clone()).run()));
        Registration::new(asks, admin, audit)
    });
    for (number, mailbox) in (0..).zip(mailboxes) {
        let lane = Lane::new(Parts {
            number,
            epoch,
            settings: settings.clone(),
            store: store.clone(),
            clock: clock.clone(),
            link: Link::new(bus.clone(), format!("lane-{number}"), vec![bus::up(number)]),
            lanes: lanes.clone(),
            mailbox,
            committer: committer.clone(),
            counters: counters.clone(),
            tells,
            media: media.clone(),
        });
        running.push(Box::pin(lane.run()));
    }
    Ok(Assembly { lanes, phone_names, registration, committing: Box::pin(committing), running })
}

impl Bridge {
    /// Operators' commands.
    pub fn admin(&self) -> Admin {
        Admin::new(self.lanes.clone(), self.phone_names.clone())
    }

    /// What users do, without a connection.
    pub fn chat(&self) -> Chat {
        Chat::new(self.lanes.clone())
    }

    /// How people register, if they may.
    pub fn registration(&self) -> Option<Registration> {
        self.registration.clone()
    }

    /// Returns when the store has failed: nothing is acknowledged any more, and the process should end.
    pub async fn failed(&self) -> StoreError {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await.map(|failure| failure.clone()) {
            Ok(Some(error)) => error,
            _ => std::future::pending().await,
        }
    }

    /// Takes nothing more from the bus, brings what is under way to disk as far as `deadline` allows, and ends.
    /// What is not on disk by then was never acknowledged.
    pub async fn stop(self, deadline: Duration) {
        let drained = tokio::time::timeout(deadline, async {
            // Sessions tell conversations, conversations commit and tell sessions, sessions commit.
            for _ in 0..3 {
                self.drain().await;
            }
        });
        if drained.await.is_err() {
            warn!(deadline_s = deadline.as_secs(), "stopped before everything under way was on disk");
        }
        crash::point(Point::Shutdown);
        for lane in self.lanes.iter() {
            let _ = lane.send(Mail::Stop);
        }
        self.tasks.wait().await;
    }

    async fn drain(&self) {
        let (tell, told) = oneshot::channel();
        let all = WhenAll::new(Box::new(move || {
            let _ = tell.send(());
        }));
        for lane in self.lanes.iter() {
            let _ = lane.send(Mail::Drain(all.clone()));
        }
        drop(all);
        let _ = told.await;
    }
}

struct Told {
    lanes: Arc<[Mailbox]>,
    events: Option<Sink>,
}

impl commit::Tell for Told {
    fn tell(&self, lane: u32, committed: Committed) {
        // A lane that has stopped needs to know nothing any more.
        let _ = self.lanes[lane as usize].send(Mail::Committed(committed));
    }

    fn tell_operators(&mut self, facts: Vec<Fact>) {
        if let Some(events) = &mut self.events {
            events.tell(facts);
        }
    }
}

/// A task whose failure is the bridge's, and so is its panic: half a bridge keeps no promise.
async fn watched(task: Task, failed: watch::Sender<Option<StoreError>>) {
    let ended = AssertUnwindSafe(task).catch_unwind().await;
    let panicked = |_| Err(StoreError { doing: "keep a task running", cause: "it panicked".to_owned() });
    if let Err(error) = ended.unwrap_or_else(panicked) {
        error!(%error, "the bridge has failed: nothing is acknowledged any more");
        failed.send_replace(Some(error));
    }
}

/// Runs a task on a thread of its own, without I/O: waking it takes no more than a futex.
fn spawn_thread(name: &str, task: impl Future<Output = ()> + Send + 'static) -> Result<(), StoreError> {
    let cannot = |error: std::io::Error| StoreError { doing: "start a thread", cause: error.to_string() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(cannot)?;
    thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(task)).map_err(cannot)?;
    Ok(())
}

/// Tells this start of the bridge from others.
fn epoch() -> Result<u64, StoreError> {
    getrandom::u64().map_err(|error| StoreError { doing: "draw a random number", cause: error.to_string() })
}

#[cfg(test)]
mod tests;
