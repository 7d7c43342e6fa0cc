//! The numbers that a start of the bridge goes on from, as they are in the store.

use bytes::Bytes;
use godwit_core::usage::InboxUsage;
use godwit_schemas::ids::{DeviceId, Order};
use godwit_schemas::partition::{PARTITIONS, Partition};

use crate::origin::StoreOrigin;
use crate::phone::PhoneNames;
use crate::writes;
use godwit_store::{Durability, Row, Store, StoreError, Table, keys};

/// Numbers given so far, as stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredCounters {
    pub(crate) conversations: [u64; PARTITIONS as usize],
    pub(crate) devices: [u64; PARTITIONS as usize],
    pub(crate) last_order: Order,
    /// Of this bridge, the one under way counted.
    pub(crate) starts: u64,
    /// Whose numbers these are.
    pub(crate) origin: StoreOrigin,
    /// Made once for ever.
    pub(crate) phone_names: PhoneNames,
    /// What waits in inboxes that have much.
    pub(crate) backlogs: Vec<(DeviceId, InboxUsage)>,
}

impl StoredCounters {
    /// Reads them, and counts this start. Durable when it returns.
    pub(crate) async fn begin<S: Store>(store: &S) -> Result<Self, StoreError> {
        let counters = async |key: fn(Partition) -> keys::StoreKey| {
            let keys: Vec<_> = Partition::all().map(key).collect();
            let found = store.multi_get(&keys).await?;
            let mut numbers = [0; PARTITIONS as usize];
            for (number, value) in numbers.iter_mut().zip(found) {
                *number = value.as_deref().and_then(keys::parse_counter).unwrap_or(0);
            }
            Ok::<_, StoreError>(numbers)
        };
        let origin = StoreOrigin::read(store).await?.unwrap_or_default();
        let found = store.multi_get(&[keys::last_order(), keys::starts()]).await?;
        let mut found = found.into_iter().map(|value| value.as_deref().and_then(keys::parse_counter).unwrap_or(0));
        let last_order = origin.floor.raise_order(Order::new(found.next().unwrap_or(0)));
        let starts = found.next().unwrap_or(0) + 1;
        store.commit(vec![writes::set(keys::starts(), Some(writes::counter(starts)))], Durability::Synced).await?;
        Ok(Self {
            conversations: counters(keys::conversation_counter).await?,
            devices: counters(keys::device_counter).await?.map(|last| origin.floor.raise(last)),
            last_order,
            starts,
            origin,
            phone_names: phone_names(store).await?,
            backlogs: backlogs(store).await?,
        })
    }
}

pub(in crate::lane) async fn phone_names<S: Store>(store: &S) -> Result<PhoneNames, StoreError> {
    let stored = store.multi_get(&[keys::phone_secret()]).await?.pop().flatten();
    if let Some(secret) = stored.as_deref().and_then(|value| value.try_into().ok()) {
        return Ok(PhoneNames::new(secret));
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| StoreError { doing: "draw random bits", cause: error.to_string() })?;
    let write = writes::set(keys::phone_secret(), Some(Bytes::copy_from_slice(&secret)));
    store.commit(vec![write], Durability::Synced).await?;
    Ok(PhoneNames::new(secret))
}

pub(in crate::lane) async fn backlogs<S: Store>(store: &S) -> Result<Vec<(DeviceId, InboxUsage)>, StoreError> {
    let mut pages = store.pages(Table::Directory, keys::backlogs(), 1_000);
    let mut found = Vec::new();
    while let Some(rows) = pages.next().await? {
        let parsed = |(key, value): &Row| Some((keys::parse_backlog(key)?, keys::parse_load(value)?));
        found.extend(rows.iter().filter_map(parsed));
    }
    Ok(found)
}
