//! A bad network between a client and the server: slow, narrow, and connections break. TCP on both sides; bytes are
//! delayed and paced, never reordered. Counts what it carries.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::soak::Random;

/// How bad.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    /// In each direction; `None`: as fast as it goes.
    pub(crate) bits_per_s: Option<u64>,
    /// In each direction.
    pub(crate) delay: Duration,
    /// Of a hundred connections so many break, at any time within `cut_within`.
    pub(crate) cut_percent: u64,
    /// So many are half closed: the client hears the end, and may go on speaking.
    pub(crate) half_closed_percent: u64,
    /// So many carry nothing more and do not end, as when a phone leaves a network.
    pub(crate) silenced_percent: u64,
    /// See above.
    pub(crate) cut_within: Duration,
}

impl Weather {
    /// As on a train, with 2G: 50 kbit/s, 600 ms there and back, 5 % of connections cut.
    pub(crate) const TWO_G: Self = Self {
        bits_per_s: Some(50_000),
        delay: Duration::from_millis(300),
        cut_percent: 5,
        half_closed_percent: 0,
        silenced_percent: 0,
        cut_within: Duration::from_secs(5),
    };
}

/// How often the client spoke after a silence: what wakes a radio.
#[derive(Debug, Default)]
struct Bursts {
    count: AtomicU64,
    last: Mutex<Option<Instant>>,
}

impl Bursts {
    /// What comes within this time belongs together.
    const APART: Duration = Duration::from_millis(100);

    fn spoke(&self) {
        let now = Instant::now();
        let before = self.last.lock().expect("no panic").replace(now);
        if before.is_none_or(|before| now.duration_since(before) > Self::APART) {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// See the module. Ends with its value.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    /// Counts; whoever sees it change ends its connection.
    cuts: watch::Sender<u64>,
    carried: Arc<[AtomicU64; 2]>,
    /// What the server says is lost.
    hushed: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
    bursts: Arc<Bursts>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr, weather: Weather, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (cuts, cut) = watch::channel(0);
        let (carried, connections) = (Arc::<[AtomicU64; 2]>::default(), Arc::<AtomicU64>::default());
        let bursts = Arc::<Bursts>::default();
        let hushed = Arc::<AtomicBool>::default();
        let (counted, counter, heard) = (carried.clone(), connections.clone(), bursts.clone());
        let lost = hushed.clone();
        let accepting = tokio::spawn(async move {
            let mut random = Random::new(seed);
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                counter.fetch_add(1, Ordering::Relaxed);
                let fate = Fate::draw(&weather, &mut random);
                let counts = (counted.clone(), heard.clone(), lost.clone());
                tokio::spawn(connection(client, server, weather, fate, cut.clone(), counts));
            }
        });
        Self { address, cuts, carried, hushed, connections, bursts, accepting }
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// The same for HTTP.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks every connection.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// From now on what the server says is lost, or (`false`) is not any more.
    pub(crate) fn hush(&self, hushed: bool) {
        self.hushed.store(hushed, Ordering::Relaxed);
    }

    /// Bytes to the server and from it.
    pub(crate) fn carried(&self) -> [u64; 2] {
        [0, 1].map(|at| self.carried[at].load(Ordering::Relaxed))
    }

    /// How often the client spoke after a silence.
    pub(crate) fn bursts(&self) -> u64 {
        self.bursts.count.load(Ordering::Relaxed)
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

/// What becomes of a connection, after this time.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Lasts,
    Cut(Duration),
    HalfClosed(Duration),
    Silenced(Duration),
}

impl Fate {
    fn draw(weather: &Weather, random: &mut Random) -> Self {
        let dice = random.below(100);
        let after = Duration::from_millis(random.below(weather.cut_within.as_millis().max(1) as u64));
        let half_closed = weather.cut_percent + weather.half_closed_percent;
        match dice {
            _ if dice < weather.cut_percent => Self::Cut(after),
            _ if dice < half_closed => Self::HalfClosed(after),
            _ if dice < half_closed + weather.silenced_percent => Self::Silenced(after),
            _ => Self::Lasts,
        }
    }
}

async fn connection(
    client: TcpStream,
    server: SocketAddr,
    weather: Weather,
    fate: Fate,
    mut cut: watch::Receiver<u64>,
    (carried, bursts, hushed): (Arc<[AtomicU64; 2]>, Arc<Bursts>, Arc<AtomicBool>),
) {
    cut.mark_unchanged();
    let Ok(server) = TcpStream::connect(server).await else { return };
    // The proxy itself holds nothing back.
    _ = client.set_nodelay(true);
    _ = server.set_nodelay(true);
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let born = Instant::now();
    let (ends, half) = match fate {
        Fate::Lasts => (None, None),
        Fate::Cut(after) | Fate::Silenced(after) => (Some(born + after), None),
        Fate::HalfClosed(after) => (None, Some(born + after)),
    };
    let up = pump(from_client, to_server, weather, None, &carried[0], Watched::Client(&bursts));
    let down = pump(from_server, to_client, weather, half, &carried[1], Watched::Server(&hushed));
    let mut both = pin!(async { tokio::join!(up, down) });
    tokio::select! {
        _ = &mut both => {}
        _ = cut.changed() => {}
        () = sleep_until(ends.unwrap_or(born)), if ends.is_some() => {
            if let Fate::Silenced(_) = fate {
                // The sockets stay open, and nobody reads.
                _ = cut.changed().await;
            }
        }
    }
}

/// What becomes of what one side says, besides being carried.
#[derive(Clone, Copy)]
enum Watched<'a> {
    Client(&'a Bursts),
    /// Lost while this is so.
    Server(&'a AtomicBool),
}

impl Watched<'_> {
    /// Something was said; whether it is lost.
    fn is_lost(self) -> bool {
        match self {
            Self::Client(bursts) => {
                bursts.spoke();
                false
            }
            Self::Server(hushed) => hushed.load(Ordering::Relaxed),
        }
    }
}

/// One direction, until it ends or is to be closed.
async fn pump(
    mut from: OwnedReadHalf,
    to: OwnedWriteHalf,
    weather: Weather,
    closes: Option<Instant>,
    carried: &AtomicU64,
    watched: Watched<'_>,
) {
    // As much as a slow link buffers; then the sender waits.
    let (sender, receiver) = mpsc::channel(16);
    let writing = write(to, receiver, weather, carried);
    let reading = async move {
        let mut buffer = vec![0; 1024];
        loop {
            let read = tokio::select! {
                read = from.read(&mut buffer) => read,
                () = sleep_until(closes.unwrap_or_else(Instant::now)), if closes.is_some() => break,
            };
            match read {
                Ok(0) | Err(_) => break,
                Ok(_) if watched.is_lost() => {}
                Ok(bytes) => {
                    if sender.send((Instant::now() + weather.delay, buffer[..bytes].to_vec())).await.is_err() {
                        break;
                    }
                }
            }
        }
        drop(sender);
    };
    tokio::join!(reading, writing);
}

async fn write(
    mut to: OwnedWriteHalf,
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    weather: Weather,
    carried: &AtomicU64,
) {
    while let Some((due, piece)) = pieces.recv().await {
        sleep_until(due).await;
        if let Some(bits_per_s) = weather.bits_per_s {
            sleep(Duration::from_micros(piece.len() as u64 * 8 * 1_000_000 / bits_per_s)).await;
        }
        if to.write_all(&piece).await.is_err() {
            return;
        }
        carried.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    // FIN: the other direction may go on.
    _ = to.shutdown().await;
}
