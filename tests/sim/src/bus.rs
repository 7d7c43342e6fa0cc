//! A bus that may do what bus.proto allows it: lose, double, delay and reorder batches, and close links.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use godwit_schemas::bus::{self, Bus, LinkClosed, Up, UpBatch, up};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::dice::Dice;
use crate::plan::{Plan, Turmoil};
use crate::record::Record;

/// Topics of lanes.
const UP: &str = "up/";

type Payloads = mpsc::UnboundedSender<(Instant, Bytes)>;

struct Subscriber {
    topics: Vec<String>,
    payloads: Payloads,
    frozen_until: Option<Instant>,
}

impl Subscriber {
    fn is_edge(&self) -> bool {
        self.topics.iter().any(|topic| topic == bus::EDGES)
    }
}

struct State {
    dice: Dice,
    plan: Plan,
    turmoil: Turmoil,
    record: Record,
    last_link: Mutex<u64>,
    subscribers: Mutex<BTreeMap<u64, Subscriber>>,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct SimBus(Arc<State>);

/// Sending half.
pub(crate) struct SimTx {
    bus: SimBus,
    link: u64,
}

/// Receiving half.
pub(crate) struct SimRx {
    bus: SimBus,
    link: u64,
    payloads: mpsc::UnboundedReceiver<Bytes>,
}

impl SimBus {
    pub(crate) fn new(seed: u64, plan: &Plan, turmoil: Turmoil, record: Record) -> Self {
        Self(Arc::new(State {
            dice: Dice::new(seed, "bus"),
            plan: plan.clone(),
            turmoil,
            record,
            last_link: Mutex::default(),
            subscribers: Mutex::default(),
        }))
    }

    fn close(&self, link: u64) {
        self.0.subscribers.lock().remove(&link);
    }

    /// One of the edges stands still for so long.
    pub(crate) fn freeze(&self, time: Duration) {
        let mut subscribers = self.0.subscribers.lock();
        let mut edges: Vec<_> = subscribers.values_mut().filter(|it| it.is_edge()).collect();
        if edges.is_empty() {
            return;
        }
        let edge = self.0.dice.below(edges.len());
        edges[edge].frozen_until = Some(Instant::now() + time);
        self.0.record.note(format!("an edge stands still for {} ms", time.as_millis()));
    }

    fn copies(&self) -> u64 {
        let State { dice, plan, turmoil, .. } = &*self.0;
        match turmoil.reigns() {
            true if dice.chance(plan.frames_lost) => 0,
            true if dice.chance(plan.frames_doubled) => 2,
            _ => 1,
        }
    }

    fn hand_out(&self, topic: &str, payload: &Bytes) {
        let State { dice, plan, turmoil, subscribers, .. } = &*self.0;
        for subscriber in subscribers.lock().values().filter(|it| it.topics.iter().any(|of| of == topic)) {
            if topic.starts_with(UP) {
                self.0.record.with(|facts| facts.cost.asked += asked(payload));
            }
            let soon = Instant::now() + Duration::from_micros(dice.within(0..=2_000));
            let soon = subscriber.frozen_until.map_or(soon, |until| soon.max(until));
            if turmoil.reigns() && dice.chance(plan.frames_late) {
                let (payloads, payload, late) = (subscriber.payloads.clone(), payload.clone(), dice.ms(1..=1_500));
                tokio::spawn(async move {
                    sleep(late).await;
                    // Whoever is gone reads nothing.
                    let _ = payloads.send((Instant::now(), payload));
                });
            } else {
                let _ = subscriber.payloads.send((soon, payload.clone()));
            }
        }
    }
}

/// What a batch asks a lane to do: frames, and each acknowledgement for itself.
fn asked(batch: &Bytes) -> u64 {
    let frames = UpBatch::decode(batch.clone()).unwrap_or_default().frames;
    let acks = |frame: &Up| match &frame.frame {
        Some(up::Frame::Acks(acks)) => acks.orders.len(),
        Some(up::Frame::Connect(connect)) => connect.resume.as_ref().map_or(0, |resume| resume.outstanding.len()),
        _ => 0,
    };
    frames.iter().map(|frame| 1 + acks(frame) as u64).sum()
}

impl Bus for SimBus {
    type Tx = SimTx;
    type Rx = SimRx;

    async fn open(&self, _name: &str, topics: &[String]) -> Result<(SimTx, SimRx), LinkClosed> {
        sleep(self.0.dice.ms(0..=20)).await;
        let link = {
            let mut last = self.0.last_link.lock();
            *last += 1;
            *last
        };
        let (payloads, mut sent) = mpsc::unbounded_channel::<(Instant, Bytes)>();
        let (arrived, received) = mpsc::unbounded_channel();
        // In order, each after its time on the way.
        tokio::spawn(async move {
            while let Some((at, payload)) = sent.recv().await {
                sleep_until(at).await;
                if arrived.send(payload).is_err() {
                    return;
                }
            }
        });
        let subscriber = Subscriber { topics: topics.to_vec(), payloads, frozen_until: None };
        self.0.subscribers.lock().insert(link, subscriber);
        Ok((SimTx { bus: self.clone(), link }, SimRx { bus: self.clone(), link, payloads: received }))
    }
}

impl bus::Tx for SimTx {
    async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), LinkClosed> {
        let State { dice, plan, turmoil, subscribers, .. } = &*self.bus.0;
        if turmoil.reigns() && dice.chance(plan.links_broken) {
            self.bus.close(self.link);
        }
        let Some(frozen_until) = subscribers.lock().get(&self.link).map(|it| it.frozen_until) else {
            return Err(LinkClosed("broken by the simulation".to_owned()));
        };
        if frozen_until > Some(Instant::now()) {
            return Ok(());
        }
        for _ in 0..self.bus.copies() {
            self.bus.hand_out(topic, &payload);
        }
        Ok(())
    }
}

impl Drop for SimRx {
    fn drop(&mut self) {
        self.bus.close(self.link);
    }
}

impl bus::Rx for SimRx {
    async fn next(&mut self) -> Result<Bytes, LinkClosed> {
        self.payloads.recv().await.ok_or_else(|| LinkClosed("broken by the simulation".to_owned()))
    }

    fn try_next(&mut self) -> Option<Bytes> {
        self.payloads.try_recv().ok()
    }
}
