//! Whether a client has a connection, and if not, why.

use std::fmt;

use godwit_schemas::reason::Reason;

/// Whether there is a connection, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// There is none; one is tried again by itself.
    Offline(OfflineCause),
    /// One is being made.
    Connecting,
    /// There is one.
    Online,
    /// The server does not want this device; tried again now and then. Calls fail at once with `Error::NotAdmitted`.
    Refused(Reason),
    /// The client was closed.
    Closed,
}

impl Status {
    /// There is no connection, for whatever cause.
    pub fn is_offline(&self) -> bool {
        matches!(self, Self::Offline(_))
    }
}

/// Why there is no connection. The texts are for people, and may be from the server or from what answers in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfflineCause {
    /// No connection could be made: nobody listens there, the name is unknown, or nothing answers.
    Unreachable(String),
    /// The server's certificate is not trusted, or is for another name.
    NotTrusted(String),
    /// What answers there speaks another protocol.
    NotMqtt(String),
    /// The store is of one server, and this is another: its users and conversations are others, even if they are called the
    /// same. Such a server has been set up anew, or the address is wrong. The store of this server is another file.
    OtherServer {
        /// The store's, in hexadecimal digits.
        expected: String,
        /// The one that answers.
        found: String,
    },
    /// What listens there closes the connection instead of an answer: a server that is starting, or none for MQTT.
    Unanswered,
    /// The same device has connected elsewhere.
    TakenOver,
    /// The server asks to come back later.
    Busy,
    /// The connection broke.
    Broken(String),
    /// The client's own store failed.
    Store(String),
}

impl OfflineCause {
    /// Waiting alone may help. Otherwise somebody must see to the address, or to what is trusted.
    pub fn retry_helps(&self) -> bool {
        !matches!(self, Self::NotTrusted(_) | Self::NotMqtt(_) | Self::OtherServer { .. })
    }
}

impl fmt::Display for OfflineCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "the server cannot be reached: {why}"),
            Self::NotTrusted(why) => write!(f, "the server's certificate is not trusted: {why}"),
            Self::NotMqtt(why) => write!(f, "what answers there does not speak this protocol: {why}"),
            Self::OtherServer { expected, found } => {
                write!(f, "this is server {found}, and what is kept here is of server {expected}")
            }
            Self::Unanswered => f.write_str("the connection is closed without an answer"),
            Self::TakenOver => f.write_str("this device is connected elsewhere"),
            Self::Busy => f.write_str("the server is busy"),
            Self::Broken(why) => write!(f, "the connection broke: {why}"),
            Self::Store(why) => write!(f, "the store failed: {why}"),
        }
    }
}
