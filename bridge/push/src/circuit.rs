//! How much is asked of a push service at once, and when nothing is. Pure: time is handed in.
//!
//! The number of requests under way halves when the service says that it is too many or fails, and grows by one with each that
//! is taken. After a service has asked to be left alone, or has failed several times in a row, the circuit is open: nothing is
//! sent for a while, then one request finds out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::Service;

/// Requests under way at the beginning...
const AT_FIRST: usize = 32;
/// ...and at most.
const AT_MOST: usize = 256;
/// Failures in a row that open the circuit.
const FAILURES: u32 = 3;
/// How long it is open then; each further failure doubles it.
const OPEN_MIN: Duration = Duration::from_secs(2);
const OPEN_MAX: Duration = Duration::from_secs(300);
/// When to ask again for a place among those under way.
const BUSY: Duration = Duration::from_millis(500);

/// Services that are remembered; when there are more, those of which nothing is under way are forgotten.
const SERVICES_MAX: usize = 1_024;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was answered, whatever the answer.
    Answered,
    /// Too many, or not now; for how long, if it was said.
    Throttled(Option<Duration>),
    /// No answer, or one that says that the service is broken.
    Failed,
}

/// The circuits of all services that were used of late.
#[derive(Debug, Default)]
pub(crate) struct Circuits(HashMap<Service, Circuit>);

impl Circuits {
    /// The circuit of a service.
    pub(crate) fn of(&mut self, service: Service) -> &mut Circuit {
        if self.0.len() >= SERVICES_MAX && !self.0.contains_key(&service) {
            self.0.retain(|_, circuit| circuit.under_way > 0);
        }
        self.0.entry(service).or_default()
    }

    /// How long nothing is to be sent to a service. `None`: one more request may begin.
    pub(crate) fn pause(&self, service: Service, now: Instant) -> Option<Duration> {
        self.0.get(&service)?.pause(now)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Circuit {
    under_way: usize,
    allowed: usize,
    failures: u32,
    opens_until: Option<Instant>,
}

impl Default for Circuit {
    fn default() -> Self {
        Self { under_way: 0, allowed: AT_FIRST, failures: 0, opens_until: None }
    }
}

impl Circuit {
    /// How long nothing is to be sent. `None`: one more request may begin.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        match self.opens_until {
            Some(until) if until > now => Some(until - now),
            // One finds out for all.
            Some(_) if self.under_way > 0 => Some(BUSY),
            None if self.under_way >= self.allowed => Some(BUSY),
            _ => None,
        }
    }

    /// Whether it is open.
    pub(crate) fn is_open(&self) -> bool {
        self.opens_until.is_some()
    }

    /// A request begins.
    pub(crate) fn begin(&mut self) {
        self.under_way += 1;
    }

    /// A request has ended.
    pub(crate) fn end(&mut self, now: Instant, ending: Ending) {
        self.under_way = self.under_way.saturating_sub(1);
        match ending {
            Ending::Answered => {
                self.failures = 0;
                self.opens_until = None;
                self.allowed = (self.allowed + 1).min(AT_MOST);
            }
            Ending::Throttled(after) => {
                self.allowed = (self.allowed / 2).max(1);
                self.failures += 1;
                self.open(now, after.unwrap_or_else(|| self.doubled()));
            }
            Ending::Failed => {
                self.allowed = (self.allowed / 2).max(1);
                self.failures += 1;
                if self.failures >= FAILURES {
                    self.open(now, self.doubled());
                }
            }
        }
    }

    /// Not for less than before.
    fn open(&mut self, now: Instant, lasts: Duration) {
        self.opens_until = self.opens_until.max(Some(now + lasts));
    }

    fn doubled(&self) -> Duration {
        let times = self.failures.saturating_sub(FAILURES).min(16);
        OPEN_MIN.saturating_mul(1 << times).min(OPEN_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(circuit: &mut Circuit, now: Instant, ending: Ending) {
        circuit.begin();
        circuit.end(now, ending);
    }

    #[test]
    fn a_service_that_asks_to_be_left_alone_is() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        ended(&mut circuit, now, Ending::Throttled(Some(Duration::from_secs(60))));
        assert_eq!(circuit.pause(now), Some(Duration::from_secs(60)));
        let later = now + Duration::from_secs(60);
        assert_eq!(circuit.pause(later), None, "one finds out");
        circuit.begin();
        assert_eq!(circuit.pause(later), Some(BUSY), "and no other");
        circuit.end(later, Ending::Answered);
        assert!(circuit.pause(later).is_none() && !circuit.is_open());
    }

    #[test]
    fn failures_in_a_row_open_it_ever_longer() {
        let (mut circuit, mut now) = (Circuit::default(), Instant::now());
        ended(&mut circuit, now, Ending::Failed);
        ended(&mut circuit, now, Ending::Failed);
        assert_eq!(circuit.pause(now), None);
        let mut lasts = Vec::new();
        for _ in 0..10 {
            ended(&mut circuit, now, Ending::Failed);
            let pause = circuit.pause(now).unwrap();
            lasts.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(lasts, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn as_many_are_under_way_as_the_service_takes() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        for _ in 0..AT_FIRST {
            assert_eq!(circuit.pause(now), None);
            circuit.begin();
        }
        assert_eq!(circuit.pause(now), Some(BUSY));
        (0..AT_FIRST).for_each(|_| circuit.end(now, Ending::Answered));
        assert_eq!(circuit.allowed, 2 * AT_FIRST);
        circuit.begin();
        circuit.end(now, Ending::Failed);
        assert_eq!(circuit.allowed, AT_FIRST);
    }
}
