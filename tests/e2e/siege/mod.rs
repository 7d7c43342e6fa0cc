//! Attacks by those who are let in, beside two bystanders who exchange 200 messages in a second.
//!
//! Each attack is a test. It shows that no message of the bystanders is lost or refused, and that the server's memory
//! stays below its ceiling. `make siege` runs the attacks at full size, prints what the bystanders noticed before, during
//! and after, and fails if they waited for longer than a second. An ordinary test run is small, and its timings decide
//! nothing.
//!
//! - `pair`: the bystanders, and what they measure.
//! - `mallory`: the attacker's accounts and packets.
//! - Everything else is attacks.

mod blocked;
mod calls;
mod doors;
mod mallory;
mod outsiders;
mod pair;
mod recalls;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::pair::{Pair, Phase};
use crate::server::Server;

/// What the server may take, MiB.
const CEILING_MIB: u64 = 600;
/// Longest silence that bystanders may notice in `make siege`.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// Whether this is `make siege`.
fn is_full() -> bool {
    std::env::var_os("GODWIT_SIEGE").is_some()
}

/// The size of an attack: in `make siege`, and in an ordinary test run.
fn size(full: usize, short: usize) -> usize {
    if is_full() { full } else { short }
}

/// A server with a ceiling of memory, and these keys set.
fn server(settings: &[(&str, &str)]) -> Server {
    let ceiling = CEILING_MIB.to_string();
    let all = [("limits.memory_mib", &ceiling[..]), ("limits.devices_per_user_max", "40")];
    Server::with(&[&all, settings].concat())
}

/// Has bystanders chat before, during and after an attack. Prints what they noticed, and checks it.
fn besiege<T: Send>(name: &str, server: &Server, attack: impl FnOnce() -> T + Send) -> T {
    let pair = Pair::meet(server);
    let over = AtomicBool::new(false);
    let most_kib = AtomicU64::new(0);
    let rest = Duration::from_millis(size(5_000, 300) as u64);
    let begun_kib = server.rss_anon_kib();
    let (report, took, result) = thread::scope(|scope| {
        let chat = pair.start(scope);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most_kib.fetch_max(server.rss_anon_kib(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        thread::sleep(rest);
        chat.enter(Phase::During);
        let begun = Instant::now();
        let result = scope.spawn(attack).join();
        let took = begun.elapsed();
        // What it has caused may come after it.
        thread::sleep(rest.saturating_sub(took));
        chat.enter(Phase::After);
        thread::sleep(rest);
        let report = chat.finish();
        over.store(true, Ordering::Relaxed);
        (report, took, result)
    });
    let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let most_mib = most_kib.into_inner() / 1_024;
    print(&format!(
        "{name}: {:.1} s; resident {} MiB before, {most_mib} at most, {} after\n{report}",
        took.as_secs_f64(),
        begun_kib / 1_024,
        server.rss_anon_kib() / 1_024
    ));
    assert!(most_mib < CEILING_MIB, "{name}: {most_mib} MiB");
    if is_full() {
        assert!(report.longest_silence() < SILENCE_MAX, "{name}: bystanders heard nothing for more than a second");
    }
    result
}

#[expect(clippy::print_stdout, reason = "what `make siege` is for")]
fn print(text: &str) {
    println!("{text}");
}
