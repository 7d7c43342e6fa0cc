//! What is gathered for the next commit, and what waits for those under way.

use std::sync::Arc;
use std::time::Duration;

use godwit_core::command::Command;
use godwit_core::event::DomainEvent;
use godwit_core::keys::Ticket;
use godwit_core::outbox::Item;
use godwit_core::outcome::Effect;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::deferred_recalls::DeferredRecalls;
use crate::messages::{AfterCommit, Barrier, Commit};
use crate::writes;
use godwit_store::Write;

pub(in crate::lane) mod commit;
pub(in crate::lane) mod copy_search;
pub(in crate::lane) mod deferred_recalls;
pub(in crate::lane) mod drain;
pub(in crate::lane) mod effects;
pub(in crate::lane) mod recall;
pub(in crate::lane) mod tick;

/// How long acknowledgements wait for a message to share a commit with: alone, each would wake the committer.
const LINGER: Duration = Duration::from_millis(2);

/// One round after the other: a commit is gathered, sealed under a ticket, and confirmed when it is on disk.
pub(in crate::lane) struct Round {
    committer: mpsc::Sender<Commit>,
    commands: Vec<Command>,
    deferred_recalls: DeferredRecalls,
    /// Gathered for the next commit, besides what commands decide.
    next: Commit,
    /// Somebody waits for what is gathered.
    due: bool,
    /// When what is gathered is to be committed, if it is not due at once.
    linger: Option<Instant>,
    /// Released when the commit of this ticket is on disk.
    barriers: Vec<(Ticket, Arc<Barrier>)>,
    /// The last commit that was handed to the committer.
    sealed: Ticket,
    /// The last one that is on disk.
    confirmed: Ticket,
    /// The server is stopping: released when nothing is left to commit.
    draining: Option<Vec<Arc<Barrier>>>,
    /// Somebody reads events.
    notes_events: bool,
}

impl Round {
    pub(in crate::lane) fn new(committer: mpsc::Sender<Commit>, notes_events: bool) -> Self {
        Self {
            committer,
            commands: Vec::new(),
            deferred_recalls: DeferredRecalls::default(),
            next: Commit::default(),
            due: false,
            linger: None,
            barriers: Vec::new(),
            sealed: 0,
            confirmed: 0,
            draining: None,
            notes_events,
        }
    }
    /// The commit of this ticket, and all before it, are on disk.
    pub(in crate::lane) fn confirmed(&self) -> Ticket {
        self.confirmed
    }

    /// The last commit that was handed to the committer.
    pub(in crate::lane) fn sealed(&self) -> Ticket {
        self.sealed
    }

    /// The server is stopping: nothing more is taken from edges.
    pub(in crate::lane) fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// Somebody reads events.
    pub(in crate::lane) fn notes_events(&self) -> bool {
        self.notes_events
    }

    /// Where commits go.
    pub(in crate::lane) fn committer(&self) -> mpsc::Sender<Commit> {
        self.committer.clone()
    }

    /// Until when what is gathered waits for more.
    pub(in crate::lane) fn lingers_until(&self) -> Option<Instant> {
        self.linger
    }

    /// The ticket of the commit that is being gathered.
    pub(in crate::lane) fn next_ticket(&self) -> Ticket {
        self.sealed + 1
    }

    /// Adds a write to the next commit.
    pub(in crate::lane) fn write(&mut self, write: Write) {
        self.next.writes.push(write);
    }

    /// Adds writes to the next commit.
    pub(in crate::lane) fn write_all(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.next.writes.extend(writes);
    }

    /// The writes of the next commit, to add some.
    pub(in crate::lane) fn writes(&mut self) -> &mut Vec<Write> {
        &mut self.next.writes
    }

    /// Takes in an item that only writes rows, with the next commit.
    pub(in crate::lane) fn take_in(&mut self, item: Item) {
        writes::take_in(item, &mut self.next);
    }

    /// Tells this when the next commit is on disk.
    pub(in crate::lane) fn tell(&mut self, effect: Effect) {
        self.next.effects.push(effect);
    }

    /// The next commit must be on disk before anything follows from it.
    pub(in crate::lane) fn set_durable(&mut self) {
        self.next.durable = true;
    }

    /// Somebody waits for the next commit: it does not linger.
    pub(in crate::lane) fn hasten(&mut self) {
        self.due = true;
    }

    /// Events, if somebody reads them, with the next commit.
    pub(in crate::lane) fn note_all(&mut self, events: impl IntoIterator<Item = DomainEvent>) {
        self.next.events.extend(events);
    }

    /// Does this after the next commit, which must be on disk.
    pub(in crate::lane) fn when_durable(&mut self, done: AfterCommit) {
        self.next.done.push(done);
        self.next.durable = true;
    }

    /// An event for its readers, with the next commit.
    pub(in crate::lane) fn note(&mut self, event: impl FnOnce() -> DomainEvent) {
        if self.notes_events {
            self.next.events.push(event());
        }
    }

    /// Releases the barrier when everything up to this commit is on disk.
    pub(in crate::lane) fn hold(&mut self, ticket: Ticket, barrier: Arc<Barrier>) {
        self.barriers.push((ticket, barrier));
        self.complete_barriers();
    }

    /// Releases the barriers of commits that are on disk.
    pub(in crate::lane) fn complete_barriers(&mut self) {
        self.barriers.retain(|(ticket, _)| *ticket > self.confirmed);
    }

    /// Something is gathered.
    pub(in crate::lane) fn has_work(&self) -> bool {
        !self.commands.is_empty()
            || !self.next.writes.is_empty()
            || !self.next.done.is_empty()
            || !self.next.events.is_empty()
    }

    /// What is gathered should not wait any longer.
    pub(in crate::lane) fn is_urgent(&self) -> bool {
        self.due || self.next.durable || self.draining.is_some()
    }

    /// What is gathered waits a moment for more, unless that is urgent.
    pub(in crate::lane) fn linger(&mut self, has_work: bool) {
        if !has_work || self.is_urgent() {
            self.linger = None;
        } else if self.linger.is_none() {
            self.linger = Some(Instant::now() + LINGER);
        }
    }

    /// What is gathered is committed now.
    pub(in crate::lane) fn begin(&mut self) {
        (self.due, self.linger) = (false, None);
    }

    /// The moment has passed.
    pub(in crate::lane) fn end_linger(&mut self) {
        (self.due, self.linger) = (true, None);
    }
}
