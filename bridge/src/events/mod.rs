//! Events for operators: what happens, told to analytics and back offices. Metadata only, never what was said.
//!
//! The committer hands the events of a commit to the [`EventSink`] when the commit is on disk. The sink numbers them and puts
//! them into the queue of each consumer: `mqtt` publishes them, `webhook` posts them. A consumer that is too slow loses
//! the newest; messaging never waits for it. Without a sink no event is noted, and events cost nothing.
//!
//! Each kind is numbered by itself, from 1 in each start of the bridge (its `epoch`): a consumer sees by the numbers how
//! much it has missed.

use std::sync::Arc;

use godwit_core::event::DomainEvent;
use godwit_store::time::wall_ms;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::warn;

use crate::metrics::FeedMetrics;

pub mod mqtt;
pub mod webhook;

/// Events that wait for one consumer: some ten megabytes. What comes when it is full is dropped.
const WAITING_MAX: u64 = 65_536;
/// About how many events a consumer takes at once.
const TAKEN_MAX: usize = 1_000;

/// What an event is about. Its name is the last part of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A message was stored.
    Message,
    /// A member's devices have everything up to a place.
    Delivered,
    /// A member has read up to a place.
    Read,
    /// A conversation was opened or changed.
    Conversation,
    /// A device's connection began or ended.
    Session,
    /// A user or device was added or removed.
    Account,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Message, Self::Delivered, Self::Read, Self::Conversation, Self::Session, Self::Account];

    /// As it stands in settings, topics and events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Conversation => "conversation",
            Self::Session => "session",
            Self::Account => "account",
        }
    }

    fn of(event: &DomainEvent) -> Self {
        match event {
            DomainEvent::Message { .. } => Self::Message,
            DomainEvent::Delivered { .. } => Self::Delivered,
            DomainEvent::Read { .. } => Self::Read,
            DomainEvent::Changed { .. } => Self::Conversation,
            DomainEvent::Session { .. } => Self::Session,
            DomainEvent::Account { .. } => Self::Account,
        }
    }
}

/// A fact with its number.
#[derive(Debug)]
struct NumberedEvent {
    number: u64,
    time_ms: u64,
    event: DomainEvent,
}

type EventBatch = Arc<[NumberedEvent]>;

/// Where facts go. Owned by the committer, which tells what is on disk and nothing else.
pub struct EventSink {
    epoch: u64,
    kinds: Vec<EventKind>,
    numbers: [u64; EventKind::ALL.len()],
    now_ms: fn() -> u64,
    feeds: Vec<EventFeed>,
}

/// The sink's end of a consumer's queue.
struct EventFeed {
    consumer: &'static str,
    batches: mpsc::UnboundedSender<EventBatch>,
    metrics: Arc<FeedMetrics>,
    dropping: bool,
}

/// A consumer's end of its queue.
pub struct EventQueue {
    epoch: u64,
    batches: mpsc::UnboundedReceiver<EventBatch>,
    metrics: Arc<FeedMetrics>,
}

/// An event as its consumer tells it: a JSON object.
pub(crate) struct EventJson {
    pub(crate) kind: EventKind,
    pub(crate) json: String,
}

impl EventSink {
    /// One that takes these kinds, and has no consumer yet.
    pub fn new(kinds: Vec<EventKind>) -> Self {
        Self::at(kinds, wall_ms)
    }

    fn at(kinds: Vec<EventKind>, now_ms: fn() -> u64) -> Self {
        Self { epoch: now_ms(), kinds, numbers: [0; EventKind::ALL.len()], now_ms, feeds: Vec::new() }
    }

    /// Adds a consumer; `name`: for the log.
    pub fn consumer(&mut self, name: &'static str) -> EventQueue {
        let (sender, batches) = mpsc::unbounded_channel();
        let metrics = Arc::<FeedMetrics>::default();
        self.feeds.push(EventFeed { consumer: name, batches: sender, metrics: metrics.clone(), dropping: false });
        EventQueue { epoch: self.epoch, batches, metrics }
    }

    /// What is counted of each consumer, by its name.
    pub fn metrics(&self) -> Vec<(&'static str, Arc<FeedMetrics>)> {
        self.feeds.iter().map(|feed| (feed.consumer, feed.metrics.clone())).collect()
    }

    /// What a commit that is on disk was about. Never waits.
    pub(crate) fn tell(&mut self, events: Vec<DomainEvent>) {
        let time_ms = (self.now_ms)();
        let wanted = events.into_iter().filter(|event| self.kinds.contains(&EventKind::of(event)));
        let numbered = wanted.map(|event| {
            let number = &mut self.numbers[EventKind::of(&event) as usize];
            *number += 1;
            NumberedEvent { number: *number, time_ms, event }
        });
        let batch: EventBatch = numbered.collect();
        if !batch.is_empty() {
            self.feeds.iter_mut().for_each(|feed| feed.offer(&batch));
        }
    }
}

impl EventFeed {
    fn offer(&mut self, batch: &EventBatch) {
        let full = self.metrics.waiting.get() + batch.len() as u64 > WAITING_MAX;
        if full != self.dropping {
            let consumer = self.consumer;
            match full {
                true => warn!(consumer, "events are dropped: their consumer is too slow"),
                false => warn!(consumer, "events are told again"),
            }
        }
        self.dropping = full;
        if full {
            self.metrics.dropped.add(batch.len() as u64);
        } else {
            self.metrics.waiting.add(batch.len() as u64);
            // A consumer that has ended needs nothing any more.
            _ = self.batches.send(batch.clone());
        }
    }
}

impl EventQueue {
    /// What was taken last is told, or is dropped because nobody takes it.
    pub(crate) fn settle(&self, events: usize, told: bool) {
        self.metrics.set_oldest(None);
        if told { &self.metrics.told } else { &self.metrics.dropped }.add(events as u64);
    }

    /// What has gathered, in order; waits for it. `None`: the bridge has ended. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Vec<EventJson>> {
        let first = self.batches.recv().await?;
        Some(self.gather(first))
    }

    /// Like [`Self::next`], on a thread that may block.
    pub(crate) fn blocking_next(&mut self) -> Option<Vec<EventJson>> {
        let first = self.batches.blocking_recv()?;
        Some(self.gather(first))
    }

    /// The bridge has ended: what is here is all there will be.
    pub(crate) fn is_closed(&self) -> bool {
        self.batches.is_closed()
    }

    fn gather(&mut self, first: EventBatch) -> Vec<EventJson> {
        let mut told = Vec::new();
        self.metrics.set_oldest(first.first().map(|event| event.time_ms));
        let mut next = Some(first);
        while let Some(batch) = next {
            self.metrics.waiting.sub(batch.len() as u64);
            told.extend(batch.iter().map(|event| event.told(self.epoch)));
            next = if told.len() < TAKEN_MAX { self.batches.try_recv().ok() } else { None };
        }
        told
    }
}

impl NumberedEvent {
    fn told(&self, epoch: u64) -> EventJson {
        let kind = EventKind::of(&self.event);
        let mut event = json!({ "kind": kind.name(), "epoch": epoch, "number": self.number, "time_ms": self.time_ms });
        if let (Value::Object(event), Value::Object(what)) = (&mut event, describe(&self.event)) {
            event.extend(what);
        }
        EventJson { kind, json: event.to_string() }
    }
}

fn describe(event: &DomainEvent) -> Value {
    match event {
        DomainEvent::Message { conversation, sequence, sender, bytes, group } => json!({
            "conversation": conversation.get(),
            "sequence": sequence.get(),
            "user": sender.as_str(),
            "bytes": bytes,
            "group": group,
        }),
        DomainEvent::Delivered { conversation, user, up_to } | DomainEvent::Read { conversation, user, up_to } => {
            json!({ "conversation": conversation.get(), "user": user.as_str(), "up_to": up_to.get() })
        }
        DomainEvent::Changed { conversation, sequence, by, change, member } => json!({
            "conversation": conversation.get(),
            "sequence": sequence.get(),
            "user": by.as_str(),
            "change": change,
            "member": member.as_ref().map(|member| member.as_str()),
        }),
        DomainEvent::Session { user, device, up } => {
            let change = if *up { "up" } else { "down" };
            json!({ "user": user.as_str(), "device": device.as_str(), "change": change })
        }
        DomainEvent::Account { user, device, added } => {
            let change = if *added { "added" } else { "removed" };
            json!({ "user": user.as_str(), "device": device.as_ref().map(|it| it.as_str()), "change": change })
        }
    }
}

#[cfg(test)]
mod tests;
