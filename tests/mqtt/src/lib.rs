//! MQTT 3.1.1 and 5 as a client speaks it, for tests, simulator, fuzzer and load generator. Written apart from the broker's own
//! codec, so that the broker is not checked by itself.
//!
//! - [`encode`] makes the packets that a client sends. It checks nothing, so wrong packets can be made.
//! - [`decode`] reads the packets that a server sends, in place and without an allocation.
//! - [`Decoder`] and [`Reader`] give the same as owned values, with topic aliases resolved, and with what Godwit says in user properties.
//!
//! Section numbers are those of the OASIS standards.

pub mod decode;
pub mod encode;
mod reader;

pub use decode::Malformed;
pub use reader::{Decoder, Message, Packet, Reader};

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1
    V4,
    /// 5
    V5,
}

impl Version {
    /// The version of a protocol level; any other than 5 is taken for 4.
    pub fn of(level: u8) -> Self {
        if level == 5 { Self::V5 } else { Self::V4 }
    }

    /// The protocol level that CONNECT says.
    pub fn level(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V5 => 5,
        }
    }
}

/// Identifiers of properties (MQTT 5, 2.2.2.2), as far as tests name them.
pub mod property {
    /// Message Expiry Interval: four bytes.
    pub const MESSAGE_EXPIRY: u8 = 0x02;
    /// Session Expiry Interval: four bytes.
    pub const SESSION_EXPIRY: u8 = 0x11;
    /// Receive Maximum: two bytes.
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    /// Topic Alias Maximum: two bytes.
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    /// Topic Alias: two bytes.
    pub const TOPIC_ALIAS: u8 = 0x23;
    /// User Property: two strings.
    pub const USER_PROPERTY: u8 = 0x26;
}
