//! A server that forgets everything when it is dropped, and whoever comes to it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use godwit_bridge::admin::Admin;
use godwit_bridge::audit::Audit;
use godwit_bridge::decide::Rules;
use godwit_bridge::retention::{History, Policy};
use godwit_bridge::{BridgeSettings, assemble};
use godwit_broker::EmbeddedBroker;
use godwit_broker::token::TokenClaims;
use godwit_bus::local::LocalBus;
use godwit_http::{self as http, AdminToken, AdminTokens, Api, Reloaded, Routers, SettingsReload};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_store::ClockS;
use godwit_store::memory::MemoryStore;
use godwit_test_mqtt::Version;
use godwit_test_mqtt::encode::{self, Connect, Publish};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub(crate) const EDGE: u64 = 77;
pub(crate) const TOKEN: &str = "the administrator's token";
const NOW_S: u32 = 1_000_000_000;
/// More than anything takes.
const AGES: Duration = Duration::from_secs(3_600);

pub(crate) struct Server {
    doors: EmbeddedBroker,
    pub(crate) bus: LocalBus,
    pub(crate) api: Router,
    admin: Admin,
    /// Of Alice's phone.
    password: String,
    /// Ended with it.
    _running: JoinSet<()>,
}

fn settings() -> BridgeSettings {
    BridgeSettings {
        rules: Rules {
            body_bytes_max: 1_000,
            properties_bytes_max: 4_096,
            user_properties_max: 32,
            group_members_max: 4,
            conversations_per_user: 10,
            stranger_adds_per_day: 0,
            request_messages: 0,
            retention_s: 3_600,
            history: Policy::up_to(History::None),
            recall_window_s: 60,
            media_grace_s: 60,
            encryption: None,
        },
        lead: Default::default(),
        lanes: 1,
        window_messages: 4,
        window_bytes: 2_000,
        memory: Default::default(),
        devices_per_user_max: 4,
        unanswered_publishes_max: 128,
        inbox_entries: 10_000,
        inbox_bytes: 10 << 20,
        idle_device_days: 0,
        phone_lookups_per_day: 1_000,
        offline_after: Duration::from_secs(1),
        cached_per_lane: 100,
        media: None,
        registration: None,
        audit: Audit::default(),
        tokens: None,
        push: None,
        encryption: None,
    }
}

impl Server {
    /// Alice and Bob have an account.
    #[expect(clippy::expect_used, reason = "a store in memory does not fail")]
    pub(crate) async fn start() -> Self {
        let bus = LocalBus::default();
        let clock: ClockS = Arc::new(|| NOW_S);
        let store = MemoryStore::new(clock.clone());
        let bridge = assemble(settings(), store, clock.clone(), bus.clone(), 7, None).await.expect("a bridge");
        let (admin, chat) = (bridge.admin(), bridge.chat());
        let mut running = JoinSet::new();
        for task in bridge.into_tasks() {
            running.spawn(async move { task.await.expect("it does not fail") });
        }
        let claims = TokenClaims { user: "sub".to_owned(), device: "device".to_owned() };
        let doors =
            EmbeddedBroker::new(EDGE, godwit_broker::BrokerSettings { tokens: Some(claims), ..Default::default() });
        running.spawn(doors.clone().run(bus.clone()));
        let password = add(&admin, "alice").await.expect("there is room");
        add(&admin, "bob").await.expect("there is room");
        let Routers { all: api, .. } = http::routers(Api {
            lead: Default::default(),
            admin: admin.clone(),
            chat,
            registration: None,
            tokens_of_operators: AdminTokens::new(AdminToken::new(TOKEN)),
            audit: Audit::default(),
            tokens: None,
            time: clock.into(),
            check: Arc::new(|| Box::pin(std::future::ready(Ok(())))),
            checkpoints: None,
            reload: Arc::new(Unchanged),
            metrics: Arc::default(),
            body_bytes_max: 1_000,
        });
        Self { doors, bus, api, admin, password, _running: running }
    }

    /// A CONNECT of Alice's phone.
    pub(crate) fn connect(&self, level: u8) -> Vec<u8> {
        connect("alice", &self.password, level)
    }

    /// Serves a client until it is gone.
    pub(crate) async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        assert!(timeout(AGES, self.doors.clone().serve(stream)).await.is_ok(), "a connection does not end");
    }

    /// Until nothing is left to be done at once.
    pub(crate) async fn is_idle(&self) {
        sleep(Duration::from_millis(10)).await;
    }

    /// Somebody who comes now can write to somebody.
    pub(crate) async fn serves_others(&self) {
        // Names that nobody has taken meanwhile.
        let mut names = (0..100).map(|n| format!("u{n}"));
        let (from, password) = loop {
            let Some(name) = names.next() else { return };
            if let Some(password) = add(&self.admin, &name).await {
                break (name, password);
            }
        };
        let topic = format!("to/{from}");
        let mut bytes = connect(&from, &password, 4);
        let publish =
            Publish { version: Version::V4, flags: 2, topic: topic.as_bytes(), packet_id: 7, properties: &[] };
        encode::publish(&mut bytes, &publish, b"hey");
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let (mut reads, mut writes) = tokio::io::split(near);
        let mut answers = Vec::new();
        let talk = async {
            _ = writes.write_all(&bytes).await;
            // CONNACK, and PUBACK behind it.
            while !answers.ends_with(&STORED) && reads.read_buf(&mut answers).await.is_ok_and(|read| read > 0) {}
            drop((reads, writes));
        };
        let serve = self.doors.clone().serve(&mut far);
        let both = async { tokio::join!(serve, talk) };
        assert!(timeout(AGES, both).await.is_ok() && answers.ends_with(&STORED), "{answers:02X?}");
    }
}

/// PUBACK of packet 7.
const STORED: [u8; 4] = [0x40, 2, 0, 7];

/// A new user with a phone; returns its password.
async fn add(admin: &Admin, user: &str) -> Option<String> {
    let (user, device) = (UserId::new(user).ok()?, DeviceName::new("phone").ok()?);
    admin.add_user(user, device).await.ok().map(|it| it.password)
}

/// A CONNECT of a user's phone, of less than 128 bytes.
fn connect(user: &str, password: &str, level: u8) -> Vec<u8> {
    let login = Some((user, password));
    let connect = Connect { level, clean: true, keep_alive_s: 60, client_id: "phone", login, properties: &[] };
    encode::bytes(|out| encode::connect(out, &connect))
}

/// A client that says this, hangs up, and takes whatever is answered.
pub(crate) fn offer(bytes: Vec<u8>) -> DuplexStream {
    let (near, far) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        let (mut reads, mut writes) = tokio::io::split(near);
        let says = async {
            // It may be turned away in the middle.
            _ = writes.write_all(&bytes).await;
            _ = writes.shutdown().await;
        };
        let hears = async { tokio::io::copy(&mut reads, &mut tokio::io::sink()).await };
        _ = tokio::join!(says, hears);
    });
    far
}

/// Settings that never change.
struct Unchanged;

impl SettingsReload for Unchanged {
    fn reload(&self) -> Result<Reloaded, String> {
        Ok(Reloaded::default())
    }
}
