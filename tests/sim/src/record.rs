//! The record of a run: events in their order go into a trace and its hash, the facts, and past the checkers. The first
//! violation stands.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::check::{self, Check};
use crate::clock::Clock;
use crate::event::Event;
use crate::facts::Facts;
use crate::plan::Plan;

/// See the module.
#[derive(Clone)]
pub(crate) struct Record(Arc<Mutex<Inner>>);

struct Inner {
    clock: Clock,
    facts: Facts,
    checks: Vec<Box<dyn Check>>,
    tail: VecDeque<String>,
    lines_max: usize,
    hash: u64,
    violation: Option<String>,
}

impl Inner {
    fn tell_time(&mut self) {
        // What has expired stays so when a start knows less of the time.
        self.facts.now_s = self.facts.now_s.max(self.clock.now_s());
        self.facts.now_ms = self.clock.elapsed_ms();
        self.facts.followed_ms = self.clock.followed_ms();
    }
}

/// What a run leaves.
pub(crate) struct Trace {
    pub(crate) steps: u64,
    pub(crate) hash: u64,
    pub(crate) tail: Vec<String>,
    pub(crate) violation: Option<String>,
}

impl Record {
    pub(crate) fn new(clock: Clock, plan: &Plan, lines_max: usize) -> Self {
        let (mut facts, checks) = (Facts::default(), check::all());
        facts.inbox_entries = plan.inbox_entries;
        facts.requests_limited = plan.request_messages > 0;
        let inner = Inner { clock, facts, checks, tail: VecDeque::new(), lines_max, hash: 0, violation: None };
        Self(Arc::new(Mutex::new(inner)))
    }

    pub(crate) fn emit(&self, event: Event) {
        let inner = &mut *self.0.lock();
        let line = format!("{:>8} ms {event:?}", inner.clock.elapsed_ms());
        inner.hash = xxh3_64_with_seed(line.as_bytes(), inner.hash);
        inner.tail.push_back(line);
        if inner.tail.len() > inner.lines_max {
            inner.tail.pop_front();
        }
        inner.tell_time();
        inner.facts.take(&event);
        for check in &mut inner.checks {
            if let Err(wrong) = check.see(&inner.facts, &event)
                && inner.violation.is_none()
            {
                inner.violation = Some(format!("{}: {wrong}", check.name()));
            }
        }
    }

    pub(crate) fn note(&self, text: String) {
        self.emit(Event::Note(text));
    }

    /// Looks something up.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Facts) -> T) -> T {
        look(&mut self.0.lock().facts)
    }

    pub(crate) fn is_violated(&self) -> bool {
        self.0.lock().violation.is_some()
    }

    /// What is still to happen before the run may end.
    pub(crate) fn missing(&self) -> Result<(), String> {
        let inner = &mut *self.0.lock();
        inner.tell_time();
        inner
            .checks
            .iter()
            .try_for_each(|check| check.missing(&inner.facts).map_err(|missing| format!("{}: {missing}", check.name())))
    }

    pub(crate) fn violate(&self, what: String) {
        self.0.lock().violation.get_or_insert(what);
    }

    pub(crate) fn end(&self) -> Trace {
        let inner = &mut *self.0.lock();
        let tail = std::mem::take(&mut inner.tail).into();
        Trace { steps: inner.facts.step, hash: inner.hash, tail, violation: inner.violation.take() }
    }
}
