//! A running bridge before a store that breaks.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use godwit_core::decide::Rules;
use godwit_core::retention::{History, Policy};
use godwit_schemas::bus::{Bus, LinkClosed, Rx, Tx};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_store::memory::MemoryStore;
use godwit_store::{ClockS, Durability, Row, Table, Write};

use super::*;
use crate::admin::AdminError;

/// Nobody is on it.
#[derive(Clone)]
pub(crate) struct Silence;

impl Bus for Silence {
    type Tx = Self;
    type Rx = Self;

    async fn open(&self, _name: &str, _topics: &[String]) -> Result<(Self, Self), LinkClosed> {
        Ok((Self, Self))
    }
}

impl Tx for Silence {
    async fn publish(&mut self, _topic: &str, _payload: Bytes) -> Result<(), LinkClosed> {
        Ok(())
    }
}

impl Rx for Silence {
    async fn next(&mut self) -> Result<Bytes, LinkClosed> {
        std::future::pending().await
    }

    fn try_next(&mut self) -> Option<Bytes> {
        None
    }
}

#[derive(Clone)]
struct Breaking {
    store: MemoryStore,
    /// Set when it breaks.
    how: Arc<OnceLock<fn() -> StoreError>>,
}

impl Store for Breaking {
    async fn multi_get(&self, keys: &[(Table, Vec<u8>)]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.store.multi_get(keys).await
    }

    async fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.store.scan(table, from, to, rows_max, bytes_max).await
    }

    async fn commit(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
        match self.how.get() {
            Some(how) => Err(how()),
            None => self.store.commit(writes, durability).await,
        }
    }
}

fn no_space() -> StoreError {
    StoreError { doing: "commit", cause: "no space left on device".to_owned() }
}

fn panics() -> StoreError {
    panic!("a bug")
}

pub(crate) fn settings() -> BridgeSettings {
    BridgeSettings {
        rules: Rules {
            body_bytes_max: 100,
            properties_bytes_max: 4_096,
            user_properties_max: 32,
            group_members_max: 10,
            conversations_per_user: 0,
            stranger_adds_per_day: 0,
            request_messages: 0,
            retention_s: 60,
            history: Policy::up_to(History::None),
            recall_window_s: 3_600,
            media_grace_s: 60,
            encryption: None,
        },
        lead: Default::default(),
        lanes: 2,
        window_messages: 10,
        unanswered_publishes_max: 128,
        window_bytes: 1_000,
        memory: Default::default(),
        devices_per_user_max: 3,
        inbox_entries: 100,
        inbox_bytes: 0,
        idle_device_days: 0,
        phone_lookups_per_day: 100,
        offline_after: Duration::from_secs(10),
        cached_per_lane: 10,
        media: None,
        registration: None,
        audit: Default::default(),
        tokens: None,
        push: None,
        encryption: None,
    }
}

#[tokio::test]
async fn a_store_failure_ends_the_bridge_without_acknowledgement() {
    let settings = settings();
    for (how, cause) in [(no_space as fn() -> StoreError, "no space left on device"), (panics, "it panicked")] {
        let clock: ClockS = Arc::new(|| 0);
        let store = Breaking { store: MemoryStore::new(clock.clone()), how: Arc::default() };
        let bridge = start(settings.clone(), store.clone(), clock, Silence, None).await.unwrap();
        store.how.set(how).unwrap();
        let (alice, phone) = (UserId::new("alice").unwrap(), DeviceName::new("phone").unwrap());
        let added = bridge.admin().add_user(alice, phone).await;
        assert!(matches!(added, Err(AdminError::ShuttingDown)), "{cause}");
        assert_eq!(bridge.failed().await.cause, cause);
        bridge.stop(Duration::from_millis(50)).await;
    }
}
