//! A running bridge with its HTTP listener and its store: alone, or as a member of a cluster that stands by until it leads.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use godwit_bridge::Bridge;
use godwit_bridge::audit::Audit;
use godwit_bus::nats::NatsBus;
use godwit_cluster::Leadership;
use godwit_http::{self as http, AdminToken, AdminTokens, Api, Checkpoints, Router, Routers, SettingsReload};
use godwit_store::time::Time;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::checkpoint::StoreCheckpoints;
use super::chosen::{ChosenBus, ChosenStore};
use super::cluster::PreparedStore;
use super::entrance::{BoundEntrance, ClosedEntrance, Entrance};
use super::events::{EventConsumers, PreparedEvents};
use super::keeper::{PartFailure, StoreKeeper};
use super::media::FileService;
use super::parts::OptionalServices;
use super::role::ProcessRole;
use super::web::{WebAddresses, reachable};
use super::{cluster, media, origin, parts};
use crate::admin_tokens;
use crate::metrics::MetricSources;
use crate::private;
use crate::runtime_files::{AdminNotice, Listeners};
use crate::settings::ServerSettings;

/// How long a bridge may take to end when its store has failed.
const ABANDONED_WITHIN: Duration = Duration::from_secs(1);

/// Set when the doors are open.
pub(super) type SharedBrokerHealth = Arc<OnceLock<godwit_broker::BrokerHealth>>;

/// What `/readyz` looks at. `doors`: those of this process.
fn check(bridge: godwit_bridge::Health, doors: Option<SharedBrokerHealth>) -> http::Check {
    Arc::new(move || {
        let (bridge, doors) = (bridge.clone(), doors.clone());
        Box::pin(async move {
            bridge.check().await?;
            match doors.as_deref().map(OnceLock::get) {
                None => Ok(()),
                Some(None) => Err("the listeners are not open yet"),
                Some(Some(doors)) => doors.check().await,
            }
        })
    })
}

/// What `godwit bridge` starts with.
pub(super) struct BridgeStart<'a> {
    pub(super) settings: &'a ServerSettings,
    pub(super) events: PreparedEvents,
    pub(super) beside: OptionalServices,
    pub(super) admin_token: Option<String>,
    pub(super) metrics: Arc<MetricSources>,
    pub(super) reload: Arc<dyn SettingsReload>,
}

impl BridgeStart<'_> {
    /// With a store in the data folder.
    pub(super) async fn alone(self, bus: ChosenBus) -> anyhow::Result<RunningBridge> {
        let (rocks, time) = parts::open_store(self.settings).await?;
        origin::find_out(&self.settings.data_dir, &rocks).await?;
        let entrance = ClosedEntrance::bind(self.settings).await?;
        self.start((ChosenStore::Rocks(rocks.clone()), time), bus, entrance, StoreKeeper::Rocks(rocks)).await
    }

    /// As a member of a cluster: stands by until it leads.
    pub(super) async fn in_cluster(mut self, bus: NatsBus, store: PreparedStore) -> anyhow::Result<RunningBridge> {
        let settings = self.settings;
        let lock = private::lock(&settings.data_dir)?;
        bus.check().await.context("cluster.nats")?;
        let (admin_token, _) = admin_access(self.admin_token.take())?;
        let mut entrance = BoundEntrance::bind(settings).await?.stand_by(settings, &self.metrics);
        announce_admin(settings, entrance.addresses(), admin_token.clone())?;
        self.admin_token = Some(admin_token);
        let WebAddresses { plain, secure } = entrance.addresses();
        Listeners::of_standby(plain, secure).write(&settings.data_dir, ProcessRole::Bridge.listeners_file())?;
        let time = Time::of_system(settings.time);
        let leads = Arc::<OnceLock<Weak<Leadership>>>::default();
        let asked = leads.clone();
        let read = move || Some(asked.get()?.upgrade()?.read());
        self.metrics.cluster.get_or_init(|| Box::new(read));
        let leading = async {
            let cluster = store.connect(time.clone()).await?;
            cluster::lead(&cluster, &settings.data_dir).await
        };
        let (store, leadership) = tokio::select! {
            leading = leading => leading?,
            () = entrance.ended() => return Err(anyhow!("the HTTP listener ended")),
        };
        let leadership = Arc::new(leadership);
        _ = leads.set(Arc::downgrade(&leadership));
        self.beside.lead = cluster::lead_of(&leadership);
        let (memory, entrance) = ((ChosenStore::Cluster(store), time), ClosedEntrance::Standby(entrance));
        self.start(memory, ChosenBus::Nats(bus), entrance, StoreKeeper::Cluster { leadership, lock }).await
    }

    async fn start(
        self,
        (store, time): (ChosenStore, Time),
        bus: ChosenBus,
        entrance: ClosedEntrance,
        keeper: StoreKeeper,
    ) -> anyhow::Result<RunningBridge> {
        let Self { settings, events, beside, admin_token, metrics, reload } = self;
        let telling = events.clone().start(events.on_mqtt().then(|| bus.clone()))?;
        let (doors, page_origins) = (None, Vec::new());
        let parts = BridgeParts {
            store,
            time,
            bus,
            telling,
            beside,
            doors,
            entrance,
            admin_token,
            page_origins,
            metrics,
            reload,
        };
        RunningBridge::start(settings, parts, keeper).await
    }
}

/// What a bridge is started with.
pub(super) struct BridgeParts {
    pub(super) store: ChosenStore,
    pub(super) time: Time,
    pub(super) bus: ChosenBus,
    pub(super) telling: EventConsumers,
    pub(super) beside: OptionalServices,
    /// Those of this process.
    pub(super) doors: Option<SharedBrokerHealth>,
    pub(super) entrance: ClosedEntrance,
    pub(super) admin_token: Option<String>,
    /// Of the page that this process serves.
    pub(super) page_origins: Vec<String>,
    pub(super) metrics: Arc<MetricSources>,
    pub(super) reload: Arc<dyn SettingsReload>,
}

/// The administrator's token, chosen or drawn, and the lock that it opens.
fn admin_access(chosen: Option<String>) -> anyhow::Result<(String, AdminToken)> {
    match chosen {
        Some(token) => {
            let lock = AdminToken::new(&token);
            Ok((token, lock))
        }
        None => AdminToken::generate().context("make the administrator's token"),
    }
}

/// Tells operators' commands on this machine where to go.
fn announce_admin(settings: &ServerSettings, http: WebAddresses, token: String) -> anyhow::Result<()> {
    AdminNotice { url: format!("http://{}", reachable(http.plain)), token }.write(&settings.data_dir)
}

/// The bridge with its HTTP listener and its store.
pub(super) struct RunningBridge {
    bridge: Bridge,
    keeper: StoreKeeper,
    entrance: Entrance,
    /// Of events.
    consumers: JoinSet<()>,
    /// The embedded object store.
    media: Option<media::EmbeddedStore>,
    audit: Audit,
    /// What users do over HTTP.
    of_users: Router,
    /// Where links to files lead.
    file_origin: Option<String>,
    operators: OperatorTokens,
}

/// Operators' tokens, and the file that they are read from.
struct OperatorTokens {
    file: PathBuf,
    tokens: AdminTokens,
    /// Reads it again when it changes.
    _watch: AbortOnDropHandle<()>,
}

impl RunningBridge {
    pub(super) async fn start(
        settings: &ServerSettings,
        parts: BridgeParts,
        keeper: StoreKeeper,
    ) -> anyhow::Result<Self> {
        let BridgeParts {
            store,
            time,
            bus,
            telling,
            beside,
            doors,
            entrance,
            admin_token,
            page_origins,
            metrics,
            reload,
        } = parts;
        let EventConsumers { sink, consumers } = telling;
        let FileService { files, embedded: media, origin: file_origin } =
            media::start(settings, entrance.tls(), page_origins, &metrics).await?;
        if let Some(sink) = &sink {
            metrics.events.get_or_init(|| sink.metrics());
        }
        if let StoreKeeper::Rocks(store) = &keeper {
            metrics.store.get_or_init(|| store.probe());
        }
        let beside = OptionalServices { events: sink, media: files, ..beside };
        metrics.audit.get_or_init(|| beside.audit.clone());
        let (audit, tokens, lead) = (beside.audit.clone(), beside.tokens.clone(), beside.lead.clone());
        let bridge = parts::start_bridge(settings, (store, time.clone()), bus, beside).await?;
        metrics.bridge.get_or_init(|| bridge.metrics());
        let (token, lock) = admin_access(admin_token)?;
        announce_admin(settings, entrance.addresses(), token)?;
        let checkpoints = match &keeper {
            StoreKeeper::Rocks(store) => {
                Some(Arc::new(StoreCheckpoints::new(store.probe(), &settings.data_dir)) as Arc<dyn Checkpoints>)
            }
            StoreKeeper::Cluster { .. } => None,
        };
        let operators = AdminTokens::new(lock);
        let tokens_file = settings.admin_tokens_file.clone();
        operators.list(admin_tokens::read(&tokens_file)?);
        let watch = {
            let (file, operators) = (tokens_file.clone(), operators.clone());
            AbortOnDropHandle::new(tokio::spawn(async move { admin_tokens::watch(&file, &operators).await }))
        };
        let api = Api {
            admin: bridge.admin(),
            chat: bridge.chat(),
            registration: bridge.registration(),
            tokens_of_operators: operators.clone(),
            audit: audit.clone(),
            tokens,
            time,
            lead,
            check: check(bridge.health(), doors),
            checkpoints,
            reload,
            metrics: metrics.http.get_or_init(Arc::default).clone(),
            body_bytes_max: settings.limits.body_bytes_max as usize,
        };
        let Routers { all, of_users } = http::routers(api);
        let entrance = entrance.open(settings, all, &metrics);
        let operators = OperatorTokens { file: tokens_file, tokens: operators, _watch: watch };
        Ok(Self { bridge, keeper, entrance, consumers, media, audit, of_users, file_origin, operators })
    }

    /// What users do over HTTP, for another listener.
    pub(super) fn of_users(&self) -> Router {
        self.of_users.clone()
    }

    /// Where links to files lead, as an origin: `https://media.example.org`. `None`: there are no files.
    pub(super) fn file_origin(&self) -> Option<&str> {
        self.file_origin.as_deref()
    }

    /// Where its HTTP API is.
    pub(super) fn http(&self) -> WebAddresses {
        self.entrance.addresses
    }

    /// Where the embedded object store is.
    pub(super) fn media(&self) -> Option<WebAddresses> {
        self.media.as_ref().map(|media| media.addresses)
    }

    /// Whoever rotates logs or renews certificates has done so.
    pub(super) fn read_files_again(&self) {
        self.audit.reopen();
        admin_tokens::take_up(&self.operators.file, &self.operators.tokens);
        if let Some(tls) = &self.entrance.tls {
            tls.reload();
        }
    }

    /// Ends at once what uses the store, which has failed.
    pub(super) async fn abandon(self) {
        let Self { bridge, keeper, entrance, .. } = self;
        entrance.abort().await;
        if tokio::time::timeout(ABANDONED_WITHIN, bridge.stop(Duration::ZERO)).await.is_err() {
            tracing::warn!("the store does not answer");
        }
        drop(keeper);
    }

    /// Resolves when one of its parts has ended.
    pub(super) async fn failed(&mut self) -> PartFailure {
        let Self { bridge, keeper, entrance, media, consumers, .. } = self;
        let media = async {
            match media {
                Some(media) => media.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // It fails the store too.
            why = keeper.lost() => PartFailure::Lead(why),
            error = bridge.failed() => keeper.judge(error).await,
            () = entrance.ended() => PartFailure::Part(anyhow!("the HTTP listener ended")),
            () = media => PartFailure::Part(anyhow!("the embedded object store ended")),
            Some(_) = consumers.join_next() => PartFailure::Part(anyhow!("a consumer of events ended")),
        }
    }

    pub(super) async fn stop(mut self, until: Instant) {
        self.entrance.stop(until).await;
        // The bridge may wait for it.
        self.bridge.stop(left(until)).await;
        let told = async { while self.consumers.join_next().await.is_some() {} };
        if tokio::time::timeout_at(until, told).await.is_err() {
            tracing::warn!("the last events were cut off by shutdown.deadline_s");
        }
        if let Some(media) = self.media {
            media.stop(until).await;
        }
        if tokio::time::timeout_at(until, self.audit.flush()).await.is_err() {
            tracing::warn!("the last of the audit was cut off by shutdown.deadline_s");
        }
        self.keeper.let_go().await;
    }
}

pub(super) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
