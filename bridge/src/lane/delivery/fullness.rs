//! Lanes and the operator are told how full inboxes are; filled inboxes of devices that are not connected are counted anew.

use godwit_core::entry::Entry;
use godwit_core::stored::SessionRecord;
use godwit_core::usage::InboxUsage;
use godwit_schemas::ids::{DeviceId, Order};
use tracing::warn;

use crate::lane::connection::Connections;
use crate::lane::context::Context;
use crate::lane::delivery::Deliveries;
use crate::lane::delivery::backlog::Recount;
use crate::lane::round::Round;
use crate::messages::LaneMessage;
use crate::writes;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Table, Write, keys};

/// Entries of an inbox that are counted at a time...
const RECOUNT_ROWS: usize = 500;
/// ...and about how many bytes are read for it.
const RECOUNT_BYTES: usize = 1 << 20;

impl Deliveries {
    /// Tells the lanes how full inboxes have become, and the operator which take nothing more; that is kept for their users.
    pub(in crate::lane) fn tell_of_fullness<S: Store>(
        &mut self,
        context: &Context<S>,
        connections: &Connections,
        round: &mut Round,
    ) {
        for (device, fullness) in self.backlogs.take_turned() {
            for mailbox in context.lanes.iter() {
                // A lane that is gone: the server is ending.
                let _ = mailbox.send(LaneMessage::Fullness(device, fullness));
            }
        }
        for device in std::mem::take(&mut self.backlogs.newly_full) {
            let user = connections.sessions.get(&device).map(|session| session.user.as_str());
            warn!(%device, user, "an inbox is full (limits.inbox_entries, limits.inbox_bytes): its device is left out");
            let since = writes::counter(context.now_s.into());
            round.write(writes::set(keys::full_since(device), Some(since)));
        }
    }

    pub(in crate::lane) fn write_backlogs(&mut self, out: &mut Vec<Write>) {
        for (device, load) in self.backlogs.take_unwritten() {
            out.push(writes::set(keys::backlog(device), load.map(keys::load)));
        }
    }

    /// Counts on in the filled inboxes of devices that are not connected.
    pub(in crate::lane) async fn recount<S: Store>(
        &mut self,
        context: &Context<S>,
        connections: &Connections,
    ) -> Result<(), StoreError> {
        if !self.recount.under_way {
            let next = self.backlogs.next_filled(self.recount.device);
            let Some(device) = next.or_else(|| self.backlogs.next_filled(DeviceId::default())) else { return Ok(()) };
            let stored = context.store.multi_get(&[keys::session(device)]).await?.pop().flatten();
            let record = stored.and_then(|value| decoded::<SessionRecord>("session", &device, &value));
            let counted = Order::new(record.map_or(0, |record| record.low.saturating_sub(1)));
            self.recount = Recount { device, counted, load: InboxUsage::default(), under_way: true };
        }
        let Recount { device, counted, .. } = self.recount;
        // A connected device is measured when it has caught up.
        self.recount.under_way = connections.sessions.get(&device).is_none_or(|session| session.connection.is_none());
        if !self.recount.under_way {
            return Ok(());
        }
        let (from, to) = keys::inbox_after(device, counted);
        let rows = context.store.scan(Table::Inbox, &from, &to, RECOUNT_ROWS, RECOUNT_BYTES).await?;
        let bytes = rows.iter().map(|(_, value)| value.len()).sum::<usize>();
        for (_, value) in &rows {
            let bytes = Entry::decode(value.clone()).map_or(0, |entry| entry.content_len());
            self.recount.load = self.recount.load + InboxUsage::of(bytes);
        }
        if let Some(order) = rows.last().and_then(|(key, _)| keys::parse_order(key)) {
            self.recount.counted = order;
        }
        if rows.len() < RECOUNT_ROWS && bytes < RECOUNT_BYTES {
            self.recount.under_way = false;
            self.backlogs.measured(device, self.recount.load, self.recount.counted);
        }
        Ok(())
    }
}
