//! That this bridge is the one that leads its cluster. The server says so, and lanes and the HTTP API ask, before they tell
//! anybody what they have in memory: a bridge that was frozen may have been succeeded, and not know it yet.

use std::fmt;
use std::sync::Arc;

/// A bridge's lead of its cluster. Cheap to clone. The default: there is no other bridge, so it always leads.
#[derive(Clone)]
pub struct Lead {
    term: u64,
    is_confirmed: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Lead {
    /// In this term, which is higher than those of all bridges that led before, and at least 1. `is_confirmed`: whether it was
    /// certain a moment ago that this bridge leads. It is asked often.
    pub fn new(term: u64, is_confirmed: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { term, is_confirmed: Arc::new(is_confirmed) }
    }

    /// What edges tell bridges by that succeed each other (bus.proto). 0: there is no other bridge.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Whether what this bridge knows may be told. If not, nobody is told anything: it may be confirmed again in a moment, or the
    /// process ends.
    pub fn is_confirmed(&self) -> bool {
        (self.is_confirmed)()
    }
}

impl Default for Lead {
    fn default() -> Self {
        Self::new(0, || true)
    }
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead").field("term", &self.term).field("is_confirmed", &self.is_confirmed()).finish()
    }
}
