//! What waits in an inbox, page by page: for who takes over a phone number, and for an export of a user's data what is
//! kept nowhere else; or to be peeked at.

use std::collections::BTreeMap;

use bytes::Bytes;
use godwit_core::entry::Entry;
use godwit_core::refusal::{self, Refusal};
use godwit_core::retention::{History, Retention};
use godwit_core::stored::ConversationRecord;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, UserId};

use crate::lane::context::Context;
use crate::lane::delivery::entry::{fetch_bodies, readable};
use crate::lane::query::page::{AnswerRoom, PageBuilder, TooLarge};
use crate::lane::state::State;
use crate::messages::WaitingPage;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Table, keys};

/// Entries looked at for one page, and about how many bytes of them.
pub(in crate::lane) const ROWS: usize = 64;
pub(in crate::lane) const BYTES: usize = 256 << 10;

/// Which page of an inbox is wanted.
pub(in crate::lane) struct WaitingQuery {
    /// Name of one of the user's devices.
    pub(in crate::lane) device: String,
    pub(in crate::lane) after: Order,
    /// All that waits, for who takes so much in an answer; `None`: what is kept nowhere else.
    pub(in crate::lane) peeks: Option<AnswerRoom>,
}

impl State {
    /// A page of what waits in a device's inbox above `after`; unless it is peeked at, but for conversations that keep history.
    /// `next` is where the next page begins; 0: there is none.
    pub(in crate::lane) async fn list_waiting<S: Store>(
        &mut self,
        context: &Context<S>,
        user: &UserId,
        page: &WaitingQuery,
    ) -> Result<Result<client::Response, Refusal>, StoreError> {
        let record = self.user_record(context, user).await?.unwrap_or_default();
        let Some(device) = record.devices.iter().find(|it| it.name == page.device) else {
            return Ok(Err(refusal::NO_DEVICE));
        };
        let WaitingPage { now_s, mut entries, next } = context.waiting(DeviceId::new(device.id), page.after).await?;
        if let Some(room) = page.peeks {
            return Ok(peeked(room, now_s, entries, next));
        }
        let remembered = context.keep_history(&entries).await?;
        entries.retain(|(_, entry)| !remembered.get(&entry.conversation).is_some_and(|keeps| *keeps));
        let events = entries.iter().filter_map(|(_, entry)| entry.seen(now_s));
        let history = events.map(|event| client::Event { event: Some(event) }).collect();
        Ok(Ok(client::Response { history, next: next.unwrap_or_default().get(), ..Default::default() }))
    }
}

/// As many of the entries as fit into an answer.
fn peeked(
    room: AnswerRoom,
    now_s: u32,
    entries: Vec<(Order, Entry)>,
    mut next: Option<Order>,
) -> Result<client::Response, Refusal> {
    let (mut page, mut last) = (PageBuilder::new(room), None);
    for (order, entry) in entries {
        let Some(event) = entry.seen(now_s) else { continue };
        match page.take(client::Event { event: Some(event) }) {
            Ok(true) => last = Some(order),
            Ok(false) => {
                next = last;
                break;
            }
            Err(TooLarge) => return Err(refusal::ITEM_TOO_LARGE),
        }
    }
    let (history, next) = (page.into_items(), next.unwrap_or_default().get());
    Ok(client::Response { history, next, ..Default::default() })
}

impl<S: Store> Context<S> {
    /// A page of a device's inbox above `after`, without what is damaged or has just expired.
    pub(in crate::lane) async fn waiting(&self, device: DeviceId, after: Order) -> Result<WaitingPage, StoreError> {
        let (from, to) = keys::inbox_after(device, after);
        let rows = self.store.scan(Table::Inbox, &from, &to, ROWS, BYTES).await?;
        let (mut next, mut bytes) = (None, 0);
        let mut entries = Vec::with_capacity(rows.len());
        for (key, value) in rows {
            let Some(order) = keys::parse_order(&key) else { continue };
            next = Some(order);
            let Some(entry) = readable(device, order, value) else { continue };
            bytes += entry.content_len() as usize;
            entries.push((order, entry));
            // Bodies that are kept apart count, too.
            if bytes >= BYTES {
                break;
            }
        }
        fetch_bodies(&self.store, entries.iter_mut().map(|(_, entry)| entry)).await?;
        // A reference still: the body has gone before it.
        entries.retain(|(_, entry)| !entry.is_reference());
        Ok(WaitingPage { now_s: self.now_s, entries, next })
    }

    /// Which conversations of these entries keep history.
    async fn keep_history(&self, entries: &[(Order, Entry)]) -> Result<BTreeMap<ConversationId, bool>, StoreError> {
        let mut ids: Vec<_> = entries.iter().map(|(_, entry)| entry.conversation).collect();
        ids.sort_unstable();
        ids.dedup();
        let records = self.store.multi_get(&ids.iter().map(|id| keys::conversation(*id)).collect::<Vec<_>>()).await?;
        let keeps = |(id, record): (ConversationId, Option<Bytes>)| {
            let record = record.and_then(|value| decoded::<ConversationRecord>("conversation", &id, &value));
            let retention = record.and_then(|record| record.retention);
            (id, Retention::parse(&retention.unwrap_or_default()).history(self.rules.history) != History::None)
        };
        Ok(ids.into_iter().zip(records).map(keeps).collect())
    }
}
