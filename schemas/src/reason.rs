//! MQTT 5 reason codes that Godwit answers with (MQTT 5.0, section 2.4).
//!
//! MQTT 3.1.1 has only CONNACK return codes; [`connack_v4`] maps to those.

use std::fmt;

/// A code as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(u8);

#[allow(missing_docs, reason = "named and explained in the standard")]
impl Reason {
    pub const SUCCESS: Self = Self(0x00);
    pub const UNSPECIFIED: Self = Self(0x80);
    pub const MALFORMED_PACKET: Self = Self(0x81);
    pub const PROTOCOL_ERROR: Self = Self(0x82);
    pub const IMPLEMENTATION_SPECIFIC: Self = Self(0x83);
    pub const UNSUPPORTED_PROTOCOL_VERSION: Self = Self(0x84);
    pub const CLIENT_IDENTIFIER_NOT_VALID: Self = Self(0x85);
    pub const BAD_USER_NAME_OR_PASSWORD: Self = Self(0x86);
    pub const NOT_AUTHORIZED: Self = Self(0x87);
    pub const SERVER_UNAVAILABLE: Self = Self(0x88);
    pub const SERVER_BUSY: Self = Self(0x89);
    pub const BANNED: Self = Self(0x8A);
    pub const SERVER_SHUTTING_DOWN: Self = Self(0x8B);
    pub const BAD_AUTHENTICATION_METHOD: Self = Self(0x8C);
    pub const KEEP_ALIVE_TIMEOUT: Self = Self(0x8D);
    pub const SESSION_TAKEN_OVER: Self = Self(0x8E);
    pub const TOPIC_FILTER_INVALID: Self = Self(0x8F);
    pub const TOPIC_NAME_INVALID: Self = Self(0x90);
    pub const PACKET_IDENTIFIER_IN_USE: Self = Self(0x91);
    pub const RECEIVE_MAXIMUM_EXCEEDED: Self = Self(0x93);
    pub const TOPIC_ALIAS_INVALID: Self = Self(0x94);
    pub const PACKET_TOO_LARGE: Self = Self(0x95);
    pub const MESSAGE_RATE_TOO_HIGH: Self = Self(0x96);
    pub const QUOTA_EXCEEDED: Self = Self(0x97);
    pub const ADMINISTRATIVE_ACTION: Self = Self(0x98);
    pub const PAYLOAD_FORMAT_INVALID: Self = Self(0x99);
    pub const RETAIN_NOT_SUPPORTED: Self = Self(0x9A);
    pub const QOS_NOT_SUPPORTED: Self = Self(0x9B);
    pub const SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: Self = Self(0x9E);
    pub const SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: Self = Self(0xA1);

    /// All of these.
    pub const ALL: &[Self] = &[
        Self::SUCCESS,
        Self::UNSPECIFIED,
        Self::MALFORMED_PACKET,
        Self::PROTOCOL_ERROR,
        Self::IMPLEMENTATION_SPECIFIC,
        Self::UNSUPPORTED_PROTOCOL_VERSION,
        Self::CLIENT_IDENTIFIER_NOT_VALID,
        Self::BAD_USER_NAME_OR_PASSWORD,
        Self::NOT_AUTHORIZED,
        Self::SERVER_UNAVAILABLE,
        Self::SERVER_BUSY,
        Self::BANNED,
        Self::SERVER_SHUTTING_DOWN,
        Self::BAD_AUTHENTICATION_METHOD,
        Self::KEEP_ALIVE_TIMEOUT,
        Self::SESSION_TAKEN_OVER,
        Self::TOPIC_FILTER_INVALID,
        Self::TOPIC_NAME_INVALID,
        Self::PACKET_IDENTIFIER_IN_USE,
        Self::RECEIVE_MAXIMUM_EXCEEDED,
        Self::TOPIC_ALIAS_INVALID,
        Self::PACKET_TOO_LARGE,
        Self::MESSAGE_RATE_TOO_HIGH,
        Self::QUOTA_EXCEEDED,
        Self::ADMINISTRATIVE_ACTION,
        Self::PAYLOAD_FORMAT_INVALID,
        Self::RETAIN_NOT_SUPPORTED,
        Self::QOS_NOT_SUPPORTED,
        Self::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
        Self::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
    ];

    /// From a frame; what does not fit a byte becomes "unspecified".
    pub fn from_u32(code: u32) -> Self {
        u8::try_from(code).map_or(Self::UNSPECIFIED, Self)
    }

    /// The code itself.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Below 0x80.
    pub const fn is_success(self) -> bool {
        self.0 < 0x80
    }
}

/// As the standard and the documentation write it: `0x86`.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02X}", self.0)
    }
}

impl From<Reason> for u32 {
    fn from(reason: Reason) -> Self {
        reason.0.into()
    }
}

/// The CONNACK return code of MQTT 3.1.1 (table 3.1) nearest to an MQTT 5 reason.
pub fn connack_v4(reason: Reason) -> u8 {
    match reason {
        Reason::SUCCESS => 0,
        Reason::UNSUPPORTED_PROTOCOL_VERSION => 1,
        Reason::CLIENT_IDENTIFIER_NOT_VALID => 2,
        Reason::BAD_USER_NAME_OR_PASSWORD => 4,
        Reason::NOT_AUTHORIZED | Reason::BANNED => 5,
        _ => 3,
    }
}
