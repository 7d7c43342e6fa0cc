//! Named points at which a process can be told to kill itself, as SIGKILL from outside would: for the tests of crashes,
//! which need the real program to end exactly there. Set by `GODWIT_CRASH_AT`, which the server reads; without it a point
//! costs one load. It is in every build, so that the program that is tested is the one that is shipped.
//!
//! Called by whoever keeps a promise across that point: the committer, replay, the store, the end.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

/// Where a process may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A commit is about to be written.
    BeforeCommit,
    /// A commit is on disk, and nobody was told.
    AfterCommit,
    /// An inbox entry was read and is about to be handed out.
    Replay,
    /// The store is compacting the inbox, and keeps an entry.
    Compaction,
    /// The store is compacting the inbox, and drops an entry that has expired.
    Expiry,
    /// The bridge is stopping: all is on disk, and the store's log not yet in tables.
    Shutdown,
    /// An upload is on disk, and nobody has a link.
    Announced,
    /// An upload was verified, and nothing of that is on disk.
    Verified,
    /// A file is about to go: no message may refer to it any more.
    Doomed,
    /// An object was deleted, and the row that says so is there.
    Deleted,
    /// A device is about to be pushed.
    BeforePush,
    /// A push service has answered, and nothing of that is on disk.
    AfterPush,
}

const NAMES: [(&str, Point); 12] = [
    ("before-commit", Point::BeforeCommit),
    ("after-commit", Point::AfterCommit),
    ("replay", Point::Replay),
    ("compaction", Point::Compaction),
    ("expiry", Point::Expiry),
    ("shutdown", Point::Shutdown),
    ("media-announced", Point::Announced),
    ("media-verified", Point::Verified),
    ("media-doomed", Point::Doomed),
    ("media-deleted", Point::Deleted),
    ("before-push", Point::BeforePush),
    ("after-push", Point::AfterPush),
];

struct Armed {
    at: Point,
    /// Passings until the last.
    left: AtomicU64,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Has this process die at a point: `POINT`, or `POINT:N` for the N-th time that it gets there. Once in a process.
///
/// # Errors
/// There is no such point; the text says which there are.
pub fn arm(text: &str) -> Result<(), String> {
    let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
    let at = NAMES.iter().find(|(known, _)| *known == name).map(|(_, point)| *point);
    let nth = nth.parse().ok().filter(|nth| *nth > 0);
    let (Some(at), Some(nth)) = (at, nth) else {
        let known = NAMES.map(|(name, _)| name).join(", ");
        return Err(format!("{text:?} is not POINT or POINT:N with N from 1 on; points: {known}"));
    };
    let _ = ARMED.set(Armed { at, left: AtomicU64::new(nth) });
    Ok(())
}

/// The process got here.
pub fn point(here: Point) {
    if let Some(Armed { at, left }) = ARMED.get()
        && *at == here
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_point_is_refused_and_arms_nothing() {
        for bad in ["", "nowhere", "replay:", "replay:0", "replay:-1", "replay:x", "Replay"] {
            assert!(arm(bad).unwrap_err().contains("before-commit"), "{bad}");
        }
        assert!(ARMED.get().is_none());
    }
}
