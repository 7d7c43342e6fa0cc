//! Accounts for one measurement, made and removed over the HTTP API by many threads at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use godwit_load::Account;
use godwit_schemas::ids::UserId;

use crate::admin::{AdminClient, DeviceCredentials, device_name, user_name};
use crate::exit::CommandFailure;
use crate::runtime_files::AdminNotice;

/// Requests at once. The server commits those that arrive together with one fsync.
const THREADS: usize = 32;
/// Time for the server to give back the memory that this took, before any is measured.
const SETTLE: Duration = Duration::from_secs(2);

/// Accounts on a server.
pub(super) struct LoadAccounts {
    server: AdminClient,
    made: Vec<DeviceCredentials>,
}

impl LoadAccounts {
    /// Makes `count` accounts, of names that no earlier run used.
    pub(super) fn make(notice: AdminNotice, count: usize) -> Result<Self, CommandFailure> {
        say("making", count);
        let server = AdminClient::new(notice, THREADS);
        let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let device = device_name("bench")?;
        let made =
            in_parallel(count, |n| server.add_user(Some(&user_name(&format!("bench-{run:x}-{n}"))?), &device, None))?;
        thread::sleep(SETTLE);
        Ok(Self { server, made })
    }

    /// As the load generator wants them.
    pub(super) fn list(&self) -> Vec<Account> {
        let account = |made: &DeviceCredentials| {
            let DeviceCredentials { user, device, password } = made.clone();
            Account { user, device, password }
        };
        self.made.iter().map(account).collect()
    }

    /// Removes them and all they left behind.
    pub(super) fn remove(self) -> Result<(), CommandFailure> {
        say("removing", self.made.len());
        let remove = |n: usize| self.server.remove_user(&name(&self.made[n])?);
        in_parallel(self.made.len(), remove).map(drop)
    }
}

#[expect(clippy::print_stderr, reason = "progress, for who waits")]
fn say(doing: &str, count: usize) {
    eprintln!("{doing} {count} accounts");
}

fn name(made: &DeviceCredentials) -> Result<UserId, CommandFailure> {
    user_name(&made.user)
}

/// `work` for 0 to `count` on several threads; results in order. Stops at the first failure.
fn in_parallel<T: Send>(
    count: usize,
    work: impl Fn(usize) -> Result<T, CommandFailure> + Sync,
) -> Result<Vec<T>, CommandFailure> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(count)));
    let one_thread = || -> Result<(), CommandFailure> {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return Ok(());
            }
            let result = work(n).inspect_err(|_| next.store(count, Ordering::Relaxed))?;
            done.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((n, result));
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS.min(count)).map(|_| scope.spawn(one_thread)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let mut done = done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    done.sort_unstable_by_key(|(n, _)| *n);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::FAILED;

    #[test]
    fn results_come_in_order_and_a_failure_ends_the_work() {
        assert_eq!(in_parallel(1_000, Ok).expect("good"), (0..1_000).collect::<Vec<_>>());
        let calls = AtomicUsize::new(0);
        let fail = |n| {
            calls.fetch_add(1, Ordering::Relaxed);
            thread::yield_now();
            if n == 3 { Err(CommandFailure::new(FAILED, "no")) } else { Ok(()) }
        };
        assert!(in_parallel(1_000_000, fail).is_err());
        assert!(calls.into_inner() < 1_000_000);
    }
}
