//! Names and numbers with a type of their own. Names are checked here, once, where they enter.

use std::fmt;
use std::sync::Arc;

/// Longest user or device name in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 64 of the characters a-z A-Z 0-9 . _ - @ and does not start with a dot")]
pub struct BadName;

fn check_name(name: &str) -> Result<(), BadName> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@');
    let good = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.starts_with('.') && name.bytes().all(plain);
    if good { Ok(()) } else { Err(BadName) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// [`BadName`] unless it has 1 to 64 of the allowed characters.
            pub fn new(name: &str) -> Result<Self, BadName> {
                check_name(name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A user's name: the MQTT user name. Cheap to clone.
    UserId
}
name! {
    /// A device's name among its user's devices: the MQTT client id. Cheap to clone.
    DeviceName
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a number that came from the store or the wire.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// Wraps a number from a field that is 0 where there is none.
            pub fn unless_zero(number: u64) -> Option<Self> {
                (number != 0).then_some(Self(number))
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A device, by the number it was given when it was added. Never given again.
    DeviceId
}
number! {
    /// A conversation. It carries its partition ([`crate::partition`]); small numbers are short on the wire.
    ConversationId
}
number! {
    /// Place of a message or change in its conversation, from 1, without gaps.
    Seq
}
number! {
    /// Place of an inbox entry in the order of commits of this store; an inbox is read in this order.
    Order
}

/// A member's number in a conversation, never given to another member of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ordinal(u32);

impl Ordinal {
    /// Wraps a number that came from the store or the wire.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "alice", "Bob.2", "mqttjs_0a1b", "x@example.org", &"n".repeat(64)] {
            assert!(UserId::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".hidden", "a/b", "a+b", "#", "$share", "naïve", "a b", "nul\0", &"n".repeat(65)] {
            assert_eq!(UserId::new(bad), Err(BadName), "{bad:?}");
        }
    }
}
