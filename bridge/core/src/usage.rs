//! How much waits in an inbox: what sessions measure, and what lanes compare with the limits of an inbox.

use std::ops::{Add, Sub};

/// How much waits in an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InboxUsage {
    /// How many entries.
    pub entries: u32,
    /// Bytes of what is in them: bodies, also those that are kept apart, and changes.
    pub bytes: u64,
}

impl InboxUsage {
    /// One entry with so much in it.
    pub fn of(bytes: u32) -> Self {
        Self { entries: 1, bytes: bytes.into() }
    }
}

/// How full an inbox is: the fuller, the less it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Fullness {
    /// It takes everything.
    #[default]
    Free,
    /// Half of what it takes is there: it takes nothing more in conversations that its user has not accepted.
    Half,
    /// It takes nothing more.
    Full,
}

impl Add for InboxUsage {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self { entries: self.entries.saturating_add(more.entries), bytes: self.bytes.saturating_add(more.bytes) }
    }
}

/// Never below nothing; and where there is no entry there are no bytes.
impl Sub for InboxUsage {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        match self.entries.saturating_sub(less.entries) {
            0 => Self::default(),
            entries => Self { entries, bytes: self.bytes.saturating_sub(less.bytes) },
        }
    }
}
