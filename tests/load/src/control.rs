//! How a run talks to whoever started it: lines of progress, and a way to end it early.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

/// Handed to every run. Shared with a Ctrl-C handler, if there is one.
pub struct Control {
    stop: AtomicBool,
    say: Box<dyn Fn(&str) + Send + Sync>,
}

impl Control {
    /// `say` is given a line of progress about once a second.
    pub fn new(say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { stop: AtomicBool::new(false), say: Box::new(say) }
    }

    /// Progress goes to standard error.
    pub fn stderr() -> Self {
        // When nobody reads it any more, the run goes on.
        Self::new(|line| drop(writeln!(io::stderr(), "{line}")))
    }

    /// Ends the run soon. A run that is measuring already reports what it has measured; one that is not yet fails.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether the run is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Tells a line of progress.
    pub fn say(&self, line: &str) {
        (self.say)(line);
    }
}
