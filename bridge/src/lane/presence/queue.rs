//! A queue in which each stands once.

use std::collections::{BTreeSet, VecDeque};

/// First in, first out; what is queued already is not queued again.
pub(super) struct UniqueQueue<T> {
    order: VecDeque<T>,
    queued: BTreeSet<T>,
}

impl<T> Default for UniqueQueue<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), queued: BTreeSet::new() }
    }
}

impl<T: Ord + Clone> UniqueQueue<T> {
    /// Puts it at the end, unless it stands there already.
    pub(super) fn push(&mut self, item: T) {
        if self.queued.insert(item.clone()) {
            self.order.push_back(item);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let first = self.order.pop_front()?;
        self.queued.remove(&first);
        Some(first)
    }

    pub(super) fn contains(&self, item: &T) -> bool {
        self.queued.contains(item)
    }
}
