//! The queue of logins. After a network failure or a restart all clients connect at once. The lanes authenticate a bounded number
//! of CONNECTs at a time; further ones wait here in the order they came, and cost the lanes nothing. So connected clients find the
//! lanes nearly as fast as before, however many log in: if a lane is slow, logins are slow.
//!
//! A client that would wait longer than a quarter of [`connect_deadline`](crate::BrokerSettings::connect_deadline) is refused, and
//! told to come back after a time of its own ([`busy_text`]). A client that gets in while others wait gets a keep alive of its own
//! ([`keep_alive_s`]).

use std::collections::VecDeque;
use std::sync::Arc;

use godwit_schemas::retry;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Most waiting logins. One that comes behind so many would not get in in time.
const WAITING_MAX: usize = 65_536;

/// The queue. The edge admits from it as permits become free.
#[derive(Debug)]
pub(crate) struct LoginQueue {
    permits_max: usize,
    state: Mutex<LoginQueueState>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct LoginQueueState {
    /// Permits that are held.
    active: usize,
    /// Numbers of connections. One that is over stays until its turn.
    waiting: VecDeque<u64>,
}

/// Allows one CONNECT to be authenticated by a lane. Dropping it frees it for the next login.
#[derive(Debug)]
pub(crate) struct LoginPermit(Arc<LoginQueue>);

/// What becomes of a login that asks to be admitted.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It may go on at once.
    Admitted(LoginPermit),
    /// It waits. The edge hands it a permit when it is its turn.
    Queued,
    /// Too many wait already.
    Full,
}

impl LoginQueue {
    /// A queue that lets this many logins be authenticated at once; at least one.
    pub(crate) fn new(permits_max: usize) -> Arc<Self> {
        Arc::new(Self { permits_max: permits_max.max(1), state: Mutex::default(), freed: Notify::new() })
    }

    /// Admits a connection's login, or queues it.
    pub(crate) fn admit(self: &Arc<Self>, connection: u64) -> Admission {
        let mut state = self.state.lock();
        if state.waiting.is_empty() && state.active < self.permits_max {
            state.active += 1;
            return Admission::Admitted(LoginPermit(self.clone()));
        }
        if state.waiting.len() >= WAITING_MAX {
            return Admission::Full;
        }
        state.waiting.push_back(connection);
        Admission::Queued
    }

    /// Logins are waiting.
    pub(crate) fn is_busy(&self) -> bool {
        !self.state.lock().waiting.is_empty()
    }

    /// How many logins are under way, and how many wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.active, state.waiting.len())
    }

    /// The connection that has waited longest, and its permit. `None`: none waits, or no permit is free.
    pub(crate) fn next(self: &Arc<Self>) -> Option<(u64, LoginPermit)> {
        let mut state = self.state.lock();
        if state.active >= self.permits_max {
            return None;
        }
        let connection = state.waiting.pop_front()?;
        state.active += 1;
        Some((connection, LoginPermit(self.clone())))
    }

    /// Waits until a permit becomes free while logins wait. Cancel safe.
    pub(crate) async fn permit_freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for LoginPermit {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.active -= 1;
        if !state.waiting.is_empty() {
            self.0.freed.notify_one();
        }
    }
}

/// The text for a client that should come back later: in 5 to 20 seconds, spread over the clients.
pub(crate) fn busy_text(connection: u64) -> String {
    retry::text("busy", 5 + spread(connection, 16))
}

/// The text for a client that is closed because the server shuts down: come back after a second, or later if more than five
/// thousand of all `clients` would come back in one second.
pub(crate) fn shutting_down_text(connection: u64, clients: u64) -> String {
    const IN_A_SECOND: u64 = 5_000;
    retry::text("shutting down", 1 + spread(connection, clients.div_ceil(IN_A_SECOND).clamp(1, 600)))
}

/// The keep alive, in seconds, of a client that logs in among very many: up to a quarter less than it asked for, spread over the
/// clients. So they do not all ping at the same time ever after.
pub(crate) fn keep_alive_s(connection: u64, asked_s: u16) -> u16 {
    asked_s - spread(connection, u64::from(asked_s) / 4 + 1) as u16
}

/// A number below `count`, evenly spread over the connections. Fibonacci hashing: consecutive numbers come to lie far apart.
fn spread(connection: u64, count: u64) -> u64 {
    ((connection.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) * count) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_admitted_in_the_order_they_came() {
        let queue = LoginQueue::new(2);
        let mut permits: Vec<_> = (1..=2)
            .map(|connection| match queue.admit(connection) {
                Admission::Admitted(permit) => permit,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(!queue.is_busy());
        assert!((3..=5).all(|connection| matches!(queue.admit(connection), Admission::Queued)));
        assert!(queue.is_busy() && queue.next().is_none());
        permits.clear();
        assert!(matches!(queue.admit(6), Admission::Queued), "others have waited longer");
        let next: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(next.iter().map(|(connection, _)| *connection).collect::<Vec<_>>(), [3, 4]);
        drop(next);
        assert_eq!(std::iter::from_fn(|| queue.next()).map(|(connection, _)| connection).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(queue.state.lock().active, 0);
    }

    #[test]
    fn waiting_logins_are_bounded() {
        let queue = LoginQueue::new(1);
        let _place = queue.admit(0);
        assert!((0..WAITING_MAX as u64).all(|connection| matches!(queue.admit(connection), Admission::Queued)));
        assert!(matches!(queue.admit(0), Admission::Full));
    }

    #[test]
    fn clients_are_told_to_come_back_at_different_times() {
        let mut times = [0; 32];
        for connection in 0..16_000 {
            times[retry::parse(&busy_text(connection)).unwrap().as_secs() as usize] += 1;
        }
        assert!((5..=20).all(|at| (800..1_200).contains(&times[at])), "{times:?}");
        let last =
            |clients| (0..clients).map(|it| retry::parse(&shutting_down_text(it, clients)).unwrap().as_secs()).max();
        assert_eq!([1, 5_000, 50_000].map(last), [Some(1), Some(1), Some(10)]);
    }

    #[test]
    fn keep_alives_are_spread_among_many_logins() {
        let times: Vec<_> = (0..1_000).map(|connection| keep_alive_s(connection, 60)).collect();
        assert!((45..=60).all(|at| times.contains(&at)) && times.iter().all(|at| (45..=60).contains(at)), "{times:?}");
        assert_eq!([0, 1, 3].map(|asked_s| keep_alive_s(7, asked_s)), [0, 1, 3]);
    }
}
