//! The side that takes in: an item is carried out, and its link's cursor raised, in one commit. Keeps that each is taken in once.

use godwit_core::command::Command;
use godwit_core::intake::Arrival;
use godwit_core::membership_count::Membership;
use godwit_core::outbox::{Item, Link, Outside};
use godwit_core::outcome::{Effect, EffectKind};
use godwit_schemas::bus::Bus;
use tracing::warn;

use crate::lane::Lane;
use crate::lane::exchange::LINKS;
use crate::messages::LaneMessage;
use crate::writes;
use godwit_store::{Store, StoreError, keys};

impl<S: Store, B: Bus> Lane<S, B> {
    /// An item is outside that is for a partition of this lane. It may have come before.
    pub(in crate::lane) async fn arrived(&mut self, outside: Outside) -> Result<(), StoreError> {
        let (link, number) = (outside.link, outside.number);
        if !self.exchange.intake.knows(link) {
            let cursor = self.context.stored_number(keys::intake_cursor(link)).await?;
            self.exchange.intake.insert(link, cursor);
        }
        match self.exchange.intake.arrived(outside) {
            Arrival::Queued => self.take_in(link).await?,
            Arrival::TakenIn => {
                let taken_in = LaneMessage::Effects(vec![EffectKind::TakenIn(link, number)]);
                self.context.send(self.context.owner(link.from), taken_in);
            }
            Arrival::Known => {}
            // Within one process nothing is lost on the way.
            Arrival::Early => warn!(?link, number, "something that was sent before has not come"),
        }
        Ok(())
    }

    /// Carries out what waits on a link, up to an item that has to wait for something else.
    pub(in crate::lane) async fn take_in(&mut self, link: Link) -> Result<(), StoreError> {
        while let Some(Outside { item, .. }) = self.exchange.intake.next(link) {
            if !self.carry_out_item(link, item).await? {
                return Ok(());
            }
            self.is_carried_out(link);
        }
        Ok(())
    }

    /// False: it waits, and whoever carries it out calls [`Self::is_carried_out`], and [`Self::take_in`] again.
    async fn carry_out_item(&mut self, link: Link, item: Item) -> Result<bool, StoreError> {
        match item {
            Item::Membership(user, conversation, membership) => {
                // It was removed while this was outside, and has left only those conversations that it knew of.
                if membership != Membership::Ended && self.state.user_record(&self.context, &user).await?.is_none() {
                    self.exchange.send(link.back(), Item::Forget { user: user.clone(), conversation });
                }
                self.round.take_in(Item::Membership(user, conversation, membership));
            }
            Item::Watch { contact, by, begins } => {
                if begins && self.state.user_record(&self.context, &contact).await?.is_none() {
                    // It was removed while this was outside, and those who watch it were told before.
                    self.exchange.send(link.back(), Item::ContactGone { user: by, contact });
                } else {
                    self.round.take_in(Item::Watch { contact, by, begins });
                }
            }
            Item::ContactGone { user, contact } => return self.contact_gone(user, contact, Some(link)).await,
            Item::Forget { user, conversation } => {
                self.round.queue(&mut self.requests.turns, Command::Forget { user, conversation });
            }
            Item::Released { device, conversation, apart } => {
                let command = Command::Released { device, conversation, apart };
                self.round.queue(&mut self.requests.turns, command);
            }
        }
        Ok(true)
    }

    /// The next commit carries out the item that is under way on this link: the same commit raises the cursor.
    pub(in crate::lane) fn is_carried_out(&mut self, link: Link) {
        let cursor = self.exchange.intake.done(link, self.round.next_ticket());
        self.round.write(writes::set(keys::intake_cursor(link), Some(writes::counter(cursor))));
        self.round.tell(Effect { partition: link.from, kind: EffectKind::TakenIn(link, cursor) });
        // Whoever sent it may wait.
        self.round.hasten();
        self.exchange.intake.trim(LINKS, self.round.confirmed());
    }
}
