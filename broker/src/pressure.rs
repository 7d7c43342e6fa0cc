//! When memory runs out: whoever watches the process's memory says so here, and the doors take on no more than they can give
//! back. Nothing that was acknowledged is dropped, and who sends and takes small messages goes on as before:
//!
//! - whoever logs in is told to come back later, and only a few are listened to at a time;
//! - each client has one publish under way at a time, so that what waits to be stored is as good as nothing;
//! - a packet of which more than 4 KiB have come, and not all, waits where it is; if it has taken longer than a socket may
//!   take nothing its client is closed (0x97);
//! - so is one whose socket takes nothing when more is to go to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most connections, of those who have not said who they are, that may be there under pressure: up to 60 KB each.
pub(crate) const STRANGERS: u32 = 128;
/// Of a packet that is not all there.
pub(crate) const PACKET_BYTES: usize = 4 * 1024;

/// See the module. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pressure(Arc<AtomicBool>);

impl Pressure {
    /// Memory is short from now on, or not any more. Returns whether that is new.
    pub fn set(&self, on: bool) -> bool {
        self.0.swap(on, Ordering::Relaxed) != on
    }

    /// Memory is short.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
