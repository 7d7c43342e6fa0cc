//! Seeds. Without anything said: a fixed set, those that once found something, and for a while fresh ones, drawn from the
//! clock. `GODWIT_SIM_SEEDS` says how many instead, `GODWIT_SIM_FROM` which is the first, `GODWIT_SIM_LINES` how many
//! events of a failed one to show; with `GODWIT_SIM_FIRST` the first that fails ends it.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use godwit_sim::{Outcome, run};

/// What every run of the tests replays, from 1 on.
const SEEDS: u64 = 300;
/// How long it goes on with fresh ones.
const FRESH: Duration = Duration::from_secs(20);
/// Seeds that found something, when they did. What they play changes with whatever draws from the dice; the bugs have unit
/// tests that name them.
const REGRESSIONS: &[u64] = &[
    // A publish took effect again through an edge that its client had left, after the client had come and gone elsewhere.
    22_286,
    // A second connection's SUBSCRIBE was answered before the first one's was on disk; no receipts after a crash.
    501_089,
    501_650,
    502_372,
    // Removing a device read its inbox from the first key on.
    1_795_520_948_609,
    1_795_520_948_685,
];
/// Longer than any run takes, in real time and on a machine that has much else to do.
const STUCK: Duration = Duration::from_secs(600);
/// Events that a violation shows.
const LINES: u64 = 100;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

fn replay(seed: u64) -> Outcome {
    let _watch = watch(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(run(seed, number("GODWIT_SIM_LINES").unwrap_or(LINES) as usize))
}

/// A run in which time stands still, because somebody is always busy, never ends by itself. Hold what this returns.
fn watch(seed: u64) -> mpsc::Sender<()> {
    let (ended, wait) = mpsc::channel();
    thread::spawn(move || {
        if wait.recv_timeout(STUCK) == Err(mpsc::RecvTimeoutError::Timeout) {
            #[expect(clippy::print_stdout, reason = "the test's own output, from a thread beside it")]
            {
                println!("seed {seed} does not end");
            }
            std::process::exit(1);
        }
    });
    ended
}

/// Replays seeds until they end, or until the first that fails if that is wanted.
#[expect(clippy::print_stdout, reason = "the tests' own output")]
fn promises_hold(seeds: impl Iterator<Item = u64>) {
    let (began, mut count, mut steps, mut failed) = (Instant::now(), 0, 0, Vec::new());
    for seed in seeds {
        let outcome = replay(seed);
        count += 1;
        steps += outcome.steps;
        if let Some(violation) = outcome.violation {
            println!("{violation}");
            failed.push(seed);
            if number("GODWIT_SIM_FIRST").is_some() {
                break;
            }
        }
    }
    println!("{count} seeds, {steps} events, {:.1} s", began.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "replay with make sim SEEDS=1 FROM=<seed>: {failed:?}");
}

#[test]
fn promises_hold_whatever_goes_wrong() {
    match number("GODWIT_SIM_SEEDS") {
        Some(seeds) => {
            let from = number("GODWIT_SIM_FROM").unwrap_or(1);
            promises_hold(from..from + seeds);
        }
        None => promises_hold((1..=SEEDS).chain(REGRESSIONS.iter().copied())),
    }
}

#[test]
fn promises_hold_for_seeds_that_nobody_has_tried() {
    if number("GODWIT_SIM_SEEDS").is_some() {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    let (from, until) = (now.as_millis() as u64, Instant::now() + FRESH);
    println!("fresh seeds from {from} on");
    promises_hold((from..).take_while(|_| Instant::now() < until));
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 4, 5] {
        let (first, second) = (replay(seed), replay(seed));
        assert_eq!((first.steps, first.hash), (second.steps, second.hash), "seed {seed}");
    }
    assert_ne!(replay(3).hash, replay(4).hash);
}
