//! How long messages are kept for history. Keeps P6.

use godwit_schemas::client;

const DAY_S: u32 = 24 * 3_600;

/// How long messages are kept after they were delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum History {
    /// Not at all: a body is gone when every device has it.
    None,
    /// So many days after it was stored, at least 1.
    Days(u32),
    /// As long as there is a disk.
    Forever,
}

impl History {
    /// Second since 1970 at which a message that is stored now goes from history; `None`: it does not enter it.
    pub fn expires_at_s(self, now_s: u32) -> Option<u32> {
        match self {
            Self::None => None,
            Self::Days(days) => Some(now_s.saturating_add(days.saturating_mul(DAY_S))),
            Self::Forever => Some(u32::MAX),
        }
    }

    /// Whether a message that was stored then is part of history now.
    pub fn holds(self, stored_at_s: u32, now_s: u32) -> bool {
        self.expires_at_s(stored_at_s).is_some_and(|end_s| end_s > now_s)
    }
}

/// What the server keeps of its conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Where members have agreed on nothing.
    pub usual: History,
    /// The most that members may agree on.
    pub most: History,
}

impl Policy {
    /// The same for all; members may agree on less.
    pub const fn up_to(history: History) -> Self {
        Self { usual: history, most: history }
    }
}

/// What a conversation's members have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// So many days of history; 0: none. `None`: what the server usually keeps.
    pub history_days: Option<u32>,
    /// Messages vanish after so many seconds; 0: they do not.
    pub expires_in_s: u32,
}

impl Retention {
    /// From a call or the store.
    pub fn parse(retention: &client::Retention) -> Self {
        let (days, expires_in_s) = (retention.history_days_plus_one, retention.expires_in_s);
        Self { history_days: days.checked_sub(1), expires_in_s }
    }

    /// For an event or the store.
    pub fn to_message(self) -> client::Retention {
        let history_days_plus_one = self.history_days.map_or(0, |days| days.saturating_add(1));
        client::Retention { history_days_plus_one, expires_in_s: self.expires_in_s }
    }

    /// What is kept in the end.
    pub fn history(self, server: Policy) -> History {
        let wanted = match self.history_days {
            None => server.usual,
            Some(0) => History::None,
            Some(days) => History::Days(days),
        };
        wanted.min(server.most)
    }

    /// The life of a message whose sender wants so many seconds (0: for ever), in the same terms.
    pub fn life_s(self, wanted_s: u32) -> u32 {
        match (wanted_s, self.expires_in_s) {
            (0, other) | (other, 0) => other,
            (a, b) => a.min(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_may_keep_what_the_server_allows() {
        let of = |history_days| Retention { history_days, expires_in_s: 0 };
        let server = |usual, most| Policy { usual, most };
        let (none, days, forever) = (History::None, History::Days, History::Forever);
        assert_eq!(of(None).history(Policy::up_to(days(9))), days(9));
        assert_eq!(of(Some(0)).history(Policy::up_to(forever)), none);
        assert_eq!(of(Some(3)).history(Policy::up_to(days(9))), days(3));
        assert_eq!(of(Some(30)).history(Policy::up_to(days(9))), days(9));
        assert_eq!(of(Some(30)).history(Policy::up_to(none)), none);
        assert_eq!(of(None).history(server(none, days(9))), none);
        assert_eq!(of(Some(30)).history(server(none, days(9))), days(9));
        assert_eq!(of(Some(30)).history(server(days(9), forever)), days(30));
        for retention in [of(None), of(Some(0)), of(Some(7))] {
            assert_eq!(Retention::parse(&retention.to_message()), retention);
        }
    }

    #[test]
    fn a_day_of_history_is_a_day() {
        assert!(History::Days(1).holds(1_000, 1_000 + DAY_S - 1) && !History::Days(1).holds(1_000, 1_000 + DAY_S));
        assert!(History::Forever.holds(0, u32::MAX - 1) && !History::None.holds(5, 5));
    }

    #[test]
    fn the_shorter_life_counts() {
        let of = |expires_in_s| Retention { history_days: None, expires_in_s };
        assert_eq!([of(0).life_s(0), of(0).life_s(5), of(5).life_s(0), of(5).life_s(9)], [0, 5, 5, 5]);
    }
}
