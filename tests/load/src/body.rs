//! What a message carries so that its receiver can tell where it belongs: run, sender, sequence and send time, followed
//! by bytes that depend on those, so that a mixed-up or damaged body is noticed and no compression helps the server.

/// Bytes of the stamp, and so the smallest body.
pub(crate) const STAMP_BYTES: usize = 24;
/// Largest body; it fits the read buffer with room to spare.
pub(crate) const BODY_BYTES_MAX: usize = 200 * 1024;

/// The beginning of every body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyStamp {
    /// Random for each run: an inbox may still hold messages of an earlier one.
    pub(crate) run: u32,
    pub(crate) sender: u32,
    /// From 0, without gaps, for each sender.
    pub(crate) sequence: u64,
    /// When the message was meant to be sent, by the run's clock.
    pub(crate) at: u64,
}

impl BodyStamp {
    /// Fills a whole body of at least [`STAMP_BYTES`].
    pub(crate) fn write(&self, body: &mut [u8]) {
        let (stamp, fill) = body.split_at_mut(STAMP_BYTES);
        stamp[..4].copy_from_slice(&self.run.to_le_bytes());
        stamp[4..8].copy_from_slice(&self.sender.to_le_bytes());
        stamp[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        stamp[16..].copy_from_slice(&self.at.to_le_bytes());
        let mut noise = self.noise();
        for chunk in fill.chunks_mut(8) {
            chunk.copy_from_slice(&noise.next()[..chunk.len()]);
        }
    }

    /// The stamp of a body, if it is long enough to have one.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let (run, rest) = body.split_first_chunk()?;
        let (sender, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (at, _) = rest.split_first_chunk()?;
        Some(Self {
            run: u32::from_le_bytes(*run),
            sender: u32::from_le_bytes(*sender),
            sequence: u64::from_le_bytes(*sequence),
            at: u64::from_le_bytes(*at),
        })
    }

    /// Whether what follows the stamp is what was sent with it.
    pub(crate) fn fits(&self, body: &[u8]) -> bool {
        let mut noise = self.noise();
        body[STAMP_BYTES..].chunks(8).all(|chunk| noise.next()[..chunk.len()] == *chunk)
    }

    fn noise(&self) -> Noise {
        let who = u64::from(self.run) << 32 | u64::from(self.sender);
        Noise(who ^ self.sequence.rotate_left(20) ^ self.at.rotate_left(40))
    }
}

/// A SplitMix64 generator: fills bodies with bytes that do not compress.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> [u8; 8] {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_damage() {
        let stamp = BodyStamp { run: 1, sender: 2, sequence: 3, at: 4 };
        for bytes in [STAMP_BYTES, 25, 100, 1000] {
            let mut body = vec![0; bytes];
            stamp.write(&mut body);
            assert_eq!(BodyStamp::read(&body), Some(stamp));
            assert!(stamp.fits(&body));
            for at in 0..bytes {
                body[at] ^= 1;
                let read = BodyStamp::read(&body).unwrap();
                assert!(read != stamp || !read.fits(&body), "byte {at} of {bytes}");
                body[at] ^= 1;
            }
        }
        assert_eq!(BodyStamp::read(&[0; STAMP_BYTES - 1]), None);
    }
}
