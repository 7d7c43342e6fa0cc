//! An edge played by a test, on a bus in memory, before a bridge that runs on the test's own thread and clock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use godwit_core::decide::Rules;
use godwit_schemas::bus::{
    self, Acks, Bus, Connect, Connected, Deliver, Disconnect, Down, DownBatch, Kind, LinkClosed, Publish, Published,
    Resume, Shape, Subscribe, Up, UpBatch, down, up,
};
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{DeviceId, DeviceName, UserId};
use godwit_schemas::partition::{Partition, Partitions};
use godwit_schemas::topic::Filters;
use prost::Message;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::admin::{Admin, DeviceCredentials};
use crate::chat::{Chat, Principal};
use crate::events::{EventKind as Of, EventQueue, EventSink};
use crate::{BridgeSettings, assemble};
use godwit_store::{ClockS, Store, Table, keys};

pub(super) const LANES: u32 = 2;
pub(super) const NOW_S: u32 = 1_000_000;
pub(super) const WINDOW: u32 = 4;
pub(super) const INBOX_ENTRIES: u32 = 100;
pub(super) const INBOX_BYTES: u64 = 50_000;
pub(super) const OFFLINE_AFTER: Duration = Duration::from_secs(10);

pub(super) fn settings() -> BridgeSettings {
    let usual = crate::tests::settings();
    BridgeSettings {
        rules: Rules { body_bytes_max: 1_000, retention_s: 3_600, ..usual.rules },
        lanes: LANES,
        window_messages: WINDOW,
        window_bytes: 100_000,
        inbox_entries: INBOX_ENTRIES,
        inbox_bytes: INBOX_BYTES,
        offline_after: OFFLINE_AFTER,
        cached_per_lane: 1_000,
        ..usual
    }
}

type Subscribers = HashMap<String, Vec<mpsc::UnboundedSender<Bytes>>>;

/// What the edge has sent so far.
#[derive(Default)]
struct Uplink {
    generation: u64,
    sequences: HashMap<u32, u64>,
    /// Number of the last batch that came from each lane.
    received: HashMap<u32, u64>,
    /// It does not say how far it has got.
    hides_how_far: bool,
    /// It closes nothing that it is told to.
    frozen: bool,
}

/// Hands payloads to whoever subscribed before. The edge closes at once what it is told to, and says so.
#[derive(Clone, Default)]
pub(super) struct MemoryBus(Arc<Mutex<Subscribers>>, Arc<Mutex<Uplink>>);

pub(super) struct MemoryRx(mpsc::UnboundedReceiver<Bytes>);

impl MemoryBus {
    fn deliver(&self, topic: &str, payload: &Bytes) {
        if let Some(subscribers) = self.0.lock().unwrap().get_mut(topic) {
            subscribers.retain(|subscriber| subscriber.send(payload.clone()).is_ok());
        }
    }

    /// Sends frames of the edge's to a lane, in one batch.
    fn up(&self, lane: u32, frames: Vec<Up>) {
        let (generation, sequence, received) = {
            let uplink = &mut *self.1.lock().unwrap();
            let sequence = uplink.sequences.entry(lane).or_default();
            *sequence += u64::from(!frames.is_empty());
            let received = uplink.received.get(&lane).copied().filter(|_| !uplink.hides_how_far);
            (uplink.generation, *sequence, received.unwrap_or_default())
        };
        let batch = UpBatch { edge: EDGE, generation, sequence, frames, received };
        self.deliver(&bus::up(lane), &batch.encode_to_vec().into());
    }

    fn close(&self, payload: Bytes) {
        let DownBatch { lane, generation, frames, .. } = DownBatch::decode(payload).unwrap();
        let uplink = self.1.lock().unwrap();
        if uplink.frozen || uplink.generation != generation {
            return;
        }
        drop(uplink);
        let closed = frames.into_iter().filter(|down| matches!(down.frame, Some(down::Frame::Close(_))));
        let goodbye =
            |down: Down| Up { connection: down.connection, frame: Some(up::Frame::Disconnect(Disconnect::default())) };
        let goodbyes: Vec<_> = closed.map(goodbye).collect();
        if !goodbyes.is_empty() {
            self.up(lane, goodbyes);
        }
    }

    fn subscribe(&self, topics: &[String]) -> MemoryRx {
        let (tx, rx) = mpsc::unbounded_channel();
        for topic in topics {
            self.0.lock().unwrap().entry(topic.clone()).or_default().push(tx.clone());
        }
        MemoryRx(rx)
    }
}

impl Bus for MemoryBus {
    type Tx = Self;
    type Rx = MemoryRx;

    async fn open(&self, _name: &str, topics: &[String]) -> Result<(Self, MemoryRx), LinkClosed> {
        Ok((self.clone(), self.subscribe(topics)))
    }
}

impl bus::Tx for MemoryBus {
    async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), LinkClosed> {
        self.deliver(topic, &payload);
        if topic == bus::down(EDGE) {
            self.close(payload);
        }
        Ok(())
    }
}

impl bus::Rx for MemoryRx {
    async fn next(&mut self) -> Result<Bytes, LinkClosed> {
        self.0.recv().await.ok_or_else(|| LinkClosed("gone".to_owned()))
    }

    fn try_next(&mut self) -> Option<Bytes> {
        self.0.try_recv().ok()
    }
}

/// A bridge and an edge before it.
pub(super) struct Scene<S> {
    /// What time it is for the lanes.
    pub(super) now_s: Arc<AtomicU32>,
    settings: BridgeSettings,
    pub(super) store: S,
    pub(super) admin: Admin,
    pub(super) chat: Chat,
    bus: MemoryBus,
    events: EventQueue,
    tasks: Vec<JoinHandle<()>>,
    rx: MemoryRx,
    generation: u64,
    owners: HashMap<u64, Partition>,
    accepted: HashMap<u64, Connected>,
    passwords: HashMap<(String, String), String>,
    pending: Vec<Down>,
}

const EDGE: u64 = 77;

impl<S: Store> Scene<S> {
    pub(super) async fn new(store: S) -> Self {
        Self::with(store, settings()).await
    }

    pub(super) async fn with(store: S, settings: BridgeSettings) -> Self {
        let bus = MemoryBus::default();
        bus.1.lock().unwrap().generation = 1;
        let rx = bus.subscribe(&[bus::down(EDGE)]);
        let now_s = Arc::new(AtomicU32::new(NOW_S));
        let ((admin, chat), events, tasks) = run(settings.clone(), store.clone(), bus.clone(), 1, &now_s).await;
        Self {
            now_s,
            settings,
            store,
            admin,
            chat,
            bus,
            events,
            tasks,
            rx,
            generation: 1,
            owners: HashMap::new(),
            accepted: HashMap::new(),
            passwords: HashMap::new(),
            pending: Vec::new(),
        }
    }

    /// Ends the bridge on the spot and starts another on the same store. The edge has to attach again.
    pub(super) async fn crash(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
        ((self.admin, self.chat), self.events, self.tasks) =
            run(self.settings.clone(), self.store.clone(), self.bus.clone(), 2, &self.now_s).await;
        // An edge waits until it hears of the new one.
        self.settle().await;
        self.next_generation();
    }

    /// Keys of what waits, by device.
    pub(super) async fn inboxes(&self) -> Vec<(DeviceId, Vec<Bytes>)> {
        let rows = self.store.scan(Table::Inbox, &[], &[0xFF; 16], usize::MAX, usize::MAX).await.unwrap();
        let inboxes = rows.chunk_by(|(one, _), (other, _)| one[..8] == other[..8]);
        let device = |key: &[u8]| DeviceId::new(keys::parse_counter(&key[..8]).unwrap());
        inboxes.map(|inbox| (device(&inbox[0].0), inbox.iter().map(|(key, _)| key.clone()).collect())).collect()
    }

    /// Whether the edge says how far it has got with what lanes send it. It does, unless told otherwise.
    pub(super) fn says_how_far(&mut self, says: bool) {
        self.bus.1.lock().unwrap().hides_how_far = !says;
    }

    /// Frames were lost: the stream begins anew.
    pub(super) fn next_generation(&mut self) {
        self.generation += 1;
        let uplink = &mut *self.bus.1.lock().unwrap();
        let hides_how_far = uplink.hides_how_far;
        *uplink = Uplink { generation: self.generation, hides_how_far, ..Uplink::default() };
        self.pending.clear();
        while bus::Rx::try_next(&mut self.rx).is_some() {}
    }

    /// From here on, until frames are lost, the edge does nothing that it is told to.
    pub(super) fn freeze(&mut self) {
        self.bus.1.lock().unwrap().frozen = true;
    }

    pub(super) async fn add(&mut self, user: &str, device: &str) {
        let (id, name) = (UserId::new(user).unwrap(), DeviceName::new(device).unwrap());
        let added = match self.admin.add_user(id.clone(), name.clone()).await {
            Err(crate::admin::AdminError::UserExists(_)) => self.admin.add_device(id, name).await,
            added => added,
        };
        self.passwords.insert((user.to_owned(), device.to_owned()), added.unwrap().password);
    }

    /// A device that was added otherwise.
    pub(super) fn knows(&mut self, added: &DeviceCredentials) {
        self.passwords.insert((added.user.clone(), added.device.clone()), added.password.clone());
    }

    pub(super) fn password(&self, user: &str, device: &str) -> Bytes {
        self.passwords.get(&(user.to_owned(), device.to_owned())).cloned().unwrap_or_default().into()
    }

    /// Sends frames of one connection in one batch.
    pub(super) fn send(&mut self, connection: u64, frames: impl IntoIterator<Item = up::Frame>) {
        let lane = self.owners[&connection].lane(LANES);
        self.bus.up(lane, frames.into_iter().map(|frame| Up { connection, frame: Some(frame) }).collect());
    }

    /// Sends a frame of Alice's to a lane that does not own her, in a batch of its own.
    pub(super) fn send_to_another_lane(&mut self, connection: u64, frame: up::Frame) {
        let owner = Partitions::NEW.of_user(&UserId::new("alice").unwrap());
        let other = Partitions::NEW.all().find(|it| it.lane(LANES) != owner.lane(LANES));
        self.owners.insert(connection, other.unwrap());
        self.send(connection, [frame]);
    }

    /// A CONNECT as a client with a persistent session sends it.
    pub(super) fn connect_frame(&self, user: &str, device: &str) -> Connect {
        Connect {
            user: user.to_owned(),
            device: device.to_owned(),
            password: self.password(user, device),
            session_expiry_s: u32::MAX,
            receive_maximum: 100,
            protocol: 5,
            ..Default::default()
        }
    }

    pub(super) async fn connect(&mut self, connection: u64, connect: Connect) -> Connected {
        self.begin_to_connect(connection, connect);
        let connected = self.expect(connection, |frame| match frame {
            down::Frame::Connected(connected) => Some(connected.clone()),
            _ => None,
        });
        let connected = connected.await;
        self.accepted.insert(connection, connected.clone());
        connected
    }

    /// Connects, without waiting for the answer.
    pub(super) fn begin_to_connect(&mut self, connection: u64, connect: Connect) {
        self.owners.insert(connection, Partitions::NEW.of_user(&UserId::new(&connect.user).unwrap()));
        self.send(connection, [up::Frame::Connect(connect)]);
    }

    /// Connects with these filters.
    pub(super) async fn enter(&mut self, connection: u64, user: &str, device: &str, filters: Filters) {
        let connect = self.connect_frame(user, device);
        assert_eq!(self.connect(connection, connect).await.reason, 0);
        self.subscribe(connection, filters).await;
    }

    pub(super) async fn subscribe(&mut self, connection: u64, filters: Filters) {
        self.send(connection, [up::Frame::Subscribe(Subscribe { filters: filters.bits(), token: 9 })]);
        self.expect(connection, |frame| matches!(frame, down::Frame::Subscribed(_)).then_some(())).await;
    }

    /// Attaches a connection again, as an edge does that knows this of it.
    pub(super) async fn resume(&mut self, connection: u64, user: &str, device: &str, resume: Resume) {
        let connect = self.resume_frame(connection, user, device, resume);
        assert_eq!(self.connect(connection, connect).await.reason, 0);
    }

    pub(super) fn resume_frame(&self, connection: u64, user: &str, device: &str, resume: Resume) -> Connect {
        let Connected { rank, ends_at_s, device: number, fingerprint, .. } = self.accepted[&connection];
        let resume = Resume { rank, ends_at_s, device: number, fingerprint, ..resume };
        Connect { password: Bytes::new(), resume: Some(resume), ..self.connect_frame(user, device) }
    }

    pub(super) fn publish(&mut self, connection: u64, publish: Publish) {
        self.send(connection, [up::Frame::Publish(publish)]);
    }

    /// Calls, and returns the answer, which the client acknowledges. The connection is subscribed to `rpc`.
    pub(super) async fn call(&mut self, connection: u64, number: u64, call: Call) -> client::Response {
        self.publish(connection, calling(number, call));
        let (order, response) = self.answered(connection, number).await;
        self.acknowledge(connection, vec![order]);
        response
    }

    /// The answer to a call, and the order it came with.
    pub(super) async fn answered(&mut self, connection: u64, number: u64) -> (u64, client::Response) {
        self.expect(connection, |frame| match frame {
            down::Frame::Deliver(deliver) if deliver.shape() == Shape::Response => {
                let response = client::Response::decode(deliver.payload.clone()).ok()?;
                (response.id == number).then_some((deliver.order, response))
            }
            _ => None,
        })
        .await
    }

    /// Calls in a user's name, without a connection.
    pub(super) async fn ask(&self, user: UserId, call: Call) -> client::Response {
        self.chat.call(user, Principal::Administrator, call).await.unwrap()
    }

    /// A user has read something, on no connection.
    pub(super) async fn read_as(&self, user: UserId, receipt: client::ReadReceipt) {
        assert_eq!(self.chat.read(user, Principal::Administrator, receipt).await.unwrap().reason, 0);
    }

    /// What operators were told so far and nobody has looked at: without number, epoch and time.
    pub(super) async fn told(&mut self) -> Vec<serde_json::Value> {
        self.settle().await;
        let Some(Some(told)) = futures::FutureExt::now_or_never(self.events.next()) else { return Vec::new() };
        let events = told.iter().map(|it| serde_json::from_str(&it.json).unwrap());
        let without = |mut event: serde_json::Value| {
            ["number", "epoch", "time_ms"].iter().for_each(|key| _ = event.as_object_mut().unwrap().remove(*key));
            event
        };
        events.map(without).collect()
    }

    /// Sends so many messages to a user, all at once, numbered from `first`. Returns the conversation, of which the first
    /// message has sequence 2.
    pub(super) async fn send_messages(&mut self, connection: u64, to: &str, first: u64, count: u64) -> u64 {
        self.send(connection, (first..first + count).map(|number| up::Frame::Publish(to_user(number, to, "x"))));
        let mut conversation = 0;
        for _ in 0..count {
            let published = self.published(connection).await;
            assert_eq!(published.reason, 0);
            conversation = published.conversation;
        }
        conversation
    }

    pub(super) async fn published(&mut self, connection: u64) -> Published {
        self.expect(connection, |frame| match frame {
            down::Frame::Published(published) => Some(published.clone()),
            _ => None,
        })
        .await
    }

    /// The next delivery to a connection.
    pub(super) async fn delivered(&mut self, connection: u64) -> Deliver {
        self.expect(connection, |frame| match frame {
            down::Frame::Deliver(deliver) => Some(deliver.clone()),
            _ => None,
        })
        .await
    }

    pub(super) fn acknowledge(&mut self, connection: u64, orders: Vec<u64>) {
        self.send(connection, [up::Frame::Acks(Acks { orders })]);
    }

    pub(super) fn disconnect(&mut self, connection: u64, clean: bool) {
        self.send(connection, [up::Frame::Disconnect(Disconnect { clean, session_expiry_s: None })]);
    }

    /// Lets time pass, in which the edge says that it is still there.
    pub(super) async fn wait(&mut self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < end {
            let lanes: Vec<_> = self.bus.1.lock().unwrap().sequences.keys().copied().collect();
            lanes.into_iter().for_each(|lane| self.bus.up(lane, Vec::new()));
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
        }
    }

    /// Everything that has to happen has happened: time only passes when nothing else can be done.
    pub(super) async fn settle(&mut self) {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        while let Some(payload) = bus::Rx::try_next(&mut self.rx) {
            self.receive(payload);
        }
    }

    /// What a connection was sent and nobody has looked at, after all is settled.
    pub(super) async fn rest(&mut self, connection: u64) -> Vec<down::Frame> {
        self.settle().await;
        let mut rest = Vec::new();
        self.pending.retain_mut(|down| {
            let of_this = down.connection == connection;
            if of_this {
                rest.extend(down.frame.take());
            }
            !of_this
        });
        rest
    }

    /// Bodies that a connection was delivered, after all is settled, with their orders.
    pub(super) async fn deliveries(&mut self, connection: u64) -> Vec<(u64, Bytes)> {
        let rest = self.rest(connection).await.into_iter();
        let deliver = rest.filter_map(|frame| match frame {
            down::Frame::Deliver(deliver) => Some((deliver.order, deliver.payload)),
            _ => None,
        });
        deliver.collect()
    }

    /// Waits for a frame of a connection; what it passes by stays.
    pub(super) async fn expect<T>(&mut self, connection: u64, pick: impl Fn(&down::Frame) -> Option<T>) -> T {
        let mut seen = 0;
        loop {
            while let Some(down) = self.pending.get(seen) {
                let picked = down.frame.as_ref().filter(|_| down.connection == connection).and_then(&pick);
                if let Some(picked) = picked {
                    self.pending.remove(seen);
                    return picked;
                }
                seen += 1;
            }
            let next = tokio::time::timeout(std::time::Duration::from_secs(5), bus::Rx::next(&mut self.rx)).await;
            let pending = &self.pending;
            self.receive(next.unwrap_or_else(|_| panic!("nothing for {connection}, but {pending:?}")).unwrap());
        }
    }

    fn receive(&mut self, payload: Bytes) {
        let batch = DownBatch::decode(payload).unwrap();
        if batch.generation == self.generation {
            self.bus.1.lock().unwrap().received.insert(batch.lane, batch.sequence);
            self.pending.extend(batch.frames);
        }
    }
}

async fn run<S: Store>(
    settings: BridgeSettings,
    store: S,
    bus: MemoryBus,
    epoch: u64,
    now_s: &Arc<AtomicU32>,
) -> ((Admin, Chat), EventQueue, Vec<JoinHandle<()>>) {
    let mut sink = EventSink::new(Of::ALL.to_vec());
    let events = sink.consumer("test");
    let now_s = now_s.clone();
    let clock: ClockS = Arc::new(move || now_s.load(Ordering::Relaxed));
    let assembly = assemble(settings, store, clock, bus, epoch, Some(sink)).await.unwrap();
    let run = |task: crate::BridgeTask| tokio::spawn(async move { task.await.unwrap() });
    ((assembly.admin(), assembly.chat()), events, assembly.into_tasks().map(run).collect())
}

/// A publish of a call, whose id is the publish's number.
pub(super) fn calling(number: u64, call: Call) -> Publish {
    Publish {
        number,
        packet_id: number as u32,
        kind: Kind::Rpc.into(),
        payload: client::Request { id: number, call: Some(call) }.encode_to_vec().into(),
        ..Default::default()
    }
}

/// A publish of a raw body to a user.
pub(super) fn to_user(number: u64, user: &str, body: &'static str) -> Publish {
    Publish {
        number,
        packet_id: number as u32,
        kind: Kind::ToUser.into(),
        user: user.to_owned(),
        payload: Bytes::from_static(body.as_bytes()),
        ..Default::default()
    }
}
