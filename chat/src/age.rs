//! How long ago, in a word: time zones are none of a server's business, and an age needs none.

use std::time::{Duration, SystemTime};

use crate::shown::{Shown, shown};

/// How long ago something was, in one short word.
pub(crate) fn age(at: SystemTime, now: SystemTime) -> Shown {
    let s = now.duration_since(at).unwrap_or(Duration::ZERO).as_secs();
    match s {
        0..60 => shown!["now"],
        60..3_600 => shown![s / 60, "m"],
        3_600..86_400 => shown![s / 3_600, "h"],
        _ => shown![s / 86_400, "d"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let at = SystemTime::UNIX_EPOCH;
        let after = |s| age(at, at + Duration::from_secs(s)).as_str().to_owned();
        assert_eq!([after(5), after(61), after(7_300), after(200_000)], ["now", "1m", "2h", "2d"]);
        assert_eq!(age(at + Duration::from_secs(9), at).as_str(), "now");
    }
}
