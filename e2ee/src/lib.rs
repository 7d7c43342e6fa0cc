//! End-to-end encryption: what devices and server compute for it. No I/O, no clock, no state that is not handed in.
//!
//! - [`certificate`], [`identity`]: whose a device is, and which keys a user has had.
//! - [`mls`]: groups, as their members have them and as the server sees them.
//!
//! docs/dev/design/e2ee.md has the protocol, byte for byte.

pub mod certificate;
pub mod crypto;
pub mod identity;
pub mod mls;
pub mod time;
mod wire;

pub use wire::Malformed;
