//! How long a connection may be silent before it must be looked after. Networks forget silent connections, each after a
//! time of its own, and every ping wakes a radio: so the interval grows while the path holds, and falls when it breaks.

use std::time::Duration;

/// Pings at an interval before a longer one is tried.
const HELD: u32 = 3;

/// The interval between pings of a silent connection, as this network was found to allow it.
#[derive(Debug, Clone)]
pub(crate) struct KeepAlive {
    first: Duration,
    longest: Duration,
    interval: Duration,
    /// A silence of this length broke the connection: no interval reaches it again on this network.
    ceiling: Duration,
    held: u32,
}

impl KeepAlive {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        let longest = longest.max(first);
        Self { first, longest, interval: first, ceiling: longest, held: 0 }
    }

    /// After this much silence: ping.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// A ping after a silence was answered.
    pub(crate) fn held(&mut self) {
        self.held += 1;
        if self.held >= HELD {
            self.held = 0;
            self.interval = (self.interval * 3 / 2).min(self.longest).min(self.ceiling);
        }
    }

    /// The connection broke, found out after this much silence.
    pub(crate) fn broke(&mut self, silence: Duration) {
        self.held = 0;
        // Shorter silences prove nothing about silence.
        if silence >= self.interval / 2 {
            self.ceiling = (self.interval * 4 / 5).max(self.first / 2);
            self.interval = self.ceiling;
        }
    }

    /// Another network: nothing is known.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.first, self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// Runs on a path that forgets connections after `forgets` of silence, until the interval stays as it is.
    fn learned(forgets: Duration) -> (Duration, u32) {
        let mut it = KeepAlive::new(60 * S, 900 * S);
        let mut broken = 0;
        for _ in 0..200 {
            let interval = it.interval();
            if interval < forgets {
                it.held();
            } else {
                it.broke(interval);
                broken += 1;
            }
        }
        (it.interval(), broken)
    }

    #[test]
    fn finds_what_the_path_allows() {
        assert_eq!(learned(3600 * S), (900 * S, 0), "a path that holds: the longest");
        let (interval, broken) = learned(300 * S);
        assert!(interval < 300 * S && interval > 150 * S, "{interval:?}");
        assert!(broken <= 2, "{broken} connections lost while learning");
        let (interval, _) = learned(40 * S);
        assert!(interval < 40 * S, "{interval:?}");
    }

    #[test]
    fn only_a_break_in_silence_shortens_the_keep_alive() {
        let mut it = KeepAlive::new(60 * S, 900 * S);
        (0..30).for_each(|_| it.held());
        let grown = it.interval();
        it.broke(2 * S);
        assert_eq!(it.interval(), grown);
        it.broke(grown);
        assert!(it.interval() < grown);
        it.reset();
        assert_eq!(it.interval(), 60 * S);
    }
}
