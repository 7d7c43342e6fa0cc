//! Attaching again: a new generation of the stream to the lane begins, and the lane is told what this connection has
//! under way (bus.proto). [`crate::edge::Edge::attach_all`] calls [`Session::attach`] for all connections first, then
//! [`Session::attach_rest`]: in between, what happens here is kept for the second step.

use std::sync::Arc;

use godwit_schemas::bus;

use super::{Phase, Session};
use crate::edge::Edge;
use crate::lane::Lane;

impl Session {
    /// First step: says that the connection is there. Nothing happens if it belongs to another lane, is not there, or
    /// is attached in this generation already.
    pub(crate) fn attach(&mut self, edge: &Edge, lane: &Arc<Lane>, generation: u64) {
        let Some(client) = &self.client else { return };
        let mine = edge.lane_of(client.partition).is_some_and(|owner| Arc::ptr_eq(&owner, lane));
        if !mine || self.generation == generation {
            return;
        }
        let frame = match &self.phase {
            Phase::Asking(login) => login.frame.clone(),
            Phase::Open => {
                let resume = bus::Resume {
                    cursor: self.deliveries.cursor(),
                    outstanding: self.deliveries.outstanding(),
                    filters: self.subscriptions.filters().bits(),
                    rank: self.rank,
                    ends_at_s: self.ends_at_s,
                };
                self.deliveries.forget_acknowledged();
                bus::Connect { resume: Some(resume), ..self.connect_frame(client) }
            }
            Phase::Silent | Phase::Held(..) | Phase::Queued(..) | Phase::Closing | Phase::Gone => return,
        };
        self.lane = Some(lane.clone());
        self.generation = generation;
        self.attached = false;
        self.up(&frame);
    }

    /// Second step: sends what was not answered, and goes on.
    pub(crate) fn attach_rest(&mut self, generation: u64) {
        let under_way = matches!(self.phase, Phase::Asking(_) | Phase::Open);
        if self.attached || self.generation != generation || !under_way {
            return;
        }
        for publish in self.publishes.unanswered() {
            self.up(&bus::Publish { resent: true, ..publish.clone() });
        }
        if let Some(subscribe) = self.subscriptions.unanswered() {
            self.up(&subscribe);
        }
        if let Some(renewal) = &self.renewal {
            self.up(&**renewal);
        }
        self.attached = true;
        self.flush_acknowledged();
    }
}
