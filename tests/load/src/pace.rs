//! When each message of an open loop is due. Messages are numbered over all channels, round robin: number k is due
//! k / rate seconds after the start and belongs to channel k % channels. A thread sees its own channels' only.

/// When this thread's messages are due.
#[derive(Debug)]
pub(crate) struct SendSchedule {
    /// This thread's channels, ascending.
    mine: Vec<usize>,
    channels: usize,
    ns_per_message: f64,
    round: u64,
    at: usize,
}

impl SendSchedule {
    /// `mine` is not empty; `per_second` is above zero.
    pub(crate) fn new(mine: Vec<usize>, channels: usize, per_second: f64) -> Self {
        Self { mine, channels, ns_per_message: 1e9 / per_second, round: 0, at: 0 }
    }

    /// The next message: its channel, as an index into `mine`, and when it is due, in nanoseconds from the start.
    pub(crate) fn next(&self) -> (usize, u64) {
        (self.at, self.due(self.round, self.at))
    }

    pub(crate) fn advance(&mut self) {
        self.at += 1;
        if self.at == self.mine.len() {
            (self.round, self.at) = (self.round + 1, 0);
        }
    }

    /// How many messages, from the next one on, are due before `end`.
    pub(crate) fn count_until(&self, end: u64) -> u64 {
        let in_channel = |at: usize| {
            let first = self.round + u64::from(at < self.at);
            let number = end as f64 / self.ns_per_message - self.mine[at] as f64;
            ((number / self.channels as f64).ceil().max(0.0) as u64).saturating_sub(first)
        };
        (0..self.mine.len()).map(in_channel).sum()
    }

    fn due(&self, round: u64, at: usize) -> u64 {
        let number = round * self.channels as u64 + self.mine[at] as u64;
        (number as f64 * self.ns_per_message) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pace: &mut SendSchedule, end: u64) -> Vec<(usize, u64)> {
        let mut all = Vec::new();
        while pace.next().1 < end {
            assert_eq!(pace.count_until(end), { count(pace, end) });
            let (at, due) = pace.next();
            all.push((pace.mine[at], due));
            pace.advance();
        }
        assert_eq!(pace.count_until(end), 0);
        all
    }

    fn count(pace: &SendSchedule, end: u64) -> u64 {
        let mut pace = SendSchedule { mine: pace.mine.clone(), ..*pace };
        let mut count = 0;
        while pace.next().1 < end {
            pace.advance();
            count += 1;
        }
        count
    }

    #[test]
    fn threads_share_one_even_stream() {
        let (channels, threads, rate, end) = (5, 2, 1000.0, 20_500_000);
        let mut merged = Vec::new();
        for thread in 0..threads {
            let mine = (thread..channels).step_by(threads).collect();
            merged.extend(all(&mut SendSchedule::new(mine, channels, rate), end));
        }
        merged.sort_by_key(|&(_, due)| due);
        let expected: Vec<_> = (0..21).map(|k| (k % channels, k as u64 * 1_000_000)).collect();
        assert_eq!(merged, expected);
    }

    #[test]
    fn the_rate_holds_for_hours() {
        let pace = SendSchedule { round: 100_000_000, ..SendSchedule::new(vec![0], 1, 3000.0) };
        assert_eq!(pace.next().1 / 1_000_000_000, 33_333);
    }
}
