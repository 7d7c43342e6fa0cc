//! The pusher: the one task that pushes. It looks at devices when lanes have told it of them, reads what they are owed, and hands
//! pushes to the gateway, one device's at a time and many devices' at once. It never makes a lane wait, and what it reads it reads
//! from disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use godwit_core::push::Damper;
use godwit_core::stored::{PushRecord, PushedRecord, SessionRecord};
use godwit_push::{Provider, Service, Verdict};
use godwit_schemas::ids::{DeviceId, Order, UserId};
use godwit_store::crash::{self, Point};
use godwit_store::record::decoded;
use godwit_store::time::Time;
use godwit_store::{Store, StoreError, Write, keys};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::PushSettings;
use super::compose::{Addressee, Composed, Composer, Moment};
use super::inspect::{Asked, Due, Found, inspect};
use super::messages::{DeviceState, Forget, PushMessage};
use super::outcome::{Ended, pushed_up_to};
use super::post::{Known, PushMail, PushPost, open};
use super::queue::Queue;
use super::rescan::{PAGE, Rescan};
use crate::lanes::Lanes;
use crate::messages::{Commit, LaneMessage};
use crate::metrics::PushMetrics;

/// Devices that are looked at in one go.
const BATCH: usize = 32;
/// Mails that are taken in one go.
const MAILS: usize = 1_024;
/// Devices that are pushed at once, and those through one kind of push service.
const UNDER_WAY_MAX: usize = 256;
const OF_PROVIDER_MAX: usize = 128;
/// After a start: edges attach connections again meanwhile, and clients come back.
const AFTER_START: Duration = Duration::from_secs(3);
/// A connected device that has not acknowledged for so long is taken for one that is gone.
const SILENT: Duration = Duration::from_secs(45);
/// How much longer a push waits while its user is busy on another device.
const ELSEWHERE: Duration = Duration::from_secs(20);
/// When a push service takes nothing, or as many are under way as may be.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// An address that was not set again for so long is none any more.
const ADDRESS_LASTS_S: u32 = 60 * 24 * 3_600;
/// How often what was pushed long ago is forgotten.
const TIDY: Duration = Duration::from_secs(60);

/// What the pusher is made of.
pub(crate) struct PusherParts {
    pub(crate) settings: PushSettings,
    /// What push services know the server by.
    pub(crate) key: Vec<u8>,
    pub(crate) time: Time,
    pub(crate) lanes: Lanes,
    pub(crate) committer: mpsc::Sender<Commit>,
    pub(crate) metrics: Arc<PushMetrics>,
}

/// See the module.
pub(crate) struct Pusher<S> {
    pub(super) settings: PushSettings,
    store: S,
    time: Time,
    lanes: Lanes,
    committer: mpsc::Sender<Commit>,
    mail: mpsc::Receiver<PushMail>,
    known: Arc<Known>,
    composer: Composer,
    began: Instant,
    pub(super) queue: Queue,
    rescan: Rescan,
    under_way: FuturesUnordered<BoxFuture<'static, Ended>>,
    of_provider: BTreeMap<Provider, usize>,
    /// When a push service has last taken a push.
    pub(super) accepted_at: BTreeMap<Service, Duration>,
    /// When the operator was last told something of a push service.
    pub(super) said_at: BTreeMap<Provider, Duration>,
    tidy_at: Duration,
    pub(super) metrics: Arc<PushMetrics>,
}

/// What is stored of a device that is to be looked at.
struct Row {
    device: DeviceId,
    user: UserId,
    push: PushRecord,
    pushed: PushedRecord,
    low: Order,
}

impl<S: Store> Pusher<S> {
    /// The pusher, and how lanes tell it of devices.
    pub(crate) fn new(parts: PusherParts, store: S) -> (Self, PushPost) {
        let PusherParts { settings, key, time, lanes, committer, metrics } = parts;
        let (post, mail, known) = open(settings.queue);
        let pusher = Self {
            composer: Composer::new(&key, settings.ttl_max),
            queue: Queue::new(settings.queue),
            settings,
            store,
            time,
            lanes,
            committer,
            mail,
            known,
            began: Instant::now(),
            rescan: Rescan::new(),
            under_way: FuturesUnordered::new(),
            of_provider: BTreeMap::new(),
            accepted_at: BTreeMap::new(),
            said_at: BTreeMap::new(),
            tidy_at: TIDY,
            metrics,
        };
        (pusher, post)
    }

    /// Time since the pusher's start.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Runs until all lanes are gone, or the store fails. What is under way then is sent again by the next start.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn run(mut self) -> Result<(), StoreError> {
        loop {
            let (waiting, dampers) = self.queue.counts();
            self.metrics.waiting.set_len(waiting);
            self.metrics.dampers.set_len(dampers);
            self.metrics.under_way.set_len(self.under_way.len());
            let has_room = self.under_way.len() < UNDER_WAY_MAX;
            let due = self.queue.next_due().filter(|_| has_room);
            let next = [due, self.rescan.due(), Some(self.tidy_at)].into_iter().flatten().min();
            let next = self.began + next.unwrap_or(TIDY);
            tokio::select! {
                biased;
                Some(ended) = self.under_way.next() => {
                    if let Some(count) = self.of_provider.get_mut(&ended.service.provider) {
                        *count -= 1;
                    }
                    self.ended(ended).await?;
                }
                mail = self.mail.recv() => {
                    let Some(mail) = mail else { return Ok(()) };
                    self.take(mail);
                    for _ in 0..MAILS {
                        let Ok(mail) = self.mail.try_recv() else { break };
                        self.take(mail);
                    }
                }
                () = sleep_until(next) => self.go_on().await?,
            }
        }
    }

    /// Something that was to be done by now.
    async fn go_on(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        if self.under_way.len() < UNDER_WAY_MAX && self.queue.next_due().is_some_and(|due| due <= now) {
            self.look().await?;
        }
        if self.rescan.due().is_some_and(|due| due <= now) {
            if self.queue.room() < PAGE {
                self.rescan.wait_for_room(now);
            } else {
                for device in self.rescan.next(&self.store, &self.known, now).await? {
                    self.queue.add(device, now + self.settings.delay.max(AFTER_START));
                }
            }
        }
        if self.tidy_at <= now {
            self.tidy_at = now + TIDY;
            self.queue.forget_idle(now);
            self.accepted_at.retain(|_, at| *at + Duration::from_secs(7_200) > now);
        }
        Ok(())
    }

    fn take(&mut self, mail: PushMail) {
        let now = self.now();
        let soon = now + self.settings.delay;
        let taken = match mail {
            PushMail::Waits(device) | PushMail::Set(device) => self.queue.add(device, soon),
            PushMail::HandedOut(device, order) => self.queue.add_handed_out(device, order, now + SILENT),
            PushMail::TakenBack(device, order) => self.queue.take_back(device, order, soon),
        };
        if !taken || self.known.take_lost() {
            self.metrics.rescans.increment();
            self.rescan.begin_again();
        }
    }

    /// Looks at devices that are to be looked at by now, and pushes those that are owed something.
    async fn look(&mut self) -> Result<(), StoreError> {
        let batch = self.take_batch();
        if batch.is_empty() {
            return Ok(());
        }
        let rows = self.read(&batch).await?;
        let states = ask(&self.lanes, &rows).await;
        for (row, state) in rows.into_iter().zip(states) {
            self.look_at(row, state).await?;
        }
        Ok(())
    }

    /// Devices whose push service takes something right now, as far as that is known. The others wait.
    fn take_batch(&mut self) -> Vec<DeviceId> {
        let (now, mut batch) = (self.now(), Vec::new());
        for _ in 0..8 * BATCH {
            let Some(device) = self.queue.take_due(now) else { break };
            let service = self.queue.get(device).and_then(|pending| pending.service);
            match service.and_then(|service| self.pause(service)) {
                Some(pause) => self.queue.schedule(device, now + pause),
                None => batch.push(device),
            }
            if batch.len() >= BATCH {
                break;
            }
        }
        batch
    }

    fn pause(&self, service: Service) -> Option<Duration> {
        let under_way = self.of_provider.get(&service.provider).copied().unwrap_or(0);
        let full = (under_way >= OF_PROVIDER_MAX).then_some(PAUSE_MIN);
        self.settings.gateway.pause(service).or(full).map(|pause| pause.max(PAUSE_MIN))
    }

    /// Those of the devices that are registered. The others are forgotten.
    async fn read(&mut self, devices: &[DeviceId]) -> Result<Vec<Row>, StoreError> {
        let keys = devices.iter().flat_map(|it| [keys::push(*it), keys::pushed(*it), keys::session(*it)]);
        let mut values = self.store.multi_get(&keys.collect::<Vec<_>>()).await?.into_iter();
        let mut next = || values.next().flatten();
        let mut rows = Vec::with_capacity(devices.len());
        for device in devices.iter().copied() {
            let (push, pushed, session) = (next(), next(), next());
            let push = push.and_then(|value| decoded::<PushRecord>("push", &device, &value));
            let user = push.as_ref().and_then(|push| UserId::new(&push.user).ok());
            let Some((push, user)) = push.zip(user) else {
                self.queue.remove(device);
                continue;
            };
            let pushed = pushed.and_then(|value| decoded::<PushedRecord>("pushed", &device, &value));
            let session = session.and_then(|value| decoded::<SessionRecord>("session", &device, &value));
            let (mut pushed, session) = (pushed.unwrap_or_default(), session.unwrap_or_default());
            if session.sent >= pushed.up_to {
                // It has been there since.
                pushed.unanswered = 0;
            }
            rows.push(Row { device, user, push, pushed, low: Order::new(session.low) });
        }
        Ok(rows)
    }

    async fn look_at(&mut self, row: Row, state: DeviceState) -> Result<(), StoreError> {
        let (now, now_s, device) = (self.now(), self.time.now_s(), row.device);
        let Some(pending) = self.queue.get(device) else { return Ok(()) };
        let silent =
            pending.handed_out.is_some_and(|order| state.oldest_in_flight.is_some_and(|oldest| oldest <= order));
        if !state.exists || (state.connected && !silent) {
            self.queue.finish(device, now + self.settings.delay);
            return Ok(());
        }
        if state.elsewhere && !std::mem::replace(&mut pending.has_waited, true) {
            self.queue.schedule(device, now + ELSEWHERE);
            return Ok(());
        }
        let (bare, taken_back) = (pending.bare, std::mem::take(&mut pending.taken_back));
        if row.push.set_at_s.saturating_add(ADDRESS_LASTS_S) < now_s {
            let (user, set_by_s) = (row.user, row.push.set_at_s);
            self.give_up(Forget { user, device, set_by_s, address: None, why: "push_not_renewed" });
            return Ok(());
        }
        let Some(to) = Addressee::of(device, &row.push, row.pushed.unanswered) else {
            self.queue.remove(device);
            return Ok(());
        };
        let service = to.target.service();
        if let Some(pending) = self.queue.get(device) {
            pending.service = Some(service);
        }
        if let Some(pause) = self.pause(service) {
            if let Some(pending) = self.queue.get(device) {
                pending.taken_back = taken_back;
            }
            self.queue.schedule(device, now + pause);
            return Ok(());
        }
        let asked = Asked { user: &row.user, device, low: row.low, pushed: Order::new(row.pushed.up_to), now_s };
        let found = inspect(&self.store, asked).await?;
        let Found { due, waiting, up_to, more } = found;
        let per_minute = self.settings.per_minute;
        let (due, held, held_until) = damped(self.queue.damper(device), due, now, per_minute);
        let at = Moment { now_s, now };
        let mut composed = self.composer.compose(&to, &due, waiting, bare, at);
        composed.extend(taken_back.into_iter().map(|shown| self.composer.taken_back(&to, shown, at)));
        let pushed = pushed_up_to(row.pushed, up_to, held, composed.len() as u32);
        let held_until = held_until.or(more.then_some(now));
        if composed.is_empty() {
            return self.owes_nothing(device, row.pushed, pushed, held_until).await;
        }
        self.send(row.user, to, composed, pushed, held_until, row.push.set_at_s);
        Ok(())
    }

    /// Nothing is to be sent now.
    async fn owes_nothing(
        &mut self,
        device: DeviceId,
        before: PushedRecord,
        pushed: PushedRecord,
        held_until: Option<Duration>,
    ) -> Result<(), StoreError> {
        if pushed.up_to != before.up_to {
            // Or the same entries would be looked at again with each new one.
            self.note_pushed(device, pushed).await?;
        }
        let now = self.now();
        match held_until {
            Some(until) => self.queue.schedule(device, until),
            None => self.queue.finish(device, now + self.settings.delay),
        }
        Ok(())
    }

    /// Sends pushes one after the other, until one is not taken.
    fn send(
        &mut self,
        user: UserId,
        to: Addressee,
        composed: Vec<Composed>,
        pushed: PushedRecord,
        held_until: Option<Duration>,
        set_at_s: u32,
    ) {
        let (gateway, device, service) = (self.settings.gateway.clone(), to.device, to.target.service());
        *self.of_provider.entry(service.provider).or_default() += 1;
        crash::point(Point::BeforePush);
        // On a worker of its own: encryption of the connection takes time.
        let sending = AbortOnDropHandle::new(tokio::spawn(async move {
            let (mut accepted, mut verdict) = (Vec::new(), Verdict::Accepted);
            for Composed { push, shown } in composed {
                verdict = gateway.clone().send(push).await;
                if verdict != Verdict::Accepted {
                    break;
                }
                accepted.push(shown);
            }
            (accepted, verdict)
        }));
        let ended = async move {
            let (accepted, verdict) = sending.await.unwrap_or((Vec::new(), Verdict::Later { after: None }));
            crash::point(Point::AfterPush);
            Ended { device, user, service, accepted, verdict, pushed, held_until, set_at_s }
        };
        self.under_way.push(ended.boxed());
    }

    /// Has the device's lane forget where it is pushed.
    pub(super) fn give_up(&mut self, forget: Forget) {
        self.queue.remove(forget.device);
        // If it is gone the server is ending.
        let _ = self.lanes.of_device(forget.device).send(LaneMessage::Push(PushMessage::Forget(forget)));
    }

    /// Hands writes to the committer, which nobody waits for.
    pub(super) async fn write(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        let commit = Commit { writes, then: Some(Box::new(|| ())), ..Commit::default() };
        // If it is gone the server is ending, or the store has failed and the committer says so.
        let _ = self.committer.send(commit).await;
        Ok(())
    }
}

/// How devices are, by the lanes that own them. A lane that is gone says that they are no more.
async fn ask(lanes: &Lanes, rows: &[Row]) -> Vec<DeviceState> {
    let mut by_lane = BTreeMap::<u32, Vec<usize>>::new();
    for (index, row) in rows.iter().enumerate() {
        by_lane.entry(lanes.number_of_device(row.device)).or_default().push(index);
    }
    let mut asked = Vec::with_capacity(by_lane.len());
    for (lane, indices) in by_lane {
        let (reply, answer) = oneshot::channel();
        let devices = indices.iter().map(|index| (rows[*index].user.clone(), rows[*index].device)).collect();
        // If it is gone the server is ending.
        let _ = lanes.handles()[lane as usize].send(LaneMessage::Push(PushMessage::Ask(devices, reply)));
        asked.push((indices, answer));
    }
    let mut states = vec![DeviceState::default(); rows.len()];
    for (indices, answer) in asked {
        for (index, state) in indices.into_iter().zip(answer.await.unwrap_or_default()) {
            states[index] = state;
        }
    }
    states
}

/// What may be pushed now; the first entry that is held back, and until when.
fn damped(
    damper: &mut Damper,
    due: Vec<Due>,
    now: Duration,
    per_minute: u32,
) -> (Vec<Due>, Option<Order>, Option<Duration>) {
    let mut due = due;
    due.retain(|due| !damper.has_pushed(due.entry.conversation, due.order));
    if let Some(until) = damper.device_waits_until(now, per_minute).filter(|_| !due.is_empty()) {
        let first = due.first().map(|due| due.order);
        return (Vec::new(), first, Some(until));
    }
    let mut held_until: Option<Duration> = None;
    let mut held = None;
    let now_due = due.into_iter().filter(|due| match damper.conversation_waits_until(now, due.entry.conversation) {
        Some(until) => {
            held_until = Some(held_until.map_or(until, |it| it.min(until)));
            held.get_or_insert(due.order);
            false
        }
        None => true,
    });
    let now_due = now_due.collect();
    (now_due, held, held_until)
}
