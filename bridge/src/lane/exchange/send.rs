//! The sending side: items become rows of the commit that sends them, and rows of the outbox go when they are taken in.

use godwit_core::outbox::{Link, Outgoing, Outside};
use godwit_core::outcome::{Effect, EffectKind};
use godwit_schemas::bus::Bus;

use crate::lane::Lane;
use crate::lane::exchange::{Exchange, Parked};
use crate::messages::{Commit, LaneMessage};
use crate::writes;
use godwit_store::{Store, StoreError, keys};

impl<S: Store, B: Bus> Lane<S, B> {
    /// Everything that was outside when the bridge started is told to the lanes that take it in.
    pub(in crate::lane) fn send_what_was_left(&mut self) {
        for outside in std::mem::take(&mut self.exchange.left) {
            let lane = self.context.owner(outside.link.to);
            self.context.send(lane, LaneMessage::Effects(vec![EffectKind::Arrived(outside)]));
        }
    }

    /// Puts what is to be sent into the commit. `decided`: by its commands.
    pub(in crate::lane) async fn send_out(
        &mut self,
        decided: Vec<Outgoing>,
        commit: &mut Commit,
    ) -> Result<(), StoreError> {
        let mut outgoing = std::mem::take(&mut self.exchange.unsent);
        outgoing.extend(decided);
        for Outgoing { link, item } in outgoing {
            if item.is_rows() && self.exchange.outbox.is_clear(link) {
                writes::take_in(item, commit);
                continue;
            }
            // While something is outside, the outbox knows which number was the last.
            let last = match self.exchange.outbox.is_clear(link) {
                true => self.context.stored_number(keys::outbox_counter(link)).await?,
                false => 0,
            };
            let number = self.exchange.outbox.send(link, last);
            commit.writes.push(writes::set(keys::outbox_item(link, number), Some(item.encode().into())));
            commit.writes.push(writes::set(keys::outbox_counter(link), Some(writes::counter(number))));
            let kind = EffectKind::Arrived(Outside { link, number, item });
            commit.effects.push(Effect { partition: link.to, kind });
        }
        for (from, job) in std::mem::take(&mut self.exchange.parking) {
            let until = self.exchange.outbox.outside(from).collect();
            self.exchange.parked.push(Parked { until, job });
        }
        self.unpark_cleanups();
        Ok(())
    }

    /// What was sent on a link is taken in up to this number, and that is on disk.
    pub(in crate::lane) fn taken_in(&mut self, link: Link, up_to: u64) {
        let Exchange { outbox, parked, .. } = &mut self.exchange;
        for number in outbox.taken_in(link, up_to) {
            self.round.write(writes::set(keys::outbox_item(link, number), None));
        }
        for parked in parked.iter_mut() {
            if parked.until.get(&link).is_some_and(|until| *until <= up_to) {
                parked.until.remove(&link);
            }
        }
        self.unpark_cleanups();
    }

    /// Goes on with what waits for nothing any more.
    fn unpark_cleanups(&mut self) {
        for parked in self.exchange.parked.extract_if(.., |parked| parked.until.is_empty()) {
            self.requests.clear(parked.job);
        }
    }
}
