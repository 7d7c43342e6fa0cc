//! End-to-end encryption: what devices and server compute for it. No I/O, no clock, no state that is not handed in.
//!
//! For the server, and for devices:
//! - [`certificate`], [`identity`]: whose a device is, and which keys a user has had.
//! - [`mls`]: groups, as their members have them and as the server sees them.
//!
//! For devices, with the feature `client`:
//! - [`content`], [`live`], [`mod@file`]: what is sealed for the members of a conversation.
//! - [`user_secret`], [`vault`], [`link`]: what a user's devices share, how a new one gets it, and history with it.
//! - [`safety_number`]: what people compare.
//!
//! docs/dev/design/e2ee.md has the protocol, byte for byte.

pub mod certificate;
#[cfg(feature = "client")]
pub mod content;
pub mod crypto;
#[cfg(feature = "client")]
pub mod file;
pub mod identity;
#[cfg(feature = "client")]
pub mod link;
#[cfg(feature = "client")]
pub mod live;
pub mod mls;
#[cfg(feature = "client")]
pub mod safety_number;
pub mod time;
#[cfg(feature = "client")]
pub mod user_secret;
#[cfg(feature = "client")]
pub mod vault;
mod wire;

pub use wire::Malformed;
