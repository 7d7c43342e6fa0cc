//! The server stops: everything under way gets on disk first.

use std::sync::Arc;

use godwit_schemas::bus::Bus;

use crate::lane::Lane;
use crate::messages::Barrier;
use godwit_store::Store;

impl<S: Store, B: Bus> Lane<S, B> {
    pub(in crate::lane) fn drain(&mut self, barrier: Arc<Barrier>) {
        if self.round.draining.is_none() {
            self.presence.note_last_seen_of_all(&self.context, &mut self.round);
            self.connections.revocations.give_up_closing_all();
            if self.context.number == 0 {
                self.round.next.writes.extend(self.context.time.last_note());
            }
        }
        let holding = self.round.draining.get_or_insert_default();
        holding.push(barrier);
        self.connections.write_all_changed();
    }

    pub(in crate::lane) fn complete_drain(&mut self) {
        if self.round.sealed == self.round.confirmed
            && !self.has_work()
            && self.round.deferred_recalls.is_empty()
            && let Some(holding) = &mut self.round.draining
        {
            holding.clear();
        }
    }
}
