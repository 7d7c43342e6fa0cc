//! The last step of a round: the committer says that a commit is on disk, and what it caused is told. Answers, deliveries and ticks
//! leave here and nowhere else. Keeps P1.

use bytes::Bytes;
use godwit_core::outcome::EffectKind;
use godwit_core::reply_to::ReplyTo;
use godwit_schemas::bus::{self, Bus, down::Frame};
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceId, Seq, UserId};
use godwit_schemas::topic::Filters;

use crate::lane::Lane;
use crate::lane::connection::Connections;
use crate::lane::context::Context;
use crate::lane::delivery::owe;
use crate::lane::delivery::receipts::Receipt;
use crate::lane::edges::Edges;
use crate::lane::publish::answer::PublishRefusal;
use crate::messages::{AfterCommit, Barrier, Committed, Continuation, LaneMessage};
use godwit_store::{Store, StoreError};

impl Connections {
    /// What is going on, for a device that is there and listens, and whose edge keeps up.
    fn go_live(&mut self, edges: &mut Edges, device: DeviceId, conversation: ConversationId, payload: Bytes) {
        let Some(session) = self.sessions.get(&device).filter(|it| it.filters.contains(Filters::LIVE)) else { return };
        let Some(connection) = session.connection.as_ref() else { return };
        if !edges.has_room(connection.key.edge) {
            return;
        }
        let conversation = conversation.get();
        let deliver =
            bus::Deliver { shape: bus::Shape::LiveSignal.into(), payload, conversation, ..Default::default() };
        edges.push(connection.key, Frame::Deliver(deliver));
    }
}

impl<S: Store> Context<S> {
    /// Tells all lanes, this one included, that a user changed; `then` is called when all know.
    fn announce(&self, user: &UserId, then: Continuation) {
        let all = Barrier::new(then);
        for (lane, mailbox) in (0..).zip(self.lanes.iter()) {
            if lane != self.number {
                let _ = mailbox.send(LaneMessage::UserChanged(user.clone(), all.clone()));
            }
        }
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    pub(in crate::lane) async fn committed(&mut self, committed: Committed) -> Result<(), StoreError> {
        for effect in committed.effects {
            self.effect(effect).await?;
        }
        self.context.metrics().entries.add_alone(committed.new_entries.len() as u64);
        for new in committed.new_entries {
            self.new_entry(new, committed.at);
        }
        self.delivery.announced_up_to(committed.last_order);
        for done in committed.done {
            match done {
                AfterCommit::Subscribed(key, token) => {
                    self.edges.push(key, Frame::Subscribed(bus::Subscribed { token }))
                }
                AfterCommit::Announce(user, then) => self.context.announce(&user, then),
                AfterCommit::Then(then) => then(),
                AfterCommit::Erased(devices, then) => {
                    devices.into_iter().for_each(|device| self.delivery.backlogs.forget(device));
                    then();
                }
            }
        }
        if let Some(ticket) = committed.ticket {
            self.round.confirmed = ticket;
            self.state.cache.confirmed(ticket);
            self.round.retry_deferred_recalls(&mut self.requests.turns);
            self.round.complete_barriers();
            self.connections.forget_the_departed(&self.round);
            self.go_on_with_contacts().await?;
            self.go_on_with_keys().await?;
        }
        Ok(())
    }

    pub(in crate::lane) async fn effect(&mut self, effect: EffectKind) -> Result<(), StoreError> {
        if let EffectKind::Published { reason, sequence, repeated, .. } = &effect {
            let metrics = self.context.metrics();
            metrics.messages.add_alone((reason.is_success() && sequence.is_some() && repeated.is_none()).into());
            metrics.repeats.add_alone(repeated.is_some().into());
        }
        match effect {
            EffectKind::Published {
                to: ReplyTo::Http(request),
                reason,
                text,
                conversation,
                sequence,
                repeated,
                mls_epoch,
            } => {
                let response = client::Response {
                    reason: reason.into(),
                    text: text.to_owned(),
                    conversation: conversation.map_or(0, ConversationId::get),
                    sequence: sequence.map_or(0, Seq::get),
                    repeated: repeated.is_some(),
                    last_client_sequence: repeated.unwrap_or(0),
                    mls_epoch,
                    ..Default::default()
                };
                self.requests.answer_http(request, response);
            }
            EffectKind::Responded { to: ReplyTo::Http(request), response, .. } => {
                self.requests.answer_http(request, *response);
            }
            EffectKind::Published {
                to: ReplyTo::Connection(device, to),
                reason,
                text,
                conversation,
                sequence,
                repeated,
                mls_epoch,
            } => {
                self.connections.answer_publish(
                    &mut self.edges,
                    device,
                    to,
                    PublishRefusal { reason, text, mls_epoch },
                    conversation.zip(sequence),
                    repeated,
                );
                if let Some(session) = self.connections.sessions.get_mut(&device) {
                    self.context.metrics().publishes.sub_alone(u64::from(session.under_way.min(1)));
                    session.under_way = session.under_way.saturating_sub(1);
                    session.by_phone.take_if(|first| **first == to);
                    // A repetition of what has just been answered. Carried out, it could succeed where the first was
                    // refused, and the client was told so.
                    session.parked.retain(|it| it.key != to.connection || it.publish.number != to.number);
                    session.calls.retain(|it| it.publish != to);
                }
                self.unpark(device).await?;
            }
            EffectKind::Responded { to: ReplyTo::Connection(device, _), response, correlation } => {
                self.responded(device, &response, correlation).await?
            }
            EffectKind::Tick { device, conversation, member, watermark } => {
                let receipt = Receipt { conversation, member, watermark };
                if self.connections.sessions.get_mut(&device).is_some_and(|session| owe(session, receipt)) {
                    self.delivery.hand_out_receipts(&mut self.connections, &mut self.edges, device);
                    self.delivery.schedule_read(&mut self.connections, device);
                }
            }
            EffectKind::Live { device, conversation, payload } => {
                self.connections.go_live(&mut self.edges, device, conversation, payload)
            }
            EffectKind::Settled { device, lowest, load } => {
                self.delivery.settled(&mut self.connections, device, lowest, load)
            }
            EffectKind::Recalled(device, order, bytes) => {
                self.context.pusher.taken_back(device, order);
                self.delivery.taken_back(&self.connections, device, order, bytes)
            }
            EffectKind::Forgotten(user) => self.forgotten(user).await?,
            EffectKind::Check(commit) => self.check_commit(commit).await?,
            EffectKind::Abandoned(conversation) => self.requests.clear_history(conversation),
            EffectKind::Arrived(outside) => self.arrived(outside).await?,
            EffectKind::TakenIn(link, up_to) => self.taken_in(link, up_to),
        }
        Ok(())
    }
}
