//! The bus and the store of a process, whichever its role and the settings choose. One type for each, so that doors and lanes are
//! compiled once.

use bytes::Bytes;
use godwit_bridge::remote_bus::{RemoteRx, RemoteTx, RumqttcBus};
use godwit_broker::router_bus::{RouterBus, RouterRx, RouterTx};
use godwit_bus::local::{LocalBus, LocalRx, LocalTx};
use godwit_bus::nats::{NatsBus, NatsRx, NatsTx};
use godwit_cluster::ClusterStore;
use godwit_schemas::bus::{Bus, LinkClosed, Rx, Tx};
use godwit_store::keys::StoreKey;
use godwit_store::rocks::RocksStore;
use godwit_store::{Durability, Row, Store, StoreError, Table, Write};

/// How edges and lanes reach each other.
#[derive(Clone)]
pub(crate) enum ChosenBus {
    /// In one process.
    Local(LocalBus),
    /// Through the broker's service listener: at the broker's side of it.
    Router(RouterBus),
    /// The same, at the bridge's side.
    Rumqttc(RumqttcBus),
    Nats(NatsBus),
}

pub(crate) enum ChosenTx {
    Local(LocalTx),
    Router(RouterTx),
    Rumqttc(RemoteTx),
    Nats(NatsTx),
}

pub(crate) enum ChosenRx {
    Local(LocalRx),
    Router(RouterRx),
    Rumqttc(RemoteRx),
    Nats(NatsRx),
}

impl Bus for ChosenBus {
    type Tx = ChosenTx;
    type Rx = ChosenRx;

    async fn open(&self, name: &str, topics: &[String]) -> Result<(ChosenTx, ChosenRx), LinkClosed> {
        Ok(match self {
            Self::Local(bus) => {
                let (tx, rx) = bus.open(name, topics).await?;
                (ChosenTx::Local(tx), ChosenRx::Local(rx))
            }
            Self::Router(bus) => {
                let (tx, rx) = bus.open(name, topics).await?;
                (ChosenTx::Router(tx), ChosenRx::Router(rx))
            }
            Self::Rumqttc(bus) => {
                let (tx, rx) = bus.open(name, topics).await?;
                (ChosenTx::Rumqttc(tx), ChosenRx::Rumqttc(rx))
            }
            Self::Nats(bus) => {
                let (tx, rx) = bus.open(name, topics).await?;
                (ChosenTx::Nats(tx), ChosenRx::Nats(rx))
            }
        })
    }
}

impl Tx for ChosenTx {
    async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), LinkClosed> {
        match self {
            Self::Local(tx) => tx.publish(topic, payload).await,
            Self::Router(tx) => tx.publish(topic, payload).await,
            Self::Rumqttc(tx) => tx.publish(topic, payload).await,
            Self::Nats(tx) => tx.publish(topic, payload).await,
        }
    }
}

impl Rx for ChosenRx {
    async fn next(&mut self) -> Result<Bytes, LinkClosed> {
        match self {
            Self::Local(rx) => rx.next().await,
            Self::Router(rx) => rx.next().await,
            Self::Rumqttc(rx) => rx.next().await,
            Self::Nats(rx) => rx.next().await,
        }
    }

    fn try_next(&mut self) -> Option<Bytes> {
        match self {
            Self::Local(rx) => rx.try_next(),
            Self::Router(rx) => rx.try_next(),
            Self::Rumqttc(rx) => rx.try_next(),
            Self::Nats(rx) => rx.try_next(),
        }
    }
}

/// Where a bridge keeps what it knows.
#[derive(Clone)]
pub(crate) enum ChosenStore {
    /// In its data folder.
    Rocks(RocksStore),
    /// In the cluster that it leads.
    Cluster(ClusterStore),
}

impl Store for ChosenStore {
    async fn multi_get(&self, keys: &[StoreKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        match self {
            Self::Rocks(store) => store.multi_get(keys).await,
            Self::Cluster(store) => store.multi_get(keys).await,
        }
    }

    async fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Rocks(store) => store.scan(table, from, to, rows_max, bytes_max).await,
            Self::Cluster(store) => store.scan(table, from, to, rows_max, bytes_max).await,
        }
    }

    async fn commit(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
        match self {
            Self::Rocks(store) => store.commit(writes, durability).await,
            Self::Cluster(store) => store.commit(writes, durability).await,
        }
    }

    async fn is_nearly_full(&self) -> bool {
        match self {
            Self::Rocks(store) => store.is_nearly_full().await,
            Self::Cluster(store) => store.is_nearly_full().await,
        }
    }
}
