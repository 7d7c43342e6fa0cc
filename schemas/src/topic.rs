//! What a client may publish to and subscribe to. Clients see short names; each stands for a topic of their own.
//!
//! `inbox` of Alice's phone and `inbox` of Bob's are different topics: a name is mounted below the device that is
//! connected, so no name reaches another device. Everything that is not listed here is refused.

use crate::ids::{BadName, ConversationId, UserId};
use crate::phone::{BadPhoneNumber, PhoneNumber};

/// Where a PUBLISH goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// `send`: payload `client.Send`.
    Send,
    /// `to/<user>`: raw body.
    ToUser(UserId),
    /// `phone/<digits>`: raw body, for whoever has this number.
    ToPhone(PhoneNumber),
    /// `send/<conversation>`: raw body.
    ToConversation(ConversationId),
    /// `receipt`: payload `client.ReadReceipt`.
    Receipt,
    /// `rpc`: payload `client.Request`.
    Rpc,
    /// `live/<conversation>`: bytes that are worth nothing later.
    Live(ConversationId),
}

/// Why a topic is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTopic {
    /// Not one of the topics that a client may publish to.
    #[error("publish to send, to/<user>, phone/<digits>, send/<conversation>, live/<conversation>, receipt or rpc")]
    NotYours,
    /// `to/` is followed by what cannot be a user name.
    #[error("to/<user>: {0}")]
    User(#[from] BadName),
    /// `phone/` is followed by what cannot be a phone number.
    #[error("phone/<digits>: {0}")]
    Phone(#[from] BadPhoneNumber),
    /// `send/` or `live/` is followed by what is not a conversation's number.
    #[error("send/<conversation>, live/<conversation>: not a conversation number")]
    Conversation,
}

impl Destination {
    /// Reads the topic name of a PUBLISH.
    ///
    /// # Errors
    /// [`BadTopic`] for everything that is not a client's own topic.
    pub fn parse(topic: &str) -> Result<Self, BadTopic> {
        match topic {
            "send" => return Ok(Self::Send),
            "receipt" => return Ok(Self::Receipt),
            "rpc" => return Ok(Self::Rpc),
            _ => {}
        }
        if let Some(user) = topic.strip_prefix("to/") {
            return Ok(Self::ToUser(UserId::new(user)?));
        }
        if let Some(digits) = topic.strip_prefix("phone/") {
            return Ok(Self::ToPhone(PhoneNumber::parse_digits(digits)?));
        }
        if let Some(conversation) = topic.strip_prefix("send/") {
            return parse_conversation(conversation).map(Self::ToConversation);
        }
        if let Some(conversation) = topic.strip_prefix("live/") {
            return parse_conversation(conversation).map(Self::Live);
        }
        Err(BadTopic::NotYours)
    }
}

/// Digits only: `str::parse` alone would take a sign.
fn parse_conversation(text: &str) -> Result<ConversationId, BadTopic> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.map(ConversationId::new).ok_or(BadTopic::Conversation)
}

/// The set of filters a device is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Filters(u32);

impl Filters {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// `inbox`: events as protobuf.
    pub const EVENTS: Self = Self(1);
    /// `inbox/+`: raw bodies.
    pub const RAW: Self = Self(2);
    /// `inbox/#`: raw bodies too; a filter of its own, since it is unsubscribed by its own name.
    pub const RAW_TREE: Self = Self(4);
    /// `rpc`: responses.
    pub const RPC: Self = Self(8);
    /// `live/+`: what others do right now.
    pub const LIVE: Self = Self(16);
    /// `presence/+`: which contacts are online.
    pub const PRESENCE: Self = Self(32);

    /// The filter of this name, or `None` if a client may not have it.
    pub fn parse(filter: &str) -> Option<Self> {
        match filter {
            "inbox" => Some(Self::EVENTS),
            "inbox/+" => Some(Self::RAW),
            "inbox/#" => Some(Self::RAW_TREE),
            "rpc" => Some(Self::RPC),
            "live/+" => Some(Self::LIVE),
            "presence/+" => Some(Self::PRESENCE),
            _ => None,
        }
    }

    /// From a frame or the store; unknown bits are dropped.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits & 0b11_1111)
    }

    /// For a frame or the store.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set less the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether every filter of `other` is in this set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Inbox entries go out as protobuf events. Wins over raw bodies when a device has both.
    pub fn wants_events(self) -> bool {
        self.contains(Self::EVENTS)
    }

    /// Inbox entries go out in some form.
    pub fn wants_inbox(self) -> bool {
        self.0 & (Self::EVENTS.0 | Self::RAW.0 | Self::RAW_TREE.0) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let conversation = |n| Ok(Destination::ToConversation(ConversationId::new(n)));
        assert_eq!(Destination::parse("send"), Ok(Destination::Send));
        assert_eq!(Destination::parse("to/bob"), Ok(Destination::ToUser(UserId::new("bob").unwrap())));
        assert_eq!(Destination::parse("send/0"), conversation(0));
        assert_eq!(Destination::parse("send/18446744073709551615"), conversation(u64::MAX));
        assert_eq!(Destination::parse("live/7"), Ok(Destination::Live(ConversationId::new(7))));
        for bad in ["send/", "live/", "live/+", "send/+1", "send/-1", "send/1/2", "send/18446744073709551616", "send/x"]
        {
            assert_eq!(Destination::parse(bad), Err(BadTopic::Conversation), "{bad}");
        }
        for bad in ["to/", "to/a/b", "to/+", "to/#", "to/a\0", "to/.."] {
            assert_eq!(Destination::parse(bad), Err(BadTopic::User(BadName)), "{bad}");
        }
        let number = PhoneNumber::parse("+4930123456").unwrap();
        assert_eq!(Destination::parse("phone/4930123456"), Ok(Destination::ToPhone(number)));
        for bad in ["phone/", "phone/+4930123456", "phone/alice", "phone/49/30123456"] {
            assert_eq!(Destination::parse(bad), Err(BadTopic::Phone(BadPhoneNumber)), "{bad}");
        }
        for bad in ["", "/send", "SEND", "inbox", "c/bob/phone/inbox", "$SYS/x", "$share/g/inbox", "to"] {
            assert_eq!(Destination::parse(bad), Err(BadTopic::NotYours), "{bad}");
        }
    }

    #[test]
    fn filters() {
        assert_eq!(Filters::parse("inbox/#"), Some(Filters::RAW_TREE));
        for bad in ["#", "+", "+/+", "inbox/", "inbox/5", "$share/g/inbox", "c/bob/phone/inbox", "to/#", "Inbox"] {
            assert_eq!(Filters::parse(bad), None, "{bad}");
        }
        let both = Filters::EVENTS.with(Filters::RAW);
        assert!(both.wants_events() && both.wants_inbox());
        assert!(!both.without(Filters::EVENTS).wants_events());
        assert!(!Filters::RPC.wants_inbox());
        assert_eq!(Filters::from_bits(u32::MAX).bits(), 63);
    }
}
