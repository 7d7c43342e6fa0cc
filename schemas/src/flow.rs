//! How much of a stream between an edge and a lane is on its way. What was published and not taken yet waits somewhere on
//! the bus, in a queue or in a socket: an end that sends no more than the other takes bounds it wherever it is, and never
//! has the bus drop what is for others. Each end says in its batches how far it has got (`received` in bus.proto).

use std::collections::VecDeque;

/// With so many bytes of a stream on their way, nothing that can wait follows.
pub const ON_THE_WAY_MAX: usize = 4 << 20;
/// Of all streams to one reader together, of which each has its share: less than any bus keeps for a reader (rumqttd's router
/// 8 MiB).
const READER_MAX: usize = 6 << 20;
/// No stream has less.
const SHARE_MIN: usize = 128 << 10;
/// Whoever has taken so many bytes and said nothing since says so in an empty batch: often enough for the smallest share.
const TELL_AFTER: usize = SHARE_MIN / 2;

/// What a stream may have on its way that is one of so many to its reader.
pub fn share(streams: u32) -> usize {
    (READER_MAX / streams.max(1) as usize).clamp(SHARE_MIN, ON_THE_WAY_MAX)
}

/// The sending end's view.
#[derive(Debug, Default)]
pub struct OnTheWay {
    /// Numbers and bytes of batches that the other end has not taken yet, as far as is known.
    batches: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl OnTheWay {
    /// A batch of so many bytes was published.
    pub fn sent(&mut self, sequence: u64, bytes: usize) {
        self.batches.push_back((sequence, bytes));
        self.bytes += bytes;
    }

    /// The other end has taken everything up to this batch.
    pub fn received(&mut self, up_to: u64) {
        while let Some((sequence, bytes)) = self.batches.front()
            && *sequence <= up_to
        {
            self.bytes -= bytes;
            self.batches.pop_front();
        }
    }

    /// Bytes on their way.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The receiving end's view.
#[derive(Debug, Default)]
pub struct Untold(usize);

impl Untold {
    /// A batch of so many bytes was taken.
    pub fn took(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(bytes);
    }

    /// The other end should be told without waiting for something else to say.
    pub fn is_due(&self) -> bool {
        self.0 >= TELL_AFTER
    }

    /// It was told.
    pub fn told(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_on_its_way_no_more() {
        let mut it = OnTheWay::default();
        (1..=3).for_each(|sequence| it.sent(sequence, 100));
        assert_eq!(it.bytes(), 300);
        it.received(2);
        it.received(1);
        assert_eq!(it.bytes(), 100);
        it.received(u64::MAX);
        assert_eq!(it.bytes(), 0);
    }

    #[test]
    fn who_takes_much_says_so() {
        let mut it = Untold::default();
        it.took(TELL_AFTER - 1);
        assert!(!it.is_due());
        it.took(1);
        assert!(it.is_due());
        it.told();
        assert!(!it.is_due());
    }

    #[test]
    fn all_streams_to_one_reader_stay_below_what_its_link_holds() {
        assert_eq!([0, 1, 2, 6, 64].map(share), [4 << 20, 4 << 20, 3 << 20, 1 << 20, SHARE_MIN]);
    }
}
