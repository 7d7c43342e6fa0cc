//! How much waits in an inbox: what sessions measure, and what lanes compare with the limits of an inbox.

use std::ops::{Add, Sub};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Entries.
    pub entries: u32,
    /// Bytes of what is in them: bodies, also those that are kept apart, and changes.
    pub bytes: u64,
}

impl Load {
    /// One entry with so much in it.
    pub fn of(bytes: u32) -> Self {
        Self { entries: 1, bytes: bytes.into() }
    }
}

impl Add for Load {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self { entries: self.entries.saturating_add(more.entries), bytes: self.bytes.saturating_add(more.bytes) }
    }
}

/// Never below nothing; and where there is no entry there are no bytes.
impl Sub for Load {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        match self.entries.saturating_sub(less.entries) {
            0 => Self::default(),
            entries => Self { entries, bytes: self.bytes.saturating_sub(less.bytes) },
        }
    }
}
