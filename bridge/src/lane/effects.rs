//! Step five: what is on disk is told.

use bytes::Bytes;
use godwit_core::command::HTTP;
use godwit_core::outcome::{Effect, EffectKind};
use godwit_schemas::bus::{self, Bus, down::Frame};
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceId, UserId};
use godwit_schemas::topic::Filters;

use super::Lane;
use super::deliver::owe;
use super::receipts::Receipt;
use crate::mail::{Committed, Done, Mail, Then, WhenAll};
use crate::store::{Store, StoreError};

impl<S: Store, B: Bus> Lane<S, B> {
    pub(super) async fn committed(&mut self, committed: Committed) -> Result<(), StoreError> {
        for effect in committed.effects {
            self.effect(effect).await?;
        }
        for wake in committed.wakes {
            self.wake(wake);
        }
        for done in committed.done {
            match done {
                Done::Subscribed(key, token) => self.edges.push(key, Frame::Subscribed(bus::Subscribed { token })),
                Done::Announce(user, then) => self.announce(&user, then),
                Done::Then(then) => then(),
                Done::Erased(devices, then) => {
                    devices.into_iter().for_each(|device| self.backlogs.forget(device));
                    then();
                }
            }
        }
        if let Some(ticket) = committed.ticket {
            self.confirmed = ticket;
            self.world.confirmed(ticket);
            self.look_back();
            self.let_pass();
            self.forget_the_departed();
            self.go_on_with_contacts().await?;
        }
        Ok(())
    }

    pub(super) async fn effect(&mut self, effect: Effect) -> Result<(), StoreError> {
        let device = effect.device;
        match effect.kind {
            EffectKind::Published { to, reason, text, conversation, sequence } if to.connection.edge == HTTP => {
                let (reason, text) = (reason.into(), text.to_owned());
                let (conversation, sequence) = (conversation.get(), sequence.get());
                self.tell_asker(to, client::Response { reason, text, conversation, sequence, ..Default::default() });
            }
            EffectKind::Responded { to: Some(to), response, .. } if to.connection.edge == HTTP => {
                self.tell_asker(to, *response);
            }
            EffectKind::Published { to, reason, text, conversation, sequence } => {
                self.answer(device, to, reason, text, (conversation, sequence));
                if let Some(session) = self.sessions.get_mut(&device) {
                    session.under_way = session.under_way.saturating_sub(1);
                    session.by_phone.take_if(|first| **first == to);
                    // A repetition of what has just been answered. Carried out, it could succeed where the first was
                    // refused, and the client was told so.
                    session.parked.retain(|it| it.key != to.connection || it.publish.number != to.number);
                }
                self.unpark(device).await?;
            }
            EffectKind::Responded { response, correlation, .. } => self.respond(device, &response, correlation),
            EffectKind::Tick { conversation, member, watermark } => {
                let receipt = Receipt { conversation, member, watermark };
                if self.sessions.get_mut(&device).is_some_and(|session| owe(session, receipt)) {
                    self.hand_out_receipts(device);
                    self.hunger(device);
                }
            }
            EffectKind::Live { conversation, payload } => self.go_live(device, conversation, payload),
            EffectKind::Settled { lowest, load } => self.settled(device, lowest, load),
            EffectKind::TakenBack(order, bytes) => self.taken_back(device, order, bytes),
            EffectKind::Forgotten(user) => self.forgotten(user).await?,
            EffectKind::Abandoned(conversation) => self.clear_history(conversation).await?,
        }
        Ok(())
    }

    /// What is going on, for a device that is there and listens.
    fn go_live(&mut self, device: DeviceId, conversation: ConversationId, payload: Bytes) {
        let Some(session) = self.sessions.get(&device).filter(|it| it.filters.contains(Filters::LIVE)) else { return };
        let Some(connection) = session.connection.as_ref() else { return };
        let conversation = conversation.get();
        let deliver =
            bus::Deliver { shape: bus::Shape::LiveSignal.into(), payload, conversation, ..Default::default() };
        self.edges.push(connection.key, Frame::Deliver(deliver));
    }

    /// Tells all lanes, this one included, that a user changed; `then` is called when all know.
    fn announce(&mut self, user: &UserId, then: Then) {
        let all = WhenAll::new(then);
        for (lane, mailbox) in (0..).zip(self.lanes.iter()) {
            if lane != self.number {
                let _ = mailbox.send(Mail::UserChanged(user.clone(), all.clone()));
            }
        }
    }
}
