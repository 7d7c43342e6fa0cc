//! What waits for a user's devices and is kept nowhere else: for an export of the user's data.

use std::collections::BTreeMap;

use godwit_core::entry::Entry;
use godwit_core::retention::{History, Retention};
use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, UserId};

use super::Lane;
use super::account::{NO_DEVICE, Refused};
use super::deliver::fetch_bodies;
use crate::store::{Row, Store, StoreError, Table, keys};

/// Entries looked at for one page, and about how many bytes of them.
const ROWS: usize = 100;
const BYTES: usize = 1 << 20;

impl<S: Store, B: Bus> Lane<S, B> {
    /// A page of what waits in a device's inbox above `after`, but for conversations that keep history. `next` is where the
    /// next page begins; 0: there is none.
    pub(super) async fn list_waiting(
        &mut self,
        user: &UserId,
        device: &str,
        after: Order,
    ) -> Result<Result<client::Response, Refused>, StoreError> {
        let record = self.user_record(user).await?.unwrap_or_default();
        let Some(device) = record.devices.iter().find(|it| it.name == device) else { return Ok(Err(NO_DEVICE)) };
        let (from, to) = keys::inbox_after(DeviceId::new(device.id), after);
        let rows = self.store.scan(Table::Inbox, &from, &to, ROWS, BYTES).await?;
        let next = rows.last().and_then(|(key, _)| keys::parse_order(key)).unwrap_or_default();
        let entry = |(key, value): Row| Some((keys::parse_order(&key)?, Entry::decode(value).ok()?, false));
        let mut entries: Vec<(Order, Entry, bool)> = rows.into_iter().filter_map(entry).collect();
        let remembered = self.keep_history(&entries).await?;
        entries.retain(|(_, entry, _)| !remembered.get(&entry.conversation).is_some_and(|keeps| *keeps));
        fetch_bodies(&self.store, &mut entries).await?;
        // A reference by now: the body has just expired.
        let whole = entries.iter().map(|(_, entry, _)| entry).filter(|entry| !entry.is_reference());
        let events = whole.filter_map(|entry| entry.seen(self.now_s));
        let history = events.map(|event| client::Event { event: Some(event) }).collect();
        Ok(Ok(client::Response { history, next: next.get(), ..Default::default() }))
    }

    /// Which conversations of these entries keep history.
    async fn keep_history(
        &mut self,
        entries: &[(Order, Entry, bool)],
    ) -> Result<BTreeMap<ConversationId, bool>, StoreError> {
        let mut ids: Vec<_> = entries.iter().map(|(_, entry, _)| entry.conversation).collect();
        ids.sort_unstable();
        ids.dedup();
        let found = self.stored(&ids).await?;
        let retentions = found.into_iter().map(|it| it.map_or_else(Retention::default, |it| it.retention));
        let server = self.rules.history;
        let keeps = retentions.map(|retention| retention.history(server) != History::None);
        Ok(ids.into_iter().zip(keeps).collect())
    }
}
