//! The server's time by clocks that the tests move.

use super::manual::ManualClocks;
use super::*;

const DAY_MS: i64 = 24 * 3_600_000;
/// In 2026.
const BEGAN_MS: i64 = 1_780_000_000_000;
const HOLD_MS: i64 = 3_600_000;

/// The time of a new store, and the clocks that it goes by.
pub(crate) fn begun() -> (Time, ManualClocks) {
    let Machine { time, clocks, .. } = Machine::new(BEGAN_MS);
    (time, clocks)
}

/// A machine on which the server runs, and what its store has of the time.
struct Machine {
    clocks: ManualClocks,
    time: Time,
    row: Option<Bytes>,
}

impl Machine {
    fn new(wall_ms: i64) -> Self {
        let clocks = ManualClocks::new(wall_ms, 5_000);
        let time = start(&clocks, None);
        Self { clocks, time, row: None }
    }

    /// Time passes, and the server looks at it every second, or once where that would take too long.
    fn pass(&mut self, ms: i64) {
        let step = (ms / 10_000).max(LOOK_MS);
        let mut left = ms;
        while left > 0 {
            let passed = left.min(step);
            self.clocks.advance(passed, passed);
            self.time.now_s();
            self.note();
            left -= passed;
        }
    }

    /// Somebody sets the wall clock, and the server sees it.
    fn set_clock(&mut self, by_ms: i64) {
        self.clocks.advance(by_ms, 0);
        self.pass(LOOK_MS);
    }

    fn note(&mut self) {
        if let Some(Write::Put(_, _, row)) = self.time.note() {
            self.row = Some(row);
        }
    }

    /// The process ends, and the next one starts so much later, by a wall clock that was set meanwhile.
    fn restart(&mut self, away_ms: i64, set_ms: i64) {
        // The machine may have started anew.
        self.clocks.reboot(away_ms + set_ms, 1_000);
        self.time = start(&self.clocks, self.row.clone());
    }

    fn now_s(&self) -> i64 {
        self.time.now_s().into()
    }
}

fn start(clocks: &ManualClocks, row: Option<Bytes>) -> Time {
    let settings =
        ClockSettings { hold: Duration::from_millis(HOLD_MS as u64), downtime_max: Duration::from_secs(24 * 3_600) };
    let time = clocks.time(settings);
    assert_eq!((time.now_s(), time.may_delete()), (0, false), "before it has begun nothing expires");
    time.begin(row);
    time
}

#[test]
fn it_grows_with_the_steady_clock_and_leaps_do_not_move_it() {
    for leap_ms in [40 * DAY_MS, -40 * DAY_MS, 61_000, -61_000] {
        let mut machine = Machine::new(BEGAN_MS);
        assert_eq!(machine.now_s(), BEGAN_MS / 1_000);
        assert!(machine.time.may_delete());
        machine.set_clock(leap_ms);
        assert!(!machine.time.may_delete(), "{leap_ms}");
        machine.pass(2_000);
        assert_eq!(machine.now_s(), BEGAN_MS / 1_000 + 3, "{leap_ms}");
        machine.set_clock(-leap_ms);
        machine.pass(99_000);
        assert_eq!(machine.now_s(), BEGAN_MS / 1_000 + 103, "{leap_ms}");
        assert!(machine.time.may_delete(), "{leap_ms}");
    }
}

#[test]
fn a_small_difference_is_followed_slowly_and_never_backwards() {
    for set_ms in [30_000, -30_000] {
        let mut machine = Machine::new(BEGAN_MS);
        machine.set_clock(set_ms);
        assert!(machine.time.may_delete());
        let mut last_s = machine.now_s();
        for _ in 0..30 * SLEW + 100 {
            machine.pass(1_000);
            let now_s = machine.now_s();
            assert!((0..=2).contains(&(now_s - last_s)), "{last_s} to {now_s}");
            last_s = now_s;
        }
        let wall_s = machine.clocks.wall_ms() / 1_000;
        assert!((wall_s - last_s).abs() <= 1, "{last_s}, by the wall clock {wall_s}");
    }
}

#[test]
fn a_leap_that_stands_is_accepted_and_nothing_ages_by_it() {
    let mut machine = Machine::new(BEGAN_MS);
    machine.set_clock(40 * DAY_MS);
    machine.pass(HOLD_MS - 2_000);
    assert_eq!(machine.time.standing().leap_s, Some(40 * DAY_MS / 1_000));
    assert!(!machine.time.may_delete());
    machine.pass(2_000);
    assert_eq!(machine.time.standing().leap_s, None);
    assert!(machine.time.may_delete());
    assert_eq!(machine.now_s(), (BEGAN_MS + HOLD_MS) / 1_000 + 1);
    // From there on it is what the time at a start is measured with.
    machine.pass(61_000);
    let before_s = machine.now_s();
    machine.restart(600_000, 0);
    assert_eq!(machine.now_s() - before_s, 600 + 1 - 1);
}

#[test]
fn another_leap_begins_to_stand_anew() {
    let mut machine = Machine::new(BEGAN_MS);
    machine.set_clock(DAY_MS);
    machine.pass(HOLD_MS / 2);
    machine.set_clock(DAY_MS);
    machine.pass(HOLD_MS / 2 + 10_000);
    assert!(!machine.time.may_delete());
    assert_eq!(machine.time.standing().leap_stands_s, Some(HOLD_MS as u64 / 2_000 + 10));
}

#[test]
fn how_long_it_was_off_is_believed_up_to_a_day() {
    for (away_ms, counts) in [(5_000, true), (DAY_MS - 61_000, true), (DAY_MS + 1_000, false), (40 * DAY_MS, false)] {
        let mut machine = Machine::new(BEGAN_MS);
        machine.pass(61_000);
        let before_s = machine.now_s();
        machine.restart(away_ms, 0);
        let passed_s = machine.now_s() - before_s;
        assert!((passed_s - if counts { away_ms / 1_000 } else { 0 }).abs() <= 60, "{away_ms}: {passed_s}");
        // What only the wall clock says is to stand before something is deleted for it.
        assert_eq!(machine.time.may_delete(), away_ms < 60_000, "{away_ms}");
        machine.pass(HOLD_MS + 2_000);
        assert!(machine.time.may_delete(), "{away_ms}");
    }
}

#[test]
fn a_start_before_the_network_time_loses_nothing() {
    // A new store in 1970; then the right time comes, and stays or not before the next start.
    for stands_ms in [10_000, 2 * HOLD_MS] {
        let mut machine = Machine::new(20_000);
        machine.pass(600_000);
        let before_s = machine.now_s();
        machine.set_clock(BEGAN_MS);
        machine.pass(stands_ms);
        assert_eq!(machine.now_s() - before_s, (stands_ms + 1_000) / 1_000);
        machine.restart(1_000, 0);
        assert!((0..=61).contains(&(machine.now_s() - before_s - (stands_ms + 1_000) / 1_000)), "{stands_ms}");
    }
    // A store that has been in use starts in 1970, and ends before or after the right time has come.
    let mut machine = Machine::new(BEGAN_MS);
    machine.pass(120_000);
    let before_s = machine.now_s();
    machine.restart(5_000, -BEGAN_MS);
    // What was since the last row is not known.
    assert!((-60..=0).contains(&(machine.now_s() - before_s)));
    let before_s = machine.now_s();
    machine.pass(300_000);
    assert_eq!(machine.now_s() - before_s, 300);
    machine.restart(1_000, BEGAN_MS);
    // The next start makes up for the one before: it knows what the wall clock would have said without that leap.
    assert!((300..=366).contains(&(machine.now_s() - before_s)), "{}", machine.now_s() - before_s);
}

#[test]
fn a_leap_before_a_start_is_not_taken_for_the_time_between() {
    for (leap_ms, undone) in [(DAY_MS / 2, false), (DAY_MS / 2, true), (-DAY_MS / 2, false), (-DAY_MS / 2, true)] {
        let mut machine = Machine::new(BEGAN_MS);
        machine.pass(61_000);
        machine.set_clock(leap_ms);
        let before_s = machine.now_s();
        machine.restart(10_000, if undone { -leap_ms } else { 0 });
        let passed_s = machine.now_s() - before_s;
        assert!((0..=10).contains(&passed_s), "{leap_ms}, {undone}: {passed_s}");
        machine.pass(2 * HOLD_MS);
        assert!((0..=11).contains(&(machine.now_s() - before_s - 2 * HOLD_MS / 1_000)), "{leap_ms}, {undone}");
    }
}

#[test]
fn an_operator_says_that_the_time_has_passed() {
    let mut machine = Machine::new(BEGAN_MS);
    machine.set_clock(40 * DAY_MS);
    let before_s = machine.now_s();
    let standing = machine.time.follow();
    assert_eq!(machine.now_s() - before_s, 40 * DAY_MS / 1_000);
    assert_eq!((standing.leap_s, standing.deletes), (None, true));
    machine.set_clock(-DAY_MS);
    let before_s = machine.now_s();
    let standing = machine.time.follow();
    assert_eq!(machine.now_s(), before_s, "it never goes back");
    assert_eq!((standing.leap_s, standing.deletes), (None, true));
    machine.pass(5_000);
    assert_eq!(machine.now_s() - before_s, 5);
}

#[test]
fn a_damaged_row_is_no_time() {
    let clocks = ManualClocks::new(BEGAN_MS, 0);
    assert_eq!(i64::from(start(&clocks, Some(Bytes::from_static(b"\xFF"))).now_s()), BEGAN_MS / 1_000);
    let absurd = TimeRecord { time_ms: i64::MAX, wall_ms: i64::MIN, leap_ms: i64::MAX };
    start(&clocks, Some(absurd.encode_to_vec().into())).now_s();
}
