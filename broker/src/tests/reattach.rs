//! Reattachment under load, on a bus that loses, repeats and reorders batches: every publish is stored once, in order, and answered.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::interval;

use super::input::Random;
use super::*;

/// One batch in so many is lost, and one doubled, and one comes late.
const ONE_IN: usize = 12;
const CLIENTS: u16 = 20;
const PUBLISHES: u16 = 100;
const WINDOW: u16 = 4;

#[derive(Clone)]
struct Unreliable(MemoryBus, Arc<Mutex<(Random, Option<Late>)>>);

/// A batch that goes out after the next one.
type Late = (String, Bytes);

impl Bus for Unreliable {
    type Tx = Self;
    type Rx = MemoryRx;

    async fn open(&self, name: &str, topics: &[String]) -> Result<(Self, MemoryRx), LinkClosed> {
        let (_, rx) = self.0.open(name, topics).await?;
        Ok((self.clone(), rx))
    }
}

impl frames::Tx for Unreliable {
    async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), LinkClosed> {
        let (dice, late) = {
            let (random, late) = &mut *self.1.lock();
            let dice = random.below(ONE_IN);
            let before = late.take();
            if dice == 2 {
                *late = Some((topic.to_owned(), payload.clone()));
            }
            (dice, before)
        };
        let copies = match dice {
            0 | 2 => 0,
            1 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            self.0.publish(topic, payload.clone()).await?;
        }
        match late {
            Some((topic, payload)) => self.0.publish(&topic, payload).await,
            None => Ok(()),
        }
    }
}

/// A lane that keeps its side of bus.proto.
struct Faithful {
    tx: Unreliable,
    generation: u64,
    taken: u64,
    sent: u64,
    broken: bool,
    /// Number of the last publish stored, by connection.
    stored: HashMap<u64, u64>,
}

impl Faithful {
    async fn run(mut self, mut rx: MemoryRx) {
        let mut beat = interval(Duration::from_millis(250));
        loop {
            tokio::select! {
                payload = rx.next() => self.take(UpBatch::decode(payload.unwrap()).unwrap()).await,
                _ = beat.tick() => {
                    let hello = BridgeHello { epoch: 7, lanes: 1, ..BridgeHello::default() };
                    self.tx.publish(frames::EDGES, hello.encode_to_vec().into()).await.unwrap();
                    let frames = if self.broken { vec![reattach()] } else { Vec::new() };
                    self.answer(frames).await;
                }
            }
        }
    }

    async fn take(&mut self, batch: UpBatch) {
        if batch.generation < self.generation {
            return;
        }
        if batch.generation > self.generation {
            (self.generation, self.taken, self.sent, self.broken) = (batch.generation, 0, 0, false);
        }
        let next = self.taken + u64::from(!batch.frames.is_empty());
        if batch.sequence > next && !self.broken {
            self.broken = true;
            self.answer(vec![reattach()]).await;
        }
        if self.broken || batch.sequence < next || batch.frames.is_empty() {
            return;
        }
        self.taken = next;
        let answers: Vec<_> = batch.frames.into_iter().filter_map(|up| self.frame(up)).collect();
        self.answer(answers).await;
    }

    fn frame(&mut self, up: frames::Up) -> Option<frames::Down> {
        let answer = match up.frame.unwrap() {
            up::Frame::Connect(_) => Answer::from(frames::Connected::default()),
            up::Frame::Publish(frames::Publish { number, resent, payload, .. }) => {
                let stored = self.stored.entry(up.connection).or_default();
                assert!(number == *stored + 1 || (resent && number <= *stored), "{number} after {stored}, {resent}");
                assert_eq!(payload[..], number.to_be_bytes());
                *stored = number.max(*stored);
                frames::Published { number, ..frames::Published::default() }.into()
            }
            _ => return None,
        };
        Some(frames::Down { connection: up.connection, frame: Some(answer.0) })
    }

    async fn answer(&mut self, frames: Vec<frames::Down>) {
        self.sent += u64::from(!frames.is_empty());
        let (generation, sequence, received) = (self.generation, self.sent, self.taken);
        let batch = DownBatch { lane: 0, epoch: 7, generation, sequence, frames, received, term: 0 };
        self.tx.publish(&frames::down(9), batch.encode_to_vec().into()).await.unwrap();
    }
}

fn reattach() -> frames::Down {
    frames::Down { connection: 0, frame: Some(down::Frame::Reattach(frames::Reattach {})) }
}

/// Publishes with a window, and checks the order of the answers.
async fn publish_all(mut client: Client) {
    let mut hello = connect(4, &[]);
    hello[11] = 0;
    client.send(&hello).await;
    assert_eq!(client.packet().await, [0x20, 2, 0, 0]);
    for id in 1..=PUBLISHES + WINDOW {
        if id <= PUBLISHES {
            client.send(&publish(4, 2, "send", id, &[], &u64::from(id).to_be_bytes())).await;
        }
        if let Some(answered) = id.checked_sub(WINDOW).filter(|&answered| answered > 0) {
            assert_eq!(client.packet().await, [&[0x40, 2][..], &answered.to_be_bytes()].concat());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_publish_is_stored_once_and_answered() {
    for seed in 1..=5 {
        let bus = Unreliable(MemoryBus::default(), Arc::new(Mutex::new((Random(seed), None))));
        let settings = BrokerSettings { connect_deadline: Duration::from_secs(3_600), ..BrokerSettings::default() };
        let edge = Arc::new(Edge::new(9, settings));
        let (tx, rx) = bus.open("lane", &[frames::up(0)]).await.unwrap();
        let stored = HashMap::new();
        let lane = Faithful { tx, generation: 0, taken: 0, sent: 0, broken: false, stored };
        let _tasks = [
            AbortOnDropHandle::new(tokio::spawn(bus_link::run(edge.clone(), bus))),
            AbortOnDropHandle::new(tokio::spawn(edge.clone().run_clock())),
            AbortOnDropHandle::new(tokio::spawn(edge.clone().run_login_queue())),
        ];
        let lane = AbortOnDropHandle::new(tokio::spawn(lane.run(rx)));
        let clients = (0..CLIENTS).map(|_| {
            let (near, far) = tokio::io::duplex(1_024);
            tokio::spawn(ConnectionDriver::new(far, edge.clone(), edge.accept(None, Transport::Tcp).unwrap()));
            tokio::spawn(publish_all(Client(near)))
        });
        for client in clients.collect::<Vec<_>>() {
            tokio::select! {
                done = client => done.unwrap(),
                () = tokio::time::sleep(Duration::from_secs(3_000)) => panic!("seed {seed}: stuck; lane ended: {}", lane.is_finished()),
            }
        }
        assert!(!lane.is_finished(), "the lane saw something it must not");
    }
}
