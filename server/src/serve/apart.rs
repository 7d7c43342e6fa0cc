//! The bus and the store of a bridge that runs apart from its brokers, whichever the settings choose. One type for each, so
//! that the lanes are compiled once for all of them, and once more for one process.

use bytes::Bytes;
use godwit_bridge::remote_bus::{self, RumqttcBus};
use godwit_bus::nats::{NatsBus, NatsRx, NatsTx};
use godwit_cluster::ClusterStore;
use godwit_schemas::bus::{Bus, LinkClosed, Rx, Tx};
use godwit_store::keys::StoreKey;
use godwit_store::rocks::RocksStore;
use godwit_store::{Durability, Row, Store, StoreError, Table, Write};

/// How a bridge reaches brokers in other processes.
#[derive(Clone)]
pub(super) enum ApartBus {
    /// Through the broker's service listener.
    Broker(RumqttcBus),
    Nats(NatsBus),
}

pub(super) enum ApartTx {
    Broker(remote_bus::RemoteTx),
    Nats(NatsTx),
}

pub(super) enum ApartRx {
    Broker(remote_bus::RemoteRx),
    Nats(NatsRx),
}

impl Bus for ApartBus {
    type Tx = ApartTx;
    type Rx = ApartRx;

    async fn open(&self, name: &str, topics: &[String]) -> Result<(ApartTx, ApartRx), LinkClosed> {
        match self {
            Self::Broker(bus) => {
                let (tx, rx) = bus.open(name, topics).await?;
                Ok((ApartTx::Broker(tx), ApartRx::Broker(rx)))
            }
            Self::Nats(bus) => {
                let (tx, rx) = bus.open(name, topics).await?;
                Ok((ApartTx::Nats(tx), ApartRx::Nats(rx)))
            }
        }
    }
}

impl Tx for ApartTx {
    async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), LinkClosed> {
        match self {
            Self::Broker(tx) => tx.publish(topic, payload).await,
            Self::Nats(tx) => tx.publish(topic, payload).await,
        }
    }
}

impl Rx for ApartRx {
    async fn next(&mut self) -> Result<Bytes, LinkClosed> {
        match self {
            Self::Broker(rx) => rx.next().await,
            Self::Nats(rx) => rx.next().await,
        }
    }

    fn try_next(&mut self) -> Option<Bytes> {
        match self {
            Self::Broker(rx) => rx.try_next(),
            Self::Nats(rx) => rx.try_next(),
        }
    }
}

/// Where a bridge keeps what it knows.
#[derive(Clone)]
pub(super) enum ApartStore {
    /// In its data folder.
    Rocks(RocksStore),
    /// In the cluster that it leads.
    Cluster(ClusterStore),
}

impl Store for ApartStore {
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
