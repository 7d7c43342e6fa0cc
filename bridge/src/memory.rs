//! Whether the process is short of memory, as whoever watches it says. Lanes then do no more of what takes much and can wait:
//! a device is handed no more than it acknowledges, a little at a time.

use std::fmt;
use std::sync::Arc;

/// Asks. Cheap to clone and to ask. The default never is.
#[derive(Clone)]
pub struct Shortage(Arc<dyn Fn() -> bool + Send + Sync>);

impl Shortage {
    /// Asks this.
    pub fn asking(is_on: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_on))
    }

    /// Memory is short.
    pub fn is_on(&self) -> bool {
        (self.0)()
    }
}

impl Default for Shortage {
    fn default() -> Self {
        Self::asking(|| false)
    }
}

impl fmt::Debug for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shortage").field(&self.is_on()).finish()
    }
}
