//! Seeds. Without anything said, a fixed set; `GODWIT_SIM_SEEDS` says how many, `GODWIT_SIM_FROM` which is the first,
//! `GODWIT_SIM_LINES` how many events of a failed one to show; with `GODWIT_SIM_FIRST` the first that fails ends it.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use godwit_sim::{Outcome, run};

/// What every run of the tests replays.
const SEEDS: u64 = 300;
/// Longer than any run takes, in real time.
const STUCK: Duration = Duration::from_secs(120);
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

#[test]
fn promises_hold_whatever_goes_wrong() {
    let (from, seeds) = (number("GODWIT_SIM_FROM").unwrap_or(1), number("GODWIT_SIM_SEEDS").unwrap_or(SEEDS));
    let (began, mut steps, mut failed) = (Instant::now(), 0, Vec::new());
    for seed in from..from + seeds {
        let outcome = replay(seed);
        steps += outcome.steps;
        if let Some(violation) = outcome.violation {
            println!("{violation}");
            failed.push(seed);
            if number("GODWIT_SIM_FIRST").is_some() {
                break;
            }
        }
    }
    println!("{seeds} seeds, {steps} events, {:.1} s", began.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "replay with GODWIT_SIM_SEEDS=1 GODWIT_SIM_FROM=<seed>: {failed:?}");
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 4, 5] {
        let (first, second) = (replay(seed), replay(seed));
        assert_eq!((first.steps, first.hash), (second.steps, second.hash), "seed {seed}");
    }
    assert_ne!(replay(3).hash, replay(4).hash);
}
