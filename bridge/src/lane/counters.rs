//! The numbers that a start of the bridge goes on from, as they are in the store.

use bytes::Bytes;
use godwit_core::outbox::{Item, Outside};
use godwit_core::usage::InboxUsage;
use godwit_schemas::ids::{DeviceId, Order};

use crate::origin::StoreOrigin;
use crate::phone::PhoneNames;
use crate::writes;
use godwit_store::{Durability, Row, Store, StoreError, Table, keys};

/// Numbers given so far, as stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredCounters {
    /// The last conversation of each partition.
    pub(crate) conversations: Vec<u64>,
    /// The last device of each partition.
    pub(crate) devices: Vec<u64>,
    pub(crate) last_order: Order,
    /// Of this bridge, the one under way counted.
    pub(crate) starts: u64,
    /// Whose numbers these are.
    pub(crate) origin: StoreOrigin,
    /// Made once for ever.
    pub(crate) phone_names: PhoneNames,
    /// What waits in inboxes that have much.
    pub(crate) backlogs: Vec<(DeviceId, InboxUsage)>,
    /// What partitions have sent to each other and not taken in, in order for each link.
    pub(crate) outside: Vec<Outside>,
}

impl StoredCounters {
    /// Reads them, and counts this start. Durable when it returns.
    pub(crate) async fn begin<S: Store>(store: &S) -> Result<Self, StoreError> {
        let origin = StoreOrigin::read(store).await?.unwrap_or_default();
        let found = store.multi_get(&[keys::last_order(), keys::starts()]).await?;
        let mut found = found.into_iter().map(|value| value.as_deref().and_then(keys::parse_counter).unwrap_or(0));
        let last_order = origin.floor.raise_order(Order::new(found.next().unwrap_or(0)));
        let starts = found.next().unwrap_or(0) + 1;
        store.commit(vec![writes::set(keys::starts(), Some(writes::counter(starts)))], Durability::Synced).await?;
        Ok(Self {
            conversations: counters(store, Table::Conversations, &origin).await?,
            devices: counters(store, Table::Directory, &origin).await?,
            last_order,
            starts,
            origin,
            phone_names: phone_names(store).await?,
            backlogs: backlogs(store).await?,
            outside: outside(store).await?,
        })
    }
}

/// The last number that each partition gave, to a conversation or a device by the table.
async fn counters<S: Store>(store: &S, table: Table, origin: &StoreOrigin) -> Result<Vec<u64>, StoreError> {
    let mut numbers = vec![origin.floor.in_partition(origin.partitions); origin.partitions.get() as usize];
    let mut pages = store.pages(table, keys::counters(), 1_000);
    while let Some(rows) = pages.next().await? {
        let parsed = |(key, value): &Row| Some((keys::parse_counted(key)?, keys::parse_counter(value)?));
        for (partition, stored) in rows.iter().filter_map(parsed) {
            if let Some(number) = numbers.get_mut(usize::from(partition.get())) {
                *number = stored.max(*number);
            }
        }
    }
    Ok(numbers)
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

async fn outside<S: Store>(store: &S) -> Result<Vec<Outside>, StoreError> {
    let mut pages = store.pages(Table::Directory, keys::outbox_items(), 1_000);
    let mut found = Vec::new();
    while let Some(rows) = pages.next().await? {
        for (key, value) in &rows {
            let unknown = || StoreError {
                doing: "read what partitions have sent to each other",
                cause: "something is there that this program does not know".to_owned(),
            };
            let ((link, number), item) = keys::parse_outbox_item(key).zip(Item::decode(value)).ok_or_else(unknown)?;
            found.push(Outside { link, number, item });
        }
    }
    Ok(found)
}
