//! Push notifications: what a vendor's push service is told so that a phone that is off learns that something waits. Used by
//! the pusher of `godwit-bridge`, which decides whom to tell and when; nothing here knows users, inboxes or the store.
//!
//! - [`seal`]: the payload, encrypted to the device (RFC 8291). No push service can read it.
//! - `apns`, `fcm`, `web`: one push service each: the request, and what its answer means.
//! - `jwt`: what the server shows to a push service. `circuit`: how much of one is asked for at once, and when none at all.
//! - `guard`: whom a URL that a user chose may make the server talk to. `http`: requests, over HTTP/2 where it is spoken.
//! - [`providers`]: all of them together, as the operator has set them up.
//!
//! A token or endpoint never stands in a log or an error.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

mod apns;
mod circuit;
mod fcm;
pub mod guard;
mod http;
mod jwt;
pub mod providers;
pub mod seal;
mod web;

pub use apns::ApnsSettings;
pub use fcm::FcmSettings;
pub use web::WebSettings;

/// What the wall clock says, since 1970: push services compare it with their own.
pub type WallClock = fn() -> Duration;

/// Which push service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// Apple's.
    Apns,
    /// Firebase Cloud Messaging.
    Fcm,
    /// Any that speaks Web Push: those of browsers, and UnifiedPush.
    Web,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Apns, Self::Fcm, Self::Web];

    /// As in settings, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::Fcm => "fcm",
            Self::Web => "web",
        }
    }
}

/// Where a device is reached. Its [`fmt::Debug`] has no token.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// Through Apple.
    Apns {
        /// The device token, 1 to [`TOKEN_BYTES_MAX`] bytes.
        token: Vec<u8>,
        /// The app's bundle id.
        topic: String,
        /// An app that was built for development.
        sandbox: bool,
    },
    /// Through Firebase Cloud Messaging.
    Fcm {
        /// The registration token, 1 to [`TOKEN_BYTES_MAX`] bytes.
        token: String,
    },
    /// Through the push service that the app or browser has chosen.
    Web {
        /// Its URL, 1 to [`ENDPOINT_BYTES_MAX`] bytes.
        endpoint: String,
    },
}

/// Longest token of APNs or FCM.
pub const TOKEN_BYTES_MAX: usize = 1_024;
/// Longest URL of a Web Push subscription.
pub const ENDPOINT_BYTES_MAX: usize = 2_048;

impl Target {
    /// Through whom.
    pub const fn provider(&self) -> Provider {
        match self {
            Self::Apns { .. } => Provider::Apns,
            Self::Fcm { .. } => Provider::Fcm,
            Self::Web { .. } => Provider::Web,
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.provider().name())
    }
}

/// One push service: Apple's, Google's, or that of a host. What one does says nothing of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// What it speaks.
    pub provider: Provider,
    /// Which of those that speak it.
    host: u64,
}

impl Target {
    /// The push service that it is reached through.
    pub fn service(&self) -> Service {
        let host = match self {
            Self::Apns { sandbox, .. } => u64::from(*sandbox),
            Self::Fcm { .. } => 0,
            Self::Web { endpoint } => {
                let authority = endpoint.split('/').nth(2).unwrap_or_default();
                // One of many hosts is found by chance: then two share a circuit, and no more.
                authority.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                    (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
                })
            }
        };
        Service { provider: self.provider(), host }
    }
}

/// Whether a device that sleeps is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// At once.
    High,
    /// When it is awake.
    Normal,
}

/// One push.
#[derive(Debug, Clone)]
pub struct Push {
    /// To whom.
    pub target: Target,
    /// Encrypted by [`seal`]; empty: the device is only woken.
    pub sealed: Vec<u8>,
    /// A later push with the same name takes the place of this one while it waits at the push service. Up to 32 characters
    /// of Base64 for URLs.
    pub collapse: String,
    /// For how long the push service keeps it.
    pub ttl: Duration,
    /// Whether the device is woken.
    pub urgency: Urgency,
    /// What stands at the app's icon.
    pub badge: u32,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The push service has it.
    Accepted,
    /// The target is none any more; if it says when that was seen, a registration that is newer is another one.
    Gone {
        /// Milliseconds since 1970.
        seen_at_ms: Option<u64>,
    },
    /// The target is none, or this server is set up for other ones. The text is for the operator.
    Suspect(String),
    /// The payload is refused: a push without one may be taken.
    TooLarge,
    /// Not now. Without a time: as long as the sender thinks right.
    Later {
        /// After which time.
        after: Option<Duration>,
    },
    /// This server is refused, whoever the push is for. The text is for the operator.
    Refused(String),
}

/// Why a device cannot be reached there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The operator has not set it up.
    #[error("this server does not push through that service")]
    NoProvider,
    /// The app is none of those that the operator has named.
    #[error("this server does not push to that app")]
    NoApp,
    /// The token is empty or too long, or the URL is none that is allowed.
    #[error("not a token, or not the URL of a push service that this server uses")]
    BadAddress,
}

/// Whom the pusher hands pushes to: [`providers::Providers`], or a test.
pub trait Gateway: Send + Sync + fmt::Debug {
    /// Whether pushes can be sent there.
    ///
    /// # Errors
    /// Why not.
    fn admits(&self, target: &Target) -> Result<(), NotAdmitted>;

    /// How long nothing is to be sent to a push service. `None`: it takes pushes.
    fn pause(&self, service: Service) -> Option<Duration>;

    /// Sends one. Ends within a bounded time; dropped, it may have been sent.
    fn send(self: Arc<Self>, push: Push) -> BoxFuture<'static, Verdict>;

    /// Gives it the store's key for Web Push (PKCS #8), once, before anything is sent.
    ///
    /// # Errors
    /// It is no such key.
    fn use_key(&self, pkcs8: &[u8]) -> Result<(), BadKey>;

    /// The public part of that key, an uncompressed point; `None`: there is no Web Push.
    fn vapid(&self) -> Option<Vec<u8>>;
}

pub use jwt::{BadKey, generate_key, public_key};
