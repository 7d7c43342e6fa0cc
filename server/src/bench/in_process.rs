//! A whole server within this process, and streams to it that are no sockets: for more connections than a process may
//! open files, and to fill a store the way a server does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use godwit_bridge::Bridge;
use godwit_broker::EmbeddedBroker;
use godwit_broker::connection_limits::NetworkLimits;
use godwit_bus::local::LocalBus;
use godwit_load::{Account, Control, Fill, Report};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_store::rocks::RocksStore;
use tokio::io::DuplexStream;
use tokio::task::{JoinHandle, JoinSet};

use super::args::{InProcessWorkload, TargetArgs};
use crate::exit::CommandFailure;
use crate::private;
use crate::serve::chosen::{ChosenBus, ChosenStore};
use crate::serve::parts;
use crate::settings::{self, ServerSettings};

/// Accounts that are made at once; those share an fsync.
const PARALLEL: usize = 1_000;

/// Runs it on the data folder that the arguments name, which no server may have open.
pub(super) fn run(what: &InProcessWorkload, args: &TargetArgs, control: &Control) -> Result<Report, CommandFailure> {
    let place = args.place();
    let (settings, _) = settings::load(place.config.as_deref(), place.data.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    Ok(runtime.block_on(live(what, &settings, control))?)
}

async fn live(what: &InProcessWorkload, settings: &ServerSettings, control: &Control) -> anyhow::Result<Report> {
    let server = InProcessServer::start(settings).await?;
    let doors = server.doors.clone();
    let serve = move |stream: DuplexStream| drop(tokio::spawn(doors.clone().serve(stream)));
    let report = match what {
        InProcessWorkload::Fill { users, entries } => {
            let accounts = server.accounts(*users, control).await?;
            let fill = Fill { group_members: settings.limits.group_members_max.min(*users), entries: *entries };
            Report::Fill(fill.run(accounts, serve, control).await?)
        }
        InProcessWorkload::Hold(hold) => {
            let accounts = server.accounts(hold.connections, control).await?;
            Report::Hold(hold.run(accounts, serve, || server.flush(), control).await?)
        }
    };
    server.stop(settings.shutdown_deadline).await?;
    Ok(report)
}

/// The server's parts, without listeners.
struct InProcessServer {
    store: RocksStore,
    bridge: Bridge,
    doors: EmbeddedBroker,
    doors_task: JoinHandle<()>,
}

impl InProcessServer {
    async fn start(settings: &ServerSettings) -> anyhow::Result<Self> {
        private::data_folder(&settings.data_dir)?;
        let (store, time) = parts::open_store(settings).await?;
        let bus = ChosenBus::Local(LocalBus::default());
        let memory = (ChosenStore::Rocks(store.clone()), time);
        let bridge = parts::start_bridge(settings, memory, bus.clone(), parts::OptionalServices::default()).await?;
        // Alone on its bus, so any name will do.
        // What is measured is the server, not what it lets one client do.
        let mut unlimited = parts::doors(settings);
        (unlimited.packets_per_s, unlimited.bytes_per_s) = (0, 0);
        // All are there before the first says who it is.
        unlimited.connection_limits = NetworkLimits::UNLIMITED;
        let doors = EmbeddedBroker::new(1, unlimited);
        let doors_task = tokio::spawn(doors.clone().run(bus));
        Ok(Self { store, bridge, doors, doors_task })
    }

    /// Makes accounts of names that no earlier run used.
    async fn accounts(&self, count: usize, control: &Control) -> anyhow::Result<Vec<Account>> {
        let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let next = Arc::new(AtomicUsize::new(0));
        let mut makers = JoinSet::new();
        for _ in 0..PARALLEL.min(count) {
            let (admin, next) = (self.bridge.admin(), next.clone());
            makers.spawn(async move {
                let mut made = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return anyhow::Ok(made);
                    }
                    let user = UserId::new(&format!("bench-{run:x}-{n}"))?;
                    let added = admin.add_user(user, DeviceName::new("bench")?).await?;
                    made.push(Account { user: added.user, device: added.device, password: added.password });
                }
            });
        }
        let mut accounts = Vec::with_capacity(count);
        while !makers.is_empty() {
            if let Ok(Some(made)) = tokio::time::timeout(Duration::from_secs(1), makers.join_next()).await {
                accounts.extend(made.context("make accounts")??);
            } else {
                control.say(&format!("{} of {count} accounts made", next.load(Ordering::Relaxed)));
            }
            ensure!(!control.is_stopped(), "stopped while making accounts");
        }
        Ok(accounts)
    }

    /// Empties the store's memory.
    async fn flush(&self) -> anyhow::Result<()> {
        let store = self.store.clone();
        Ok(tokio::task::spawn_blocking(move || store.flush()).await??)
    }

    /// Leaves a store that has nothing more to do.
    async fn stop(self, deadline: Duration) -> anyhow::Result<()> {
        self.bridge.stop(deadline).await;
        self.doors_task.abort();
        let store = self.store;
        let settle = move || store.flush().and_then(|()| store.settle());
        Ok(tokio::task::spawn_blocking(settle).await??)
    }
}
