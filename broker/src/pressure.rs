//! Memory pressure. The server watches the memory of the process, and sets a flag here while it is short. The broker then takes on only
//! what it can give back. Nothing that was acknowledged is dropped, and clients that send and take small messages go on as before:
//!
//! - Logins are refused with "come back later", and few unauthenticated connections are accepted.
//! - A client may have one publish unanswered, so almost nothing waits to be stored.
//! - A partially received packet of more than 4 KiB waits where it is. If it takes longer than
//!   [`drain_deadline`](crate::BrokerSettings::drain_deadline), its client is closed (0x97).
//! - A client is closed, too, if its socket takes nothing while more is to be sent to it, or if it has been behind with much for as long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most unauthenticated connections under pressure: each takes up to 60 KB.
pub(crate) const UNAUTHENTICATED_MAX: u32 = 128;
/// A partially received packet may go on under pressure up to this size.
pub(crate) const PARTIAL_PACKET_BYTES_MAX: usize = 4 * 1024;

/// The flag. Clones share it; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Pressure(Arc<AtomicBool>);

impl Pressure {
    /// Sets whether memory is short. Returns whether that has changed.
    pub fn set(&self, on: bool) -> bool {
        self.0.swap(on, Ordering::Relaxed) != on
    }

    /// Whether memory is short.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
