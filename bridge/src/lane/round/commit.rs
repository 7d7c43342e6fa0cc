//! A round: commands that are gathered are decided, and become one commit.

use godwit_core::command::Command;
use godwit_core::decide::decide;
use godwit_core::outcome::{Effect, EffectKind, Outcome};
use godwit_core::reply_to::ReplyTo;
use godwit_schemas::bus::Bus;
use tracing::field::display;
use tracing::{Level, enabled, trace};

use crate::lane::Lane;
use crate::messages::{Commit, LaneMessage};
use crate::writes;
use godwit_store::{Store, StoreError};

impl<S: Store, B: Bus> Lane<S, B> {
    /// Sends a command to the lane of its conversation.
    pub(in crate::lane) fn dispatch(&mut self, command: Command) {
        let lane = self.context.owner(command.partition(self.context.origin.partitions));
        if lane == self.context.number {
            self.round.queue(&mut self.requests.turns, command);
        } else {
            self.context.send(lane, LaneMessage::Command(command));
        }
    }

    /// Something is to be committed.
    pub(in crate::lane) fn has_work(&self) -> bool {
        self.round.has_work()
            || self.connections.has_changes()
            || self.delivery.backlogs.has_unwritten()
            || self.exchange.has_unsent()
    }

    /// It should not wait any longer.
    pub(in crate::lane) fn is_due(&self) -> bool {
        self.has_work() && self.round.is_urgent()
    }

    /// What is gathered waits a moment for more, unless that is urgent.
    pub(in crate::lane) fn linger(&mut self) {
        let has_work = self.has_work();
        self.round.linger(has_work);
    }

    /// Reads, decides, and makes the commit of this round.
    pub(in crate::lane) async fn commit(&mut self) -> Result<Commit, StoreError> {
        self.round.begin();
        self.state.read_for_commands(&self.context, &self.round.commands).await?;
        let mut outcome = Outcome { events: self.round.notes_events.then(Vec::new), ..Outcome::default() };
        for command in std::mem::take(&mut self.round.commands) {
            let before = outcome.effects.len();
            decide(&mut self.state.cache, &self.context.rules, self.context.now_s, command, &mut outcome);
            trace_decided(&outcome.effects[before..]);
        }
        let mut commit = std::mem::take(&mut self.round.next);
        self.send_out(outcome.outgoing, &mut commit).await?;
        writes::of_changes(&mut self.state.cache, outcome.changes, &mut commit.writes);
        self.connections.write_sessions(&self.round, &mut commit.writes);
        self.delivery.write_backlogs(&mut commit.writes);
        self.round.sealed = self.state.cache.seal();
        commit.lane = self.context.number;
        commit.ticket = self.round.sealed;
        commit.entries = outcome.entries;
        commit.effects.extend(outcome.effects);
        commit.durable |= outcome.durable;
        commit.events.extend(outcome.events.into_iter().flatten());
        Ok(commit)
    }
}

/// What became of publishes: where they stand, or why they are refused.
fn trace_decided(effects: &[Effect]) {
    if !enabled!(Level::TRACE) {
        return;
    }
    for Effect { kind, .. } in effects {
        if let EffectKind::Published { to, reason, conversation, sequence, .. } = kind {
            let (device, number) = match to {
                ReplyTo::Connection(device, publish) => (Some(display(device)), publish.number),
                ReplyTo::Http(request) => (None, *request),
            };
            let (conversation, sequence) = (conversation.map(display), sequence.map(display));
            trace!(device, number, %reason, conversation, sequence, "command decided");
        }
    }
}
