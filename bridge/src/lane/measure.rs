//! How much there is in a lane's queues, said once in a tick. What it costs does not grow with users or devices.

use godwit_schemas::bus::Bus;
use godwit_store::Store;

use crate::lane::Lane;

impl<S: Store, B: Bus> Lane<S, B> {
    /// Sets the gauges of this lane.
    pub(in crate::lane) fn measure(&self) {
        let metrics = self.context.metrics();
        metrics.mailbox.set_len(self.input.mailbox.len());
        metrics.sessions.set_len(self.connections.sessions.len());
        metrics.connections.set_len(self.connections.count());
        metrics.turns.set_len(self.requests.turns.len());
        metrics.http_requests.set_len(self.requests.awaited());
        metrics.outside.set(self.exchange.outside());
        metrics.presence_changes.set_len(self.presence.waiting());
        let (reads, stalled) = self.delivery.waiting();
        metrics.reads_waiting.set_len(reads);
        metrics.stalled.set_len(stalled);
        let (edges, bytes) = self.edges.waiting();
        metrics.edges.set_len(edges);
        metrics.edge_bytes.set_len(bytes);
        let (total, inboxes) = self.delivery.backlogs.total();
        metrics.inboxes.set_len(inboxes);
        metrics.inbox_entries.set(total.entries);
        metrics.inbox_bytes.set(total.bytes);
        let (full, half_full) = self.delivery.backlogs.filled();
        metrics.full_inboxes.set_len(full);
        metrics.half_full_inboxes.set_len(half_full);
    }
}
