//! What waits in an inbox, page by page: for who takes over a phone number, and for an export of a user's data what is
//! kept nowhere else.

use std::collections::BTreeMap;

use godwit_core::entry::Entry;
use godwit_core::retention::{History, Retention};
use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, UserId};

use super::Lane;
use super::account::{NO_DEVICE, Refused};
use super::deliver::{fetch_bodies, readable};
use crate::mail::Waiting;
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
        let Waiting { now_s, mut entries, next } = self.waiting(DeviceId::new(device.id), after).await?;
        let remembered = self.keep_history(&entries).await?;
        entries.retain(|(_, entry)| !remembered.get(&entry.conversation).is_some_and(|keeps| *keeps));
        let events = entries.iter().filter_map(|(_, entry)| entry.seen(now_s));
        let history = events.map(|event| client::Event { event: Some(event) }).collect();
        Ok(Ok(client::Response { history, next: next.unwrap_or_default().get(), ..Default::default() }))
    }

    /// A page of a device's inbox above `after`, without what is damaged or has just expired.
    pub(super) async fn waiting(&mut self, device: DeviceId, after: Order) -> Result<Waiting, StoreError> {
        let (from, to) = keys::inbox_after(device, after);
        let rows = self.store.scan(Table::Inbox, &from, &to, ROWS, BYTES).await?;
        let next = rows.last().and_then(|(key, _)| keys::parse_order(key));
        let entry = |(key, value): Row| {
            let order = keys::parse_order(&key)?;
            Some((order, readable(device, order, value)?))
        };
        let mut entries: Vec<_> = rows.into_iter().filter_map(entry).collect();
        fetch_bodies(&self.store, entries.iter_mut().map(|(_, entry)| entry)).await?;
        // A reference still: the body has gone before it.
        entries.retain(|(_, entry)| !entry.is_reference());
        Ok(Waiting { now_s: self.now_s, entries, next })
    }

    /// Which conversations of these entries keep history.
    async fn keep_history(&mut self, entries: &[(Order, Entry)]) -> Result<BTreeMap<ConversationId, bool>, StoreError> {
        let mut ids: Vec<_> = entries.iter().map(|(_, entry)| entry.conversation).collect();
        ids.sort_unstable();
        ids.dedup();
        let found = self.stored(&ids).await?;
        let retentions = found.into_iter().map(|it| it.map_or_else(Retention::default, |it| it.retention));
        let server = self.rules.history;
        let keeps = retentions.map(|retention| retention.history(server) != History::None);
        Ok(ids.into_iter().zip(keeps).collect())
    }
}
