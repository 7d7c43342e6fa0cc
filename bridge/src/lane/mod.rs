//! A lane: the single owner of some users' sessions and some conversations. It works in rounds of five steps:
//! gather what is queued, read the keys it needs, decide (bridge/core), hand one commit to the committer, and emit the
//! effects of commits that are on disk.
//!
//! What it does follows from what it is given, in that order (hashing is seeded by the epoch, nothing is drawn): that
//! lets a simulation replay it.
//!
//! Keeps P4 (one owner, one order) and P8 (a round costs what is in it). Nothing here is locked or shared.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use godwit_core::outbox::Outside;
use godwit_core::reply_to::ConnectionKey;
use godwit_core::state_cache::StateCache;
use godwit_core::usage::InboxUsage;
use godwit_schemas::bus::{Bus, UpBatch, up};
use godwit_schemas::ids::DeviceId;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{Instrument, debug_span, warn};

use self::account::Accounts;
use self::connection::Connections;
use self::context::Context;
use self::delivery::Deliveries;
use self::delivery::backlog::Backlogs;
use self::edges::{BatchVerdict, Edges, Speaker};
use self::encryption::Encryption;
use self::exchange::Exchange;
use self::metered::Metered;
use self::presence::Presences;
use self::query::Requests;
use self::round::Round;
use self::state::State;
use crate::BridgeSettings;
use crate::bus_link::BusLink;
use crate::encryption::checker::Checker;
use crate::media::MediaHandle;
use crate::messages::{AfterCommit, Commit, LaneHandle, LaneMessage};
use crate::metrics::BridgeMetrics;
use crate::push::post::PushPost;
use godwit_store::time::Time;
use godwit_store::{Store, StoreError};

mod account;
mod cleanup;
mod connection;
mod context;
mod counters;
mod delivery;
mod edges;
mod encryption;
mod exchange;
mod measure;
mod metered;
mod presence;
mod publish;
mod push;
mod query;
mod round;
mod state;
#[cfg(test)]
mod tests;

/// How often a bridge says that it is there.
const HELLO: Duration = Duration::from_millis(250);
/// Payloads and messages taken in one round.
const GATHER_MAX: usize = 256;
/// Ranks of connections and numbers of receipts that one start of the bridge has: more than a lane will ever need.
const PER_START: u64 = 1 << 40;

/// What a lane is made of.
pub(crate) struct Parts<S, B: Bus> {
    pub(crate) number: u32,
    pub(crate) epoch: u64,
    pub(crate) settings: BridgeSettings,
    pub(crate) store: S,
    pub(crate) time: Time,
    pub(crate) link: BusLink<B>,
    /// Of all lanes, this one's own included.
    pub(crate) lanes: Arc<[LaneHandle]>,
    pub(crate) mailbox: mpsc::UnboundedReceiver<LaneMessage>,
    pub(crate) committer: mpsc::Sender<Commit>,
    pub(crate) counters: StoredCounters,
    /// Somebody wants to know what happens.
    pub(crate) tells: bool,
    /// Absent: there is no object store.
    pub(crate) media: Option<MediaHandle>,
    /// Absent: conversations cannot be encrypted.
    pub(crate) checker: Option<Checker>,
    /// To whom it says that something waits for a device that is not connected.
    pub(crate) pusher: PushPost,
    /// Of all lanes.
    pub(crate) metrics: Arc<BridgeMetrics>,
}

/// How much calls may say and ask for, for whoever describes them.
pub(crate) mod limits {
    pub(crate) use super::account::calls::LABEL_BYTES_MAX;
    pub(crate) use super::account::contacts::LABEL_BYTES_MAX as CONTACT_LABEL_BYTES_MAX;
    pub(crate) use super::account::phone::LOOKUP_MAX;
    pub(crate) use super::account::profile::{ABOUT_BYTES_MAX, NAME_BYTES_MAX, PICTURE_BYTES_MAX};
    pub(crate) use super::encryption::identity::PAGE_MAX as CERTIFICATES_PAGE_MAX;
    pub(crate) use super::encryption::link::SEALED_BYTES_MAX as LINK_SEALED_BYTES_MAX;
    pub(crate) use super::encryption::publish::{CERTIFICATE_BYTES_MAX, KEY_PACKAGE_BYTES_MAX};
    pub(crate) use super::encryption::vault::{ROW_BYTES_MAX as VAULT_ROW_BYTES_MAX, ROWS_MAX as VAULT_ROWS_MAX};
    pub(crate) use super::presence::ASKED_MAX;
    pub(crate) use super::query::history::PAGE_MAX;
}
pub(crate) use self::account::caller::CallContext;
#[cfg(test)]
pub(crate) use self::connection::tokens::RevokedRecord;
pub(crate) use self::counters::StoredCounters;
pub(crate) use self::delivery::entry::{fetch_bodies, readable};
pub(crate) use self::encryption::publish::CheckedKeys;

/// Methods on `Lane` itself are those that cross parts. Each part owns its fields; the receiver and the parameters of a method
/// say what it may touch.
pub(crate) struct Lane<S, B: Bus> {
    context: Context<S>,
    input: LaneInput<B>,
    edges: Edges,
    state: State,
    connections: Connections,
    round: Round,
    delivery: Deliveries,
    accounts: Accounts,
    encryption: Encryption,
    presence: Presences,
    requests: Requests,
    exchange: Exchange,
}

/// Where a lane hears from edges and from other tasks.
struct LaneInput<B: Bus> {
    link: BusLink<B>,
    mailbox: mpsc::UnboundedReceiver<LaneMessage>,
}

impl<S: Store, B: Bus> Lane<S, B> {
    pub(crate) fn new(parts: Parts<S, B>) -> Self {
        let Parts {
            number,
            epoch,
            settings,
            store,
            time,
            link,
            lanes,
            mailbox,
            committer,
            counters,
            tells,
            media,
            checker,
            pusher,
            metrics,
        } = parts;
        let partitions = counters.origin.partitions;
        let own = |device: &DeviceId| partitions.of_device(*device).lane(settings.lanes) == number;
        let inbox = InboxUsage { entries: settings.inbox_entries, bytes: settings.inbox_bytes };
        let stored = counters.backlogs.into_iter().filter(|(device, _)| own(device));
        let is_own = |outside: &Outside| outside.link.from.lane(settings.lanes) == number;
        let left = counters.outside.into_iter().filter(is_own).collect();
        let first = counters.starts * PER_START;
        let cache = StateCache::new(settings.cached_per_lane, partitions, counters.conversations, epoch);
        Self {
            input: LaneInput { link, mailbox },
            edges: Edges::new(Speaker { lane: number, epoch, term: settings.lead.term() }, settings.lanes),
            state: State::new(cache.above(counters.origin.floor)),
            connections: Connections::new(first, epoch),
            round: Round::new(committer, tells),
            delivery: Deliveries::new(Backlogs::new(inbox, epoch, stored), counters.last_order, first),
            accounts: Accounts::new(counters.phone_names, partitions, counters.devices, media),
            encryption: Encryption::new(checker),
            presence: Presences::new(settings.offline_after, epoch),
            requests: Requests::default(),
            exchange: Exchange::new(left),
            context: Context {
                number,
                epoch,
                origin: counters.origin,
                rules: settings.rules.clone(),
                store: Metered::new(store),
                now_s: time.now_s(),
                time,
                nearly_full: false,
                lanes,
                pusher,
                bridge_metrics: metrics,
                settings,
            },
        }
    }

    /// Runs until told to stop, or until the store fails.
    ///
    /// # Errors
    /// The store's: nothing may be acknowledged any more.
    pub(crate) async fn run(mut self) -> Result<(), StoreError> {
        self.clear_what_is_marked().await?;
        self.send_what_was_left();
        let mut hello = interval(HELLO);
        hello.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let committer = self.round.committer();
            let mut permit = None;
            tokio::select! {
                biased;
                _ = hello.tick() => self.tick().await?,
                payload = self.input.link.next(), if self.listens() => self.handle_batch(payload).await?,
                message = self.input.mailbox.recv() => {
                    let Some(message) = message else { return Ok(()) };
                    if self.handle_message(message).await?.is_break() {
                        return Ok(());
                    }
                }
                () = until(self.round.lingers_until()) => self.round.end_linger(),
                reserved = committer.reserve(), if self.is_due() => {
                    let Ok(reserved) = reserved else { return Ok(()) };
                    // Kept: given back, it would go to the next lane that waits, and come back from there for ever.
                    permit = Some(reserved);
                }
                () = std::future::ready(()), if self.has_more() => {}
            }
            for _ in 0..GATHER_MAX {
                let Ok(message) = self.input.mailbox.try_recv() else { break };
                if self.handle_message(message).await?.is_break() {
                    return Ok(());
                }
            }
            for _ in 0..GATHER_MAX {
                let next = if self.listens() { self.input.link.try_next() } else { None };
                let Some(payload) = next else { break };
                self.handle_batch(payload).await?;
            }
            self.read_inboxes().await?;
            if self.is_due()
                && let Some(permit) = permit.or_else(|| committer.try_reserve().ok())
            {
                let ticket = self.round.next_ticket();
                let round = debug_span!("round", lane = self.context.number, ticket);
                permit.send(self.commit().instrument(round).await?);
            }
            self.linger();
            self.complete_drain();
            self.delivery.tell_of_fullness(&self.context, &self.connections, &mut self.round);
            self.flush().await;
            if self.has_more() {
                // What waits in the store is as urgent as what waits in the queues; what is done in slices is less so.
                tokio::task::yield_now().await;
                self.read_inboxes().await?;
                self.do_slices().await?;
                self.linger();
                self.flush().await;
            }
        }
    }

    /// Edges are listened to. While the lead is not confirmed they wait; the next tick looks again.
    fn listens(&self) -> bool {
        !self.round.is_draining() && self.context.settings.lead.is_confirmed()
    }

    /// There is more to be read, which no event will tell of.
    fn has_more(&self) -> bool {
        self.delivery.has_reads() || self.requests.has_slices(&self.context, &self.round)
    }

    /// One batch from an edge.
    async fn handle_batch(&mut self, payload: Bytes) -> Result<(), StoreError> {
        self.context.now_s = self.context.now_s.max(self.context.time.now_s());
        let bytes = payload.len();
        let batch = match UpBatch::decode(payload) {
            Ok(batch) => batch,
            Err(error) => {
                warn!(lane = self.context.number, %error, "a payload on the bus is not a batch");
                return Ok(());
            }
        };
        let now = Instant::now();
        match self.edges.accept(&batch, bytes, now) {
            BatchVerdict::Void => return Ok(()),
            BatchVerdict::NewGeneration => self.end_connections_of(batch.edge),
            BatchVerdict::Next => self.resume_reads_of(batch.edge),
        }
        for frame in batch.frames {
            let key = ConnectionKey { edge: batch.edge, connection: frame.connection };
            match frame.frame {
                Some(up::Frame::Connect(connect)) => self.connect(key, connect).await?,
                Some(up::Frame::Publish(publish)) => self.publish(key, publish).await?,
                Some(up::Frame::Acks(acks)) => self.acknowledged(key, acks.orders, now).await?,
                Some(up::Frame::Subscribe(subscribe)) => self.subscribe(key, &subscribe).await?,
                Some(up::Frame::Renew(renew)) => self.renew(key, &renew.token).await?,
                Some(up::Frame::Disconnect(disconnect)) => self.disconnect(key, &disconnect),
                None => {}
            }
        }
        Ok(())
    }

    async fn handle_message(&mut self, message: LaneMessage) -> Result<ControlFlow<()>, StoreError> {
        self.context.now_s = self.context.now_s.max(self.context.time.now_s());
        match message {
            LaneMessage::Command(command) => self.round.queue(&mut self.requests.turns, command),
            LaneMessage::Committed(committed) => {
                let round = debug_span!("committed", lane = self.context.number, ticket = committed.ticket);
                self.committed(committed).instrument(round).await?;
            }
            LaneMessage::ToPhone(message) => self.post_to_owner(message).await?,
            LaneMessage::PhoneReady(hash) => self.phone_ready(hash).await?,
            LaneMessage::Flush(then) => self.round.when_durable(AfterCommit::Then(then)),
            LaneMessage::Admin(by, request) => self.admin(by, request).await?,
            LaneMessage::UserChanged(user, all) => self.hears_of(&user, all),
            LaneMessage::Known(devices) => self.connections.revocations.are_known(&self.context, &devices),
            LaneMessage::Arrive(key) => self.arrive(key).await?,
            LaneMessage::UserRequest(user, who, request, reply) => {
                self.user_request(user, who, request, reply).await?;
            }
            LaneMessage::Effects(effects) => {
                for effect in effects {
                    self.effect(effect).await?;
                }
            }
            LaneMessage::Fullness(device, fullness) => self.state.cache.set_fullness(device, fullness),
            LaneMessage::Closed(device, then) => self.connections.revocations.when_closed(device, then),
            LaneMessage::Erase(devices, then) => self.requests.erase(devices, then),
            LaneMessage::People(message) => self.handle_people(message).await?,
            LaneMessage::Encryption(message) => self.handle_encryption(message).await?,
            LaneMessage::Push(message) => self.handle_push(message).await?,
            LaneMessage::Drain(barrier) => self.drain(barrier),
            LaneMessage::Pass(barrier) => {
                // What is gathered is decided too.
                let ticket = if self.has_work() { self.round.next_ticket() } else { self.round.sealed() };
                self.round.hold(ticket, barrier);
            }
            LaneMessage::Stop => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Tells edges what there is to tell. A bridge that may have been succeeded keeps it until it is confirmed, or ends.
    async fn flush(&mut self) {
        if !self.context.settings.lead.is_confirmed() {
            return;
        }
        for (topic, payload) in self.edges.take_batches(Instant::now()) {
            self.input.link.publish(&topic, payload).await;
        }
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}
