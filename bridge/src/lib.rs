//! The memory of Godwit: conversations, inboxes, receipts and replay.
//!
//! - `lane`: single-owner loops that own sessions and conversations. `commit`: their commits, many in one fsync.
//!   `messages`: what they tell each other. `lanes`: handles to all of them. `bus_link`: their links to the bus.
//! - [`media`]: files that messages refer to.
//! - `writes`: from decisions to keys and values of the store, which is `godwit-store`.
//! - [`encryption`]: what devices hand in to encrypt to each other, checked beside lanes.
//! - `health`: whether lanes, committer and store answer.
//! - [`admin`]: operators' commands; [`chat`]: users' calls without a connection. `godwit-http` serves both over HTTP.
//! - [`metrics`]: what all of these count.
//! - [`limits`]: how much a call may say and ask for.
//! - [`events`]: what happens, told to operators. [`audit`]: who got in, and who changed accounts, in a file.
//! - [`token`]: tokens of the operator's own accounts.
//! - [`registration`]: people who prove that they have a phone number. [`webhook`]: signed posts to operators.
//! - [`push`]: devices that are not connected are told that something waits, through `godwit-push`.
//! - [`memory`]: whether the process is short of it. [`lead`]: whether it leads its cluster.
//! - [`origin`]: which store this is, and whether it went back.
//! - [`remote_bus`]: the bus of a broker in another process.
//! - `phone`: phone numbers, by hash. `handover`: what waited for a number goes to who registers with it.
//!
//! What is decided, and why, stands in `godwit-core`; nothing here decides.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures::FutureExt as _;
use godwit_core::event::DomainEvent;
use godwit_schemas::bus::{self, Bus};
use godwit_store::crash::Point;
use godwit_store::time::Time;
use godwit_store::{Store, StoreError, crash};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use self::admin::Admin;
use self::audit::Actor;
use self::bus_link::BusLink;
use self::chat::Chat;
use self::encryption::checker::Checker;
use self::events::EventSink;
use self::lane::{Lane, Parts, StoredCounters};
use self::lanes::Lanes;
use self::media::service::{self, MediaService};
use self::messages::{Barrier, Commit, Committed, LaneHandle, LaneMessage};
use self::metrics::{BridgeMetrics, BridgeQueues};
use self::push::post::PushPost;
use self::push::pusher::{Pusher, PusherParts};
use self::registration::Registration;
use self::registration::registrar::{self, Registrar};

pub mod admin;
pub mod audit;
mod bus_link;
pub mod chat;
mod commit;
pub mod encryption;
pub mod events;
#[cfg(test)]
mod golden;
mod handover;
mod health;
mod lane;
mod lanes;
pub mod lead;
pub mod limits;
pub mod media;
mod memberships;
pub mod memory;
mod messages;
pub mod metrics;
pub mod origin;
pub mod password;
mod phone;
pub mod push;
pub mod registration;
pub mod remote_bus;
mod settings;
pub mod token;
pub mod webhook;
mod writes;

pub use self::health::Health;
pub use self::settings::BridgeSettings;
pub use godwit_core::{decide, retention, retry};

/// A running bridge. Its lanes are tasks of the runtime that it was started in, beside the connections: what a client
/// sends is taken by a lane without waking a thread. Its committer, which waits for the disk, has a thread of its own.
pub struct Bridge {
    lanes: Lanes,
    registration: Option<Registration>,
    committer: mpsc::WeakSender<Commit>,
    tasks: TaskTracker,
    failure: watch::Receiver<Option<StoreError>>,
    metrics: Arc<BridgeMetrics>,
}

/// Starts a bridge: reads its counters, then serves whatever edges come on the bus. Must be called within a Tokio
/// runtime, of more than one thread: lanes block theirs while they read from the store.
///
/// `time`: has begun, with what the store knows of it. `events`: where to tell what happens, if somebody wants to know.
///
/// # Errors
/// The store cannot be read, or the system gives no threads or random numbers.
pub async fn start<S: Store, B: Bus>(
    settings: BridgeSettings,
    store: S,
    time: impl Into<Time>,
    bus: B,
    events: Option<EventSink>,
) -> Result<Bridge, StoreError> {
    let (failed, failure) = watch::channel(None);
    let Assembly { lanes, registration, committer, committing, running, metrics } =
        assemble(settings, store, time, bus, epoch()?, events).await?;
    let tasks = TaskTracker::new();
    spawn_thread("godwit-committer", tasks.track_future(watched(committing, failed.clone())))?;
    for lane in running {
        tasks.spawn(watched(lane, failed.clone()));
    }
    tasks.close();
    Ok(Bridge { lanes, registration, committer, tasks, failure, metrics })
}

/// A part of a bridge, to be run to its end. It ends well only when the bridge is told to stop.
pub type BridgeTask = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// A bridge whose tasks do not run yet.
pub struct Assembly {
    lanes: Lanes,
    registration: Option<Registration>,
    committer: mpsc::WeakSender<Commit>,
    committing: BridgeTask,
    running: Vec<BridgeTask>,
    metrics: Arc<BridgeMetrics>,
}

impl Assembly {
    /// Operators' commands, answered as soon as the tasks run.
    pub fn admin(&self) -> Admin {
        Admin::new(self.lanes.clone())
    }

    /// What users do without a connection, answered as soon as the tasks run.
    pub fn chat(&self) -> Chat {
        Chat::new(self.lanes.clone())
    }

    /// How people register, if they may. Answered as soon as the tasks run.
    pub fn registration(&self) -> Option<Registration> {
        self.registration.clone()
    }

    /// The committer, the media service, the checker, the pusher, the registrar and the lanes, each to be run to its end.
    pub fn into_tasks(self) -> impl Iterator<Item = BridgeTask> {
        std::iter::once(self.committing).chain(self.running)
    }
}

/// Puts a bridge together for whoever runs its tasks: [`start`] as a server does, a simulation on a clock of its own. When one
/// task fails, the others are to be ended too. `epoch`: random, tells this start from others. `events`: as in [`start`].
///
/// # Errors
/// The counters cannot be read from the store, or the start cannot be counted there.
pub async fn assemble<S: Store, B: Bus>(
    settings: BridgeSettings,
    store: S,
    time: impl Into<Time>,
    bus: B,
    epoch: u64,
    events: Option<EventSink>,
) -> Result<Assembly, StoreError> {
    let time = time.into();
    let counters = StoredCounters::begin(&store).await?;
    let (committer, commits) = mpsc::channel(commit::QUEUE);
    let (lanes, mailboxes): (Vec<_>, Vec<_>) = (0..settings.lanes).map(|_| mpsc::unbounded_channel()).unzip();
    let lanes: Arc<[LaneHandle]> = lanes.into();
    let tells = events.is_some();
    let told = LaneNotifier { lanes: lanes.clone(), events };
    let mut queues = BridgeQueues { commits: Some(committer.downgrade()), ..BridgeQueues::default() };
    let mut metrics = BridgeMetrics::of_lanes(settings.lanes);
    let committing =
        commit::run(store.clone(), commits, settings.lanes, counters.last_order, told, metrics.commits.clone());
    let mut running: Vec<BridgeTask> = Vec::new();
    let media = settings.media.clone().map(|settings| {
        let (media, calls) = mpsc::channel(media::QUEUE);
        queues.media = Some(media.downgrade());
        let (time, committer, lanes) = (time.clone(), committer.clone(), lanes.clone());
        let metrics = metrics.media.clone();
        let parts = service::MediaServiceParts { settings, time, calls, committer, lanes, metrics };
        let media_service = MediaService::new(parts, store.clone());
        running.push(Box::pin(media_service.run()));
        media
    });
    let checker = settings.encryption.as_ref().map(|settings| {
        let (checker, checks) = Checker::new(settings);
        running.push(Box::pin(checks));
        checker
    });
    let phone_names = counters.phone_names.clone();
    let shared = Lanes::new(lanes.clone(), counters.origin.partitions, phone_names.clone());
    let pusher = match &settings.push {
        Some(push) => {
            let key = push::key(&store).await?;
            let bad =
                |error: godwit_push::BadKey| StoreError { doing: "use the key of pushes", cause: error.to_string() };
            push.gateway.use_key(&key).map_err(bad)?;
            let (time, committer, lanes) = (time.clone(), committer.clone(), shared.clone());
            let metrics = metrics.push.clone();
            let parts = PusherParts { settings: push.clone(), key, time, committer, lanes, metrics };
            let (pusher, post) = Pusher::new(parts, store.clone());
            queues.push = post.queue();
            running.push(Box::pin(pusher.run()));
            post
        }
        None => PushPost::default(),
    };
    let audit = &settings.audit;
    let registration = settings.registration.clone().map(|settings| {
        let (asks, asked) = mpsc::channel(registration::QUEUE);
        queues.registration = Some(asks.downgrade());
        let (time, committer, lanes) = (time.clone(), committer.clone(), lanes.clone());
        let admin = Admin::new(shared.clone()).by(Actor::Registration);
        let audit = audit.clone();
        let (key, metrics) = (phone_names.code_key(), metrics.registration.clone());
        let parts = registrar::RegistrarParts { settings, time, asks: asked, committer, lanes, key, metrics };
        running.push(Box::pin(Registrar::new(parts, store.clone()).run()));
        Registration::new(asks, admin, audit)
    });
    metrics.queues = queues;
    let metrics = Arc::new(metrics);
    for (number, mailbox) in (0..).zip(mailboxes) {
        let lane = Lane::new(Parts {
            number,
            epoch,
            settings: settings.clone(),
            store: store.clone(),
            time: time.clone(),
            link: BusLink::new(bus.clone(), format!("lane-{number}"), vec![bus::up(number)]),
            lanes: lanes.clone(),
            mailbox,
            committer: committer.clone(),
            counters: counters.clone(),
            tells,
            media: media.clone(),
            checker: checker.clone(),
            pusher: pusher.clone(),
            metrics: metrics.clone(),
        });
        running.push(Box::pin(lane.run()));
    }
    let committer = committer.downgrade();
    Ok(Assembly { lanes: shared, registration, committer, committing: Box::pin(committing), running, metrics })
}

impl Bridge {
    /// Operators' commands.
    pub fn admin(&self) -> Admin {
        Admin::new(self.lanes.clone())
    }

    /// What users do, without a connection.
    pub fn chat(&self) -> Chat {
        Chat::new(self.lanes.clone())
    }

    /// How people register, if they may.
    pub fn registration(&self) -> Option<Registration> {
        self.registration.clone()
    }

    /// What it counts.
    pub fn metrics(&self) -> Arc<BridgeMetrics> {
        self.metrics.clone()
    }

    /// Whether it serves, for whoever asks from time to time.
    pub fn health(&self) -> Health {
        Health::new(self.lanes.handles().clone(), self.committer.clone(), self.failure.clone())
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
        for lane in self.lanes.handles().iter() {
            let _ = lane.send(LaneMessage::Stop);
        }
        self.tasks.wait().await;
    }

    async fn drain(&self) {
        let (tell, told) = oneshot::channel();
        let all = Barrier::new(Box::new(move || {
            let _ = tell.send(());
        }));
        for lane in self.lanes.handles().iter() {
            let _ = lane.send(LaneMessage::Drain(all.clone()));
        }
        drop(all);
        let _ = told.await;
    }
}

struct LaneNotifier {
    lanes: Arc<[LaneHandle]>,
    events: Option<EventSink>,
}

impl commit::CommitNotifier for LaneNotifier {
    fn tell(&self, lane: u32, committed: Committed) {
        // A lane that has stopped needs to know nothing any more.
        let _ = self.lanes[lane as usize].send(LaneMessage::Committed(committed));
    }

    fn tell_operators(&mut self, events: Vec<DomainEvent>) {
        if let Some(sink) = &mut self.events {
            sink.tell(events);
        }
    }
}

/// A task whose failure is the bridge's, and so is its panic: half a bridge keeps no promise.
async fn watched(task: BridgeTask, failed: watch::Sender<Option<StoreError>>) {
    let ended = AssertUnwindSafe(task).catch_unwind().await;
    let panicked = |_| Err(StoreError { doing: "keep a task running", cause: "it panicked".to_owned() });
    if let Err(error) = ended.unwrap_or_else(panicked) {
        failed.send_replace(Some(error.clone()));
        error!(%error, "the bridge has failed: nothing is acknowledged any more");
    }
}

/// Runs a task on a thread of its own, without I/O: waking it takes no more than a futex. It has timers, since a store may be
/// waited for over the network.
fn spawn_thread(name: &str, task: impl Future<Output = ()> + Send + 'static) -> Result<(), StoreError> {
    let cannot = |error: std::io::Error| StoreError { doing: "start a thread", cause: error.to_string() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(cannot)?;
    thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(task)).map_err(cannot)?;
    Ok(())
}

/// Tells this start of the bridge from others.
fn epoch() -> Result<u64, StoreError> {
    getrandom::u64().map_err(|error| StoreError { doing: "draw a random number", cause: error.to_string() })
}

#[cfg(test)]
mod tests;
