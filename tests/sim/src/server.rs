//! The server under test: the real bridge on a simulated disk, the real edges on a simulated bus. Both can end at any
//! await point, and are started again.

use std::sync::Arc;

use godwit_bridge::admin::Admin;
use godwit_bridge::chat::Chat;
use godwit_bridge::decide::Rules;
use godwit_bridge::push::PushSettings;
use godwit_bridge::{BridgeSettings, assemble};
use godwit_broker::EmbeddedBroker;
use godwit_broker::connection_limits::NetworkLimits;
use godwit_broker::pressure::Pressure;
use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::bus::SimBus;
use crate::clock::Clock;
use crate::dice::Dice;
use crate::event::Event;
use crate::plan::{Plan, Turmoil};
use crate::push::PushService;
use crate::record::Record;
use crate::store::SimStore;

/// Life of an inbox entry.
pub(crate) const RETENTION_S: u32 = 30 * 24 * 3_600;
/// Publishes without an answer that an edge takes.
pub(crate) const UNANSWERED_MAX: u16 = 8;
/// Largest packet that an edge takes.
const PACKET_BYTES_MAX: u32 = 96 * 1024;

struct Shared {
    plan: Plan,
    turmoil: Turmoil,
    clock: Clock,
    record: Record,
    dice: Dice,
    /// What is done to the clock while the bridge is down: it came later.
    clock_dice: Dice,
    bus: SimBus,
    store: SimStore,
    admin: Mutex<Option<Admin>>,
    chat: Mutex<Option<Chat>>,
    push: PushSettings,
    /// Where edges that run take streams.
    edges: Mutex<Vec<Option<mpsc::UnboundedSender<DuplexStream>>>>,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Server(Arc<Shared>);

impl Server {
    /// Runs until dropped.
    pub(crate) fn start(
        seed: u64,
        plan: &Plan,
        turmoil: &Turmoil,
        clock: &Clock,
        record: &Record,
    ) -> (Self, Vec<AbortOnDropHandle<()>>) {
        let server = Self(Arc::new(Shared {
            plan: plan.clone(),
            turmoil: turmoil.clone(),
            clock: clock.clone(),
            record: record.clone(),
            dice: Dice::new(seed, "server"),
            clock_dice: Dice::new(seed, "server, clock"),
            bus: SimBus::new(seed, plan, turmoil.clone(), record.clone()),
            store: SimStore::new(seed, plan, turmoil.clone(), clock.clone(), record.clone()),
            admin: Mutex::default(),
            chat: Mutex::default(),
            push: PushService::settings(seed, record, turmoil),
            edges: Mutex::new((0..plan.edges).map(|_| None).collect()),
        }));
        let mut tasks = vec![tokio::spawn(server.clone().keep_bridge())];
        tasks.extend((0..plan.edges).map(|place| tokio::spawn(server.clone().keep_edge(place))));
        tasks.push(tokio::spawn(server.clone().set_clock()));
        tasks.push(tokio::spawn(server.clone().freeze_edges()));
        (server, tasks.into_iter().map(AbortOnDropHandle::new).collect())
    }

    pub(crate) fn admin(&self) -> Option<Admin> {
        self.0.admin.lock().clone()
    }

    pub(crate) fn chat(&self) -> Option<Chat> {
        self.0.chat.lock().clone()
    }

    pub(crate) fn store(&self) -> &SimStore {
        &self.0.store
    }

    /// A new connection to one of the edges, if that is there.
    pub(crate) fn dial(&self, dice: &Dice) -> Option<DuplexStream> {
        let edges = self.0.edges.lock();
        let edge = edges.get(dice.below(edges.len()))?.as_ref()?;
        let bytes = dice.within(64..=8_192) as usize;
        let (near, far) = tokio::io::duplex(bytes);
        edge.send(far).ok()?;
        Some(near)
    }

    /// A time after which something breaks, if it may break at all.
    async fn until_broken(&self, mean_ms: Option<u64>) {
        let Some(mean_ms) = mean_ms else { return std::future::pending().await };
        loop {
            sleep(self.0.dice.ms(0..=2 * mean_ms)).await;
            if self.0.turmoil.reigns() {
                return;
            }
        }
    }

    async fn keep_bridge(self) {
        let Shared { plan, record, dice, turmoil, .. } = &*self.0;
        let mut power_lost = false;
        loop {
            let lanes = dice.within(1..=plan.lanes_max) as u32;
            record.emit(Event::Started { lanes, power_lost });
            tokio::select! {
                biased;
                () = self.until_broken(plan.bridge_crash_ms) => record.note("the bridge crashes".to_owned()),
                () = self.run_bridge(lanes) => record.note("the bridge has failed".to_owned()),
            }
            *self.0.admin.lock() = None;
            *self.0.chat.lock() = None;
            power_lost = dice.chance(plan.power_loss);
            self.0.store.crash(power_lost);
            if plan.clock_jump_ms.is_some() && turmoil.reigns() && self.0.clock_dice.chance(0.3) {
                self.jump(&self.0.clock_dice);
            }
            let most = if turmoil.reigns() { 3_000 } else { 100 };
            sleep(dice.ms(0..=most)).await;
        }
    }

    /// Until a task of it fails. Dropped: all of them end where they are.
    async fn run_bridge(&self, lanes: u32) {
        let Shared { plan, clock, bus, store, dice, .. } = &*self.0;
        let settings = BridgeSettings {
            rules: Rules {
                body_bytes_max: 1_000,
                properties_bytes_max: 4_096,
                user_properties_max: 32,
                group_members_max: 4,
                conversations_per_user: 0,
                stranger_adds_per_day: 0,
                request_messages: plan.request_messages,
                retention_s: RETENTION_S,
                history: godwit_bridge::retention::Policy::up_to(godwit_bridge::retention::History::None),
                recall_window_s: 3_600,
                media_grace_s: 60,
                encryption: None,
            },
            lead: Default::default(),
            lanes,
            window_messages: plan.window,
            window_bytes: 2_000,
            memory: Default::default(),
            devices_per_user_max: 8,
            unanswered_publishes_max: 128,
            inbox_entries: plan.inbox_entries,
            inbox_bytes: 0,
            idle_device_days: 0,
            phone_lookups_per_day: 5_000,
            offline_after: Duration::from_secs(10),
            cached_per_lane: plan.cached,
            media: None,
            registration: None,
            audit: Default::default(),
            tokens: None,
            push: Some(self.0.push.clone()),
            encryption: None,
        };
        let time = clock.begin(store.time());
        let Ok(bridge) = assemble(settings, store.clone(), time, bus.clone(), dice.number(), None).await else {
            return;
        };
        *self.0.admin.lock() = Some(bridge.admin());
        *self.0.chat.lock() = Some(bridge.chat());
        let mut tasks = JoinSet::new();
        for task in bridge.into_tasks() {
            tasks.spawn(task);
        }
        tasks.join_next().await;
    }

    async fn keep_edge(self, place: usize) {
        let Shared { plan, record, dice, turmoil, bus, .. } = &*self.0;
        loop {
            let settings = godwit_broker::BrokerSettings {
                unanswered_publishes_max: UNANSWERED_MAX,
                connect_deadline: Duration::from_secs(5),
                drain_deadline: Duration::from_secs(8),
                logins_max: plan.logins_max,
                packet_bytes_max: PACKET_BYTES_MAX,
                // Clients are not limited: what they send is up to the plan.
                packets_per_s: 0,
                bytes_per_s: 0,
                connection_limits: NetworkLimits::UNLIMITED,
                ..Default::default()
            };
            let pressure = settings.pressure.clone();
            let doors = EmbeddedBroker::new(dice.number(), settings);
            let (streams, mut dialled) = mpsc::unbounded_channel();
            self.0.edges.lock()[place] = Some(streams);
            let serve = async {
                let mut connections = JoinSet::new();
                loop {
                    tokio::select! {
                        biased;
                        Some(_) = connections.join_next() => {}
                        Some(stream) = dialled.recv() => {
                            connections.spawn(doors.clone().serve(stream));
                        }
                        else => return,
                    }
                }
            };
            tokio::select! {
                biased;
                () = self.until_broken(plan.edge_crash_ms) => {}
                () = doors.clone().run(bus.clone()) => {}
                () = serve => {}
                () = self.squeeze(&pressure) => {}
            }
            self.0.edges.lock()[place] = None;
            record.note(format!("edge {place} crashes"));
            let most = if turmoil.reigns() { 3_000 } else { 100 };
            sleep(dice.ms(0..=most)).await;
        }
    }

    /// Memory is short now and then, until the run calms down.
    async fn squeeze(&self, pressure: &Pressure) {
        loop {
            self.until_broken(self.0.plan.short_of_memory_ms).await;
            pressure.set(true);
            sleep(self.0.dice.ms(0..=5_000)).await;
            pressure.set(false);
        }
    }

    /// An edge stands still, until the run calms down: what it sends is lost, and what it is sent waits.
    async fn freeze_edges(self) {
        loop {
            self.until_broken(self.0.plan.edge_freeze_ms).await;
            self.0.bus.freeze(self.0.dice.ms(500..=14_000));
        }
    }

    async fn set_clock(self) {
        loop {
            self.until_broken(self.0.plan.clock_jump_ms).await;
            self.jump(&self.0.dice);
        }
    }

    fn jump(&self, dice: &Dice) {
        let (drawn, back) = (dice.within(1..=7_200) as i64, dice.chance(0.3));
        // Some seconds, which are followed slowly, or hours, up to 40 days.
        let seconds = if drawn <= 1_000 { 1 + drawn % 5 } else { 3_600 * (1 + drawn % 960) };
        let seconds = if back { -seconds } else { seconds };
        // First, so that the record knows what time it was.
        self.0.record.note(format!("the clock jumps {seconds} s"));
        self.0.clock.jump(seconds);
    }

    /// An operator's command; `None`: whether it was carried out is not known.
    pub(crate) async fn command<T, E>(&self, command: impl AsyncFnOnce(Admin) -> Result<T, E>) -> Option<Result<T, E>> {
        let admin = self.admin()?;
        timeout(Duration::from_secs(20), command(admin)).await.ok()
    }
}
