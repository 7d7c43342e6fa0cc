//! When a client may come back, in the reason string of a server that is busy or goes away: words for people, which the
//! client library reads.

use std::time::Duration;

const BEFORE: &str = "try again in ";
const AFTER: &str = " s";

/// The reason string.
pub fn text(why: &str, seconds: u64) -> String {
    format!("{why}: {BEFORE}{seconds}{AFTER}")
}

/// What a reason string says; at most 18 hours. `None`: nothing of the kind.
pub fn parse(text: &str) -> Option<Duration> {
    let (_, rest) = text.rsplit_once(BEFORE)?;
    let seconds: u16 = rest.strip_suffix(AFTER)?.parse().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        assert_eq!(text("busy", 7), "busy: try again in 7 s");
        assert_eq!(parse(&text("busy", 7)), Some(Duration::from_secs(7)));
        for other in
            ["", "busy", "try again in  s", "try again in 70000 s", "try again in 7 s or so", "try again in -7 s"]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
