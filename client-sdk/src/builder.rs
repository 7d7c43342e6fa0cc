//! How a client is made: where the server is, who this device is, where its store is; everything else has a default.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use godwit_schemas::ids::{DeviceName, UserId};
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::spawn_blocking;

use crate::client::{Client, ClientInner};
#[cfg(feature = "e2ee")]
use crate::encryption;
use crate::engine::{Engine, EngineConfig, EngineShared, Passwords, PendingCalls, now_s};
use crate::error::Error;
use crate::ledger::thread::LedgerThread;
use crate::ledger::{Beginning, Ledger};
use crate::network::backoff::Backoff;
use crate::network::endpoint::ServerAddress;
use crate::network::keepalive::KeepAlive;
use crate::network::{ConnectOptions, Protocol};
use crate::signal;
use crate::status::Status;
use crate::store::{LocalStore, LocalStoreError, VolatileStore};
#[cfg(feature = "media")]
use crate::transfer;

/// Commands that wait for the engine; further callers wait in their call.
const COMMANDS: usize = 64;
/// Second since 1970 from which an empty store counts: 2026 began.
const EPOCH_S: u64 = 1_767_225_600;

type OpenStore = Box<dyn FnOnce() -> Result<Box<dyn LocalStore>, LocalStoreError> + Send>;

/// Options of a client that is going to be opened.
#[must_use = "nothing happens before `open`"]
pub struct Builder {
    address: String,
    user: UserId,
    device: DeviceName,
    password: String,
    store: OpenStore,
    archive: bool,
    receive: bool,
    fills: bool,
    saver: bool,
    #[cfg(feature = "e2ee")]
    encryption: bool,
    protocol: Protocol,
    /// The first interval, and the longest.
    pub(crate) keep_alive: (Duration, Duration),
    longest_wait: Duration,
    patience: Duration,
    call_timeout: Duration,
    seed: Option<u64>,
    #[cfg(feature = "tls")]
    trusted: Option<Vec<u8>>,
}

impl Builder {
    pub(crate) fn new(address: &str, user: UserId, device: DeviceName, password: &str) -> Self {
        Self {
            address: address.to_owned(),
            user,
            device,
            password: password.to_owned(),
            store: Box::new(|| Ok(Box::new(VolatileStore::new()))),
            archive: true,
            receive: true,
            fills: true,
            saver: false,
            #[cfg(feature = "e2ee")]
            encryption: false,
            protocol: Protocol::Auto,
            keep_alive: (Duration::from_secs(60), Duration::from_secs(15 * 60)),
            longest_wait: Duration::from_secs(60),
            patience: Duration::from_secs(30),
            call_timeout: Duration::from_secs(30),
            seed: None,
            #[cfg(feature = "tls")]
            trusted: None,
        }
    }

    /// Keeps everything in a SQLite file, made if it is not there. Without a store everything ends with the app: what
    /// was not sent is lost, and what was not confirmed.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(self, path: impl Into<std::path::PathBuf>) -> Self {
        let path = path.into();
        Self { store: Box::new(move || Ok(Box::new(crate::store::SqliteStore::open(path)?))), ..self }
    }

    /// Keeps everything in a store that the app brings.
    pub fn store(self, store: impl LocalStore) -> Self {
        Self { store: Box::new(move || Ok(Box::new(store))), ..self }
    }

    /// Whether messages stay in the store when the app has confirmed them (they do): for `Client::messages`. If not,
    /// the app keeps what it wants to show.
    pub fn archive(self, archive: bool) -> Self {
        Self { archive, ..self }
    }

    /// For devices that only send: nothing is received and no ticks but the first come; what others send to this user
    /// waits for other devices.
    pub fn send_only(self) -> Self {
        Self { receive: false, ..self }
    }

    /// Whether a device with an empty store fetches this user's conversations, and of the 100 in which something happened
    /// last the newest messages, as far as the server keeps them (it does). They come in the background and are no events;
    /// more of a conversation comes with `Client::load_older`.
    pub fn fill(self, fills: bool) -> Self {
        Self { fills, ..self }
    }

    /// Begins in saver mode: see `Client::set_saver`.
    pub fn saver(self, saver: bool) -> Self {
        Self { saver, ..self }
    }

    /// Takes part in end-to-end encryption: this device makes keys at first use, keeps them in its store, and publishes what
    /// others encrypt to it with. See `Client::encryption`.
    #[cfg(feature = "e2ee")]
    pub fn encryption(self, encryption: bool) -> Self {
        Self { encryption, ..self }
    }

    /// Which MQTT to speak. `Auto` unless given.
    pub fn protocol(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    /// How long a connection may be silent: the interval to begin with (60 s unless given, at least 10 s), and the
    /// longest one (15 min) to which it grows while the path holds.
    pub fn keep_alive(self, first: Duration, longest: Duration) -> Self {
        let first = first.max(Duration::from_secs(10));
        Self { keep_alive: (first, longest.clamp(first, Duration::from_secs(18 * 3600))), ..self }
    }

    /// The longest wait between two attempts to connect; 60 s unless given.
    pub fn longest_wait(self, longest_wait: Duration) -> Self {
        Self { longest_wait, ..self }
    }

    /// How long the server may owe an answer in silence before the connection is given up; 30 s unless given. After half
    /// of it the connection is asked with a ping: a server may owe an answer for long, but not that one.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How long a call may take, waiting for a connection included; 30 s unless given.
    pub fn call_timeout(self, call_timeout: Duration) -> Self {
        Self { call_timeout, ..self }
    }

    /// What chance begins with, for tests.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Trusts these certificates (PEM) rather than those of the system.
    #[cfg(feature = "tls")]
    pub fn trust(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { trusted: Some(pem.into()), ..self }
    }

    /// Opens the store and starts to connect. Returns when the store is open: whether there is a connection is for
    /// `Client::status` to say. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Store`], [`Error::Owner`]
    pub async fn open(self) -> Result<Client, Error> {
        let endpoint = ServerAddress::parse(&self.address)?;
        #[cfg(feature = "tls")]
        let tls = crate::network::tls::trusting(self.trusted.as_deref())?;
        let (user, device, archive, store) = (self.user.clone(), self.device.clone(), self.archive, self.store);
        let ledger = spawn_blocking(move || {
            let mut ledger = Ledger::open(store()?, &user, device.as_str(), archive, beginning())?;
            let (passwords, origin) = (ledger.passwords()?, ledger.origin()?);
            Ok::<_, Error>((LedgerThread::start(ledger)?, passwords, origin))
        });
        let (ledger, mut passwords, origin) =
            ledger.await.map_err(|error| LocalStoreError::new("open the store", error))??;
        let shared = Arc::new(EngineShared {
            ledger,
            wake: Notify::new(),
            tracker: Default::default(),
            news: watch::Sender::new(0),
            changes: watch::Sender::new(0),
            status: watch::Sender::new(Status::Connecting),
            saver: AtomicBool::new(self.saver),
            signals: broadcast::Sender::new(signal::KEPT),
            #[cfg(feature = "media")]
            transfers: Default::default(),
            #[cfg(feature = "e2ee")]
            encryption: Default::default(),
        });
        let dial = ConnectOptions {
            endpoint,
            user: self.user.to_string(),
            device: self.device.to_string(),
            password: String::new(),
            keep_alive: self.keep_alive.1,
            timeout: self.patience,
            nodelay: true,
            traffic: Default::default(),
            #[cfg(feature = "tls")]
            tls,
        };
        // What the store has is newer, as long as nobody has given the device another.
        passwords.push(self.password);
        let seed = self.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        let (sender, commands) = mpsc::channel(COMMANDS);
        #[cfg(feature = "media")]
        let transfers = transfer::TransferContext {
            shared: shared.clone(),
            commands: sender.downgrade(),
            call_timeout: self.call_timeout,
            http: transfer::Http {
                traffic: dial.traffic.clone(),
                silence: 2 * self.patience,
                #[cfg(feature = "tls")]
                tls: dial.tls.clone(),
            },
            backoff: Backoff::new(self.longest_wait, seed.rotate_left(1)),
        };
        #[cfg(feature = "e2ee")]
        if self.encryption && self.receive {
            tokio::spawn(encryption::run(encryption::EncryptionContext {
                shared: shared.clone(),
                commands: sender.downgrade(),
                call_timeout: self.call_timeout,
                backoff: Backoff::new(self.longest_wait, seed.rotate_left(2)),
                pauses: encryption::Pauses::new(seed.rotate_left(3)),
                user: self.user.clone(),
                device: self.device.clone(),
            }));
        }
        let client = Client::new(ClientInner {
            shared: shared.clone(),
            commands: sender,
            traffic: dial.traffic.clone(),
            user: self.user,
            device: self.device,
            origin,
            call_timeout: self.call_timeout,
            #[cfg(feature = "media")]
            transfers: transfers.clone(),
        });
        let engine = Engine {
            protocol: self.protocol,
            protocol_works: false,
            unanswered_attempts: 0,
            config: EngineConfig {
                protocol: self.protocol,
                receive: self.receive,
                fills: self.fills,
                patience: self.patience,
                gather: Duration::from_secs(3),
            },
            connect_options: dial,
            passwords: Passwords::new(passwords),
            shared,
            commands,
            backoff: Backoff::new(self.longest_wait, seed),
            keep_alive: KeepAlive::new(self.keep_alive.0, self.keep_alive.1),
            // Responses to calls of an earlier run, which may still come, are none to this run's.
            calls: PendingCalls::new(now_s() << 16),
        };
        tokio::spawn(engine.run());
        #[cfg(feature = "media")]
        tokio::spawn(transfer::run(transfers));
        Ok(client)
    }
}

/// How an empty store counts sends: under a name that chance has chosen, so that the server takes none for one of an earlier
/// store of this device, whatever the clock says. The numbers begin at the clock, in steps of 16 ms: an app may have kept
/// some of an earlier store.
fn beginning() -> Beginning {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH + Duration::from_secs(EPOCH_S));
    let after = since.map_or(0, |since| u64::try_from(since.as_millis() / 16).unwrap_or(0));
    // Four bytes on the wire.
    let counter = (RandomState::new().build_hasher().finish() & ((1 << 28) - 1)).max(1);
    Beginning { after, counter }
}
