//! What the parts of a server count: numbers that one task moves and another reads, without a lock, an allocation or a clock.
//!
//! They are plain numbers. Their names, units and help, and the format in which they leave the process, are the server's.
//! A number is read while it moves: of two that are read one after the other, the second may be ahead.

mod counter;
mod gauge;
mod histogram;

pub use counter::Counter;
pub use gauge::{Counted, Gauge};
pub use histogram::{Histogram, HistogramReading};
