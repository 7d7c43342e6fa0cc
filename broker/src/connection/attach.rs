//! Attaching again. When a new generation of the stream to a lane begins, the lane is told of each connection: how far its deliveries
//! are, and with which credential it was accepted. The lane refuses a connection whose credential is void by now (bus.proto).
//!
//! [`crate::edge::Edge::attach_all`] calls [`MqttConnection::attach`] for all connections first, and then
//! [`MqttConnection::resend_unanswered`] for all. Frames that arise in between are kept for the second step.

use std::sync::Arc;

use godwit_schemas::bus;

use super::{MqttConnection, Phase};
use crate::context::EdgeContext;
use crate::lane_stream::LaneStream;

impl MqttConnection {
    /// First step: tells the lane of the connection. Does nothing if the connection belongs to another lane, is not logged in, or is
    /// attached in this generation already.
    pub(crate) fn attach(&mut self, context: &EdgeContext, lane: &Arc<LaneStream>, generation: u64) {
        let Some(client) = &self.client else { return };
        let is_mine = context.lane_of(&client.user).is_some_and(|owner| Arc::ptr_eq(&owner, lane));
        if !is_mine || self.generation == generation {
            return;
        }
        let mut has_room_again = false;
        let frame = match &self.phase {
            Phase::Authenticating(login) => login.frame.clone(),
            Phase::Connected => {
                let resume = bus::Resume {
                    cursor: self.deliveries.cursor(),
                    outstanding: self.deliveries.outstanding(),
                    filters: self.subscriptions.filters().bits(),
                    rank: self.rank,
                    ends_at_s: self.ends_at_s,
                    device: self.device,
                    fingerprint: self.fingerprint,
                    store_epoch: self.store_epoch,
                };
                // `outstanding` tells of them.
                drop(self.deliveries.take_acknowledged());
                has_room_again = self.publishes.forget_qos_0();
                bus::Connect { resume: Some(resume), ..self.connect_frame(client) }
            }
            Phase::AwaitingConnect | Phase::Throttled(..) | Phase::Queued(..) => return,
            // A lane that is not told of a connection takes it for closed.
            Phase::Disconnecting(..) | Phase::Closing | Phase::Closed => return,
        };
        self.lane = Some(lane.clone());
        self.generation = generation;
        self.attached = false;
        self.send_up(&frame);
        if has_room_again {
            self.mark();
            self.wake();
        }
    }

    /// Second step: sends the unanswered publishes, SUBSCRIBE and token again. From then on frames go to the lane as they arise.
    pub(crate) fn resend_unanswered(&mut self, generation: u64) {
        let is_logged_in = matches!(self.phase, Phase::Authenticating(_) | Phase::Connected);
        if self.attached || self.generation != generation || !is_logged_in {
            return;
        }
        for publish in self.publishes.unanswered() {
            tracing::trace!(
                parent: &self.span,
                connection = self.number,
                number = publish.number,
                generation,
                "publish sent again to the lane"
            );
            self.send_up(&bus::Publish { resent: true, ..publish.clone() });
        }
        if let Some(subscribe) = self.subscriptions.unanswered() {
            self.send_up(&subscribe);
        }
        if let Some(renewal) = &self.renewal {
            self.send_up(&**renewal);
        }
        self.attached = true;
        self.flush_acknowledged();
    }
}
