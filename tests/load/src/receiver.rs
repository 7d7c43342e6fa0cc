//! What a receiving client does with a delivery: acknowledge it, and find out whether it is what was sent.

use crate::body::BodyStamp;
use crate::packet::{self, Publish};
use crate::violation::Violations;

/// What every message of a run has in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) run: u32,
    pub(crate) body_bytes: usize,
}

impl Expected {
    /// Begins a run: one with a number of its own.
    pub(crate) fn new(body_bytes: usize) -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let run = since.as_secs() as u32 ^ since.subsec_nanos().rotate_left(11) ^ std::process::id().rotate_left(22);
        Self { run, body_bytes }
    }

    /// Acknowledges a delivery. The stamp of a sound message of this run; `None` for a damaged one, which is counted,
    /// and for those of earlier runs, which are not.
    pub(crate) fn take(
        &self,
        out: &mut Vec<u8>,
        publish: &Publish<'_>,
        violations: &mut Violations,
    ) -> Option<BodyStamp> {
        if let Some(packet_id) = publish.packet_id {
            packet::puback(out, packet_id);
        }
        let stamp = BodyStamp::read(publish.payload).filter(|stamp| stamp.run == self.run)?;
        let sound = publish.payload.len() == self.body_bytes && stamp.fits(publish.payload);
        if !sound {
            violations.damaged += 1;
        }
        sound.then_some(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_damaged_from_foreign() {
        let expected = Expected { run: 1, body_bytes: 50 };
        let stamp = BodyStamp { run: 1, sender: 0, sequence: 0, at: 0 };
        let (mut out, mut violations) = (Vec::new(), Violations::default());
        let mut take = |payload: &[u8]| {
            let publish = Publish { topic: b"inbox/1", packet_id: Some(1), payload, ..Publish::default() };
            (expected.take(&mut out, &publish, &mut violations), violations.damaged)
        };
        let mut body = [0; 50];
        stamp.write(&mut body);
        assert_eq!(take(&body), (Some(stamp), 0));
        body[49] ^= 1;
        assert_eq!(take(&body), (None, 1));
        assert_eq!(take(&body[..49]), (None, 2));
        BodyStamp { run: 2, ..stamp }.write(&mut body);
        assert_eq!(take(&body), (None, 2));
        assert_eq!(take(b"hello"), (None, 2));
        assert_eq!(out.len(), 5 * 4, "everything is acknowledged");
    }
}
