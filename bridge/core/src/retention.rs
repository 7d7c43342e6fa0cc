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
    /// Messages vanish after so many seconds, at least 1; `None`: they do not.
    pub expires_in_s: Option<u32>,
}

impl Retention {
    /// From a call or the store.
    pub fn parse(retention: &client::Retention) -> Self {
        let client::Retention { history_days_plus_one, expires_in_s } = *retention;
        Self {
            history_days: history_days_plus_one.checked_sub(1),
            expires_in_s: Some(expires_in_s).filter(|seconds| *seconds > 0),
        }
    }

    /// For an event or the store.
    pub fn to_message(self) -> client::Retention {
        let history_days_plus_one = self.history_days.map_or(0, |days| days.saturating_add(1));
        client::Retention { history_days_plus_one, expires_in_s: self.expires_in_s.unwrap_or(0) }
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

    /// The life in seconds of a message whose sender limits it so; `None`: nobody limits it.
    pub fn life_s(self, wanted_s: Option<u32>) -> Option<u32> {
        wanted_s.into_iter().chain(self.expires_in_s).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_may_keep_what_the_server_allows() {
        let of = |history_days| Retention { history_days, expires_in_s: None };
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
        let (five, nine) = (Some(5), Some(9));
        assert_eq!([of(None).life_s(None), of(None).life_s(five), of(five).life_s(None)], [None, five, five]);
        assert_eq!([of(five).life_s(nine), of(nine).life_s(five), of(five).life_s(Some(0))], [five, five, Some(0)]);
    }
}
