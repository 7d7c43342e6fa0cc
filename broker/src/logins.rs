//! Who logs in when all come at once, after a failure of a network or a restart. The lanes are asked about so many CONNECTs
//! at a time; who comes meanwhile waits here, in the order of coming, where it costs the lanes nothing. So however many
//! there are, the messages of those who are in find the lanes nearly as idle as before: a slower lane means slower logins.
//!
//! Who would wait longer than a quarter of [`Settings::connect_deadline`](crate::Settings) is told to come back later, each at
//! another time ([`busy`]); who gets in meanwhile pings at other times than the rest ([`keep_alive_s`]).

use std::collections::VecDeque;
use std::sync::Arc;

use godwit_schemas::retry;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::edge::Edge;

/// Who is beyond these need not wait: it would not get in in time.
const WAITING_MAX: usize = 65_536;

/// See the module.
#[derive(Debug)]
pub(crate) struct Logins {
    most: usize,
    queue: Mutex<Queue>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    asked: usize,
    /// By connection. Who has gone stays until its turn.
    waiting: VecDeque<u64>,
}

/// Of a CONNECT that a lane is asked about. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Logins>);

/// What a connection has to do.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Ask.
    Now(Place),
    /// Wait for its turn.
    Later,
    /// Come back.
    Never,
}

impl Logins {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), queue: Mutex::default(), freed: Notify::new() })
    }

    /// A connection wants to log in.
    pub(crate) fn arrive(self: &Arc<Self>, connection: u64) -> Turn {
        let mut queue = self.queue.lock();
        if queue.waiting.is_empty() && queue.asked < self.most {
            queue.asked += 1;
            return Turn::Now(Place(self.clone()));
        }
        if queue.waiting.len() >= WAITING_MAX {
            return Turn::Never;
        }
        queue.waiting.push_back(connection);
        Turn::Later
    }

    /// Others wait.
    pub(crate) fn is_busy(&self) -> bool {
        !self.queue.lock().waiting.is_empty()
    }

    /// Whose turn it is, if there is a place.
    fn next(self: &Arc<Self>) -> Option<(u64, Place)> {
        let mut queue = self.queue.lock();
        if queue.asked >= self.most {
            return None;
        }
        let connection = queue.waiting.pop_front()?;
        queue.asked += 1;
        Some((connection, Place(self.clone())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.asked -= 1;
        if !queue.waiting.is_empty() {
            self.0.freed.notify_one();
        }
    }
}

/// Gives free places to those who wait, for ever.
pub(crate) async fn run(edge: Arc<Edge>) {
    loop {
        while let Some((connection, place)) = edge.logins.next() {
            if let Some(peer) = edge.peer(connection) {
                peer.session.lock().has_its_turn(&edge, place);
            }
        }
        edge.logins.freed.notified().await;
    }
}

/// What a client is told that should come back later, so that not all of them come at once again: in 5 to 20 seconds.
pub(crate) fn busy(connection: u64) -> String {
    retry::text("busy", 5 + one_of(connection, 16))
}

/// What a client is told when the server goes away: come back in a second, or later when `clients` are so many that more than
/// five thousand would come in each.
pub(crate) fn leaving(connection: u64, clients: u64) -> String {
    const IN_A_SECOND: u64 = 5_000;
    retry::text("shutting down", 1 + one_of(connection, clients.div_ceil(IN_A_SECOND).clamp(1, 600)))
}

/// What a client is told to keep alive that gets in among very many, so that not all of them ping at once ever after: up
/// to a quarter less than it has asked for.
pub(crate) fn keep_alive_s(connection: u64, asked_s: u16) -> u16 {
    asked_s - one_of(connection, u64::from(asked_s) / 4 + 1) as u16
}

/// A number below `count`, evenly spread: Fibonacci hashing, where numbers that follow each other come to lie far apart.
fn one_of(connection: u64, count: u64) -> u64 {
    ((connection.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) * count) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_to_come_is_the_first_to_get_a_place() {
        let logins = Logins::new(2);
        let mut places: Vec<_> = (1..=2)
            .map(|connection| match logins.arrive(connection) {
                Turn::Now(place) => place,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(!logins.is_busy());
        assert!((3..=5).all(|connection| matches!(logins.arrive(connection), Turn::Later)));
        assert!(logins.is_busy() && logins.next().is_none());
        places.clear();
        assert!(matches!(logins.arrive(6), Turn::Later), "others have waited longer");
        let next: Vec<_> = std::iter::from_fn(|| logins.next()).collect();
        assert_eq!(next.iter().map(|(connection, _)| *connection).collect::<Vec<_>>(), [3, 4]);
        drop(next);
        assert_eq!(std::iter::from_fn(|| logins.next()).map(|(connection, _)| connection).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(logins.queue.lock().asked, 0);
    }

    #[test]
    fn those_who_wait_are_only_so_many() {
        let logins = Logins::new(1);
        let _place = logins.arrive(0);
        assert!((0..WAITING_MAX as u64).all(|connection| matches!(logins.arrive(connection), Turn::Later)));
        assert!(matches!(logins.arrive(0), Turn::Never));
    }

    #[test]
    fn who_comes_back_does_so_at_different_times() {
        let mut times = [0; 32];
        for connection in 0..16_000 {
            times[retry::parse(&busy(connection)).unwrap().as_secs() as usize] += 1;
        }
        assert!((5..=20).all(|at| (800..1_200).contains(&times[at])), "{times:?}");
        let last = |clients| (0..clients).map(|it| retry::parse(&leaving(it, clients)).unwrap().as_secs()).max();
        assert_eq!([1, 5_000, 50_000].map(last), [Some(1), Some(1), Some(10)]);
    }

    #[test]
    fn who_gets_in_among_many_pings_at_other_times() {
        let times: Vec<_> = (0..1_000).map(|connection| keep_alive_s(connection, 60)).collect();
        assert!((45..=60).all(|at| times.contains(&at)) && times.iter().all(|at| (45..=60).contains(at)), "{times:?}");
        assert_eq!([0, 1, 3].map(|asked_s| keep_alive_s(7, asked_s)), [0, 1, 3]);
    }
}
