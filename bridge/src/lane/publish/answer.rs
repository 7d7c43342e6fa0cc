//! Answers to publishes, which the edge turns into PUBACK. Called when what a publish did is on disk, or when it is refused before
//! anything is done. Keeps P1.

use godwit_core::group::GroupInvite;
use godwit_core::keys::MessageKey;
use godwit_core::reply_to::PublishKey;
use godwit_core::retry::AppliedPublish;
use godwit_schemas::bus::{self, Bus, down::Frame};
use godwit_schemas::client::{self};
use godwit_schemas::ids::{ConversationId, DeviceId};
use godwit_schemas::reason::Reason;
use prost::Message;

use crate::lane::Lane;
use crate::lane::connection::Connections;
use crate::lane::edges::Edges;
use crate::lane::publish::request::PublishRequest;
use godwit_store::Store;

/// What an answer to a publish says of it: `Reason::SUCCESS`, or why it is refused.
pub(in crate::lane) struct PublishRefusal<'t> {
    pub(in crate::lane) reason: Reason,
    pub(in crate::lane) text: &'t str,
    /// See `EffectKind::Published`.
    pub(in crate::lane) mls_epoch: u64,
}

impl Connections {
    /// Answers a publish that has not been carried out.
    pub(in crate::lane) fn answer(
        &mut self,
        edges: &mut Edges,
        device: DeviceId,
        to: PublishKey,
        reason: Reason,
        text: &str,
    ) {
        self.answer_publish(edges, device, to, PublishRefusal { reason, text, mls_epoch: 0 }, None, None);
    }

    /// Answers a publish, if its connection is still there and waits for an answer. `place`: of the message that it sent.
    /// `repeated`: it was accepted before, see `EffectKind::Published`.
    pub(in crate::lane) fn answer_publish(
        &mut self,
        edges: &mut Edges,
        device: DeviceId,
        to: PublishKey,
        refusal: PublishRefusal<'_>,
        place: Option<MessageKey>,
        repeated: Option<u64>,
    ) {
        let PublishRefusal { reason, text, mls_epoch } = refusal;
        let Some(session) = self.sessions.get_mut(&device) else { return };
        let wants_events = session.filters.wants_events();
        let Some(connection) = session.connection(to.connection) else { return };
        // Who published with QoS 0 wants to hear nothing.
        if !reason.is_success() && to.packet_id.is_some() && connection.protocol == 4 && wants_events {
            edges.refuse_by_event(to, &refusal);
        }
        let published = bus::Published {
            number: to.number,
            reason: reason.into(),
            conversation: place.map_or(0, |(conversation, _)| conversation.get()),
            sequence: place.map_or(0, |(_, sequence)| sequence.get()),
            text: text.to_owned(),
            repeated_up_to: repeated,
            mls_epoch,
        };
        edges.push(to.connection, Frame::Published(published));
    }
}

impl Edges {
    /// MQTT 3.1.1 has no reason codes in PUBACK: an event says what it cannot.
    fn refuse_by_event(&mut self, to: PublishKey, refusal: &PublishRefusal<'_>) {
        let refusal = client::Refusal {
            packet_id: to.packet_id.map_or(0, |packet_id| packet_id.get().into()),
            reason: refusal.reason.into(),
            text: refusal.text.to_owned(),
            mls_epoch: refusal.mls_epoch,
        };
        let event = client::Event { event: Some(client::event::Event::Refusal(refusal)) };
        let deliver = bus::Deliver {
            shape: bus::Shape::Event.into(),
            payload: event.encode_to_vec().into(),
            ..Default::default()
        };
        self.push(to.connection, Frame::Deliver(deliver));
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// Answers a repetition as its first attempt was answered.
    pub(in crate::lane) fn answer_again(
        &mut self,
        device: DeviceId,
        request: &PublishRequest,
        to: PublishKey,
        done: &AppliedPublish,
    ) {
        let AppliedPublish { conversation, sequence, invite, by_client } = done;
        if let PublishRequest::Call { id, correlation, .. } = request {
            let invite = invite.as_ref().and_then(GroupInvite::from_record).zip(*conversation);
            let invites = invite.into_iter().map(|(invite, id)| invite.to_message(id, self.context.now_s)).collect();
            let conversation = conversation.map_or(0, ConversationId::get);
            let response = client::Response { id: *id, conversation, invites, ..Default::default() };
            self.delivery.respond(&mut self.connections, &mut self.edges, device, &response, correlation.clone());
        }
        // What the edge has sent twice the client has not.
        self.connections.answer_publish(
            &mut self.edges,
            device,
            to,
            PublishRefusal { reason: Reason::SUCCESS, text: "", mls_epoch: 0 },
            conversation.zip(*sequence),
            by_client.then_some(0),
        );
    }
}
