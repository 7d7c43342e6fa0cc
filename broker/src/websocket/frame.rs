//! Frames (RFC 6455, section 5), without I/O.

/// Most bytes of a head: two, eight of length, four of mask.
const HEAD_BYTES_MAX: usize = 14;
/// Most bytes that a ping, a pong or a close may carry (section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// What a frame is; the numbers are the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Continuation = 0,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Kind {
    fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

/// Why a client is closed (section 7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Normal = 1000,
    Protocol = 1002,
    /// Text: MQTT comes in binary frames only (MQTT-6.0.0-1).
    Unsupported = 1003,
}

/// Finds the payload in what a client sends.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    head: [u8; HEAD_BYTES_MAX],
    head_len: u8,
    /// Of the frame whose payload is coming; `None` before the first.
    kind: Option<Kind>,
    /// Bytes of that payload that have not come.
    left: u64,
    mask: [u8; 4],
    /// A message has begun whose last frame has not come.
    fragmented: bool,
    /// Payload of a control frame.
    control: Vec<u8>,
}

/// What came besides payload.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Controls {
    /// The last ping, to be answered with the same bytes.
    pub(super) ping: Option<Vec<u8>>,
    /// The client closes; what follows is ignored.
    pub(super) close: bool,
}

impl Decoder {
    /// Moves the payload within `bytes` to their beginning; returns how much it is, and what else came.
    ///
    /// # Errors
    /// The code that the client is to be closed with.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> Result<(usize, Controls), Code> {
        let (mut at, mut kept, mut controls) = (0, 0, Controls::default());
        while at < bytes.len() && !controls.close {
            if self.left == 0 {
                self.head[usize::from(self.head_len)] = bytes[at];
                (self.head_len, at) = (self.head_len + 1, at + 1);
                if usize::from(self.head_len) == self.head_size() {
                    self.begin()?;
                    self.end(&mut controls);
                }
                continue;
            }
            let end = bytes.len().min(at.saturating_add(usize::try_from(self.left).unwrap_or(usize::MAX)));
            self.unmask(&mut bytes[at..end]);
            self.left -= (end - at) as u64;
            if self.kind.is_some_and(Kind::is_control) {
                self.control.extend_from_slice(&bytes[at..end]);
                self.end(&mut controls);
            } else {
                bytes.copy_within(at..end, kept);
                kept += end - at;
            }
            at = end;
        }
        Ok((kept, controls))
    }

    /// Bytes of the head that has begun.
    fn head_size(&self) -> usize {
        let [_, second, ..] = self.head;
        let length = match second & 0x7F {
            _ if self.head_len < 2 => 0,
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if self.head_len >= 2 && second & 0x80 != 0 { 4 } else { 0 }
    }

    /// The head is all there.
    fn begin(&mut self) -> Result<(), Code> {
        let [first, second, rest @ ..] = self.head;
        self.head_len = 0;
        let kind = match first & 0x0F {
            0 => Kind::Continuation,
            1 => return Err(Code::Unsupported),
            2 => Kind::Binary,
            8 => Kind::Close,
            9 => Kind::Ping,
            10 => Kind::Pong,
            _ => return Err(Code::Protocol),
        };
        let (length, at) = match second & 0x7F {
            126 => (u64::from(u16::from_be_bytes([rest[0], rest[1]])), 2),
            127 => (u64::from_be_bytes(rest[..8].try_into().map_err(|_| Code::Protocol)?), 8),
            short => (u64::from(short), 0),
        };
        // The shortest form that the length fits in, and no more than 63 bits.
        let proper = matches!((at, length), (0, _) | (2, 126..) | (8, 0x1_0000..0x8000_0000_0000_0000));
        let (last, reserved, masked) = (first & 0x80 != 0, first & 0x70 != 0, second & 0x80 != 0);
        // A message in fragments begins with Binary and goes on with Continuation; control frames are whole.
        let in_turn = match kind {
            Kind::Continuation => self.fragmented,
            Kind::Binary => !self.fragmented,
            Kind::Close | Kind::Ping | Kind::Pong => last && length <= CONTROL_BYTES_MAX,
        };
        // No extension was agreed on that would give the reserved bits a meaning; clients mask (section 5.1).
        if !proper || reserved || !masked || !in_turn {
            return Err(Code::Protocol);
        }
        if !kind.is_control() {
            self.fragmented = !last;
        }
        self.mask.copy_from_slice(&rest[at..at + 4]);
        (self.kind, self.left) = (Some(kind), length);
        Ok(())
    }

    /// Notes a control frame that is all there.
    fn end(&mut self, controls: &mut Controls) {
        let Some(kind) = self.kind.filter(|kind| kind.is_control() && self.left == 0) else { return };
        self.kind = None;
        let payload = std::mem::take(&mut self.control);
        match kind {
            Kind::Ping => controls.ping = Some(payload),
            Kind::Close => controls.close = true,
            // A pong that nobody asked for means nothing (section 5.5.3).
            _ => {}
        }
    }

    fn unmask(&mut self, payload: &mut [u8]) {
        for four in payload.chunks_mut(4) {
            four.iter_mut().zip(self.mask).for_each(|(byte, mask)| *byte ^= mask);
        }
        self.mask.rotate_left(payload.len() % 4);
    }
}

/// The head of a whole frame of ours, and how many bytes of the array it is.
pub(super) fn head(kind: Kind, payload_len: usize) -> ([u8; 10], u8) {
    let mut head = [0; 10];
    head[0] = 0x80 | kind as u8;
    let size = match payload_len {
        0..126 => {
            head[1] = payload_len as u8;
            2
        }
        126..0x1_0000 => {
            head[1] = 126;
            head[2..4].copy_from_slice(&(payload_len as u16).to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            head[2..].copy_from_slice(&(payload_len as u64).to_be_bytes());
            10
        }
    };
    (head, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0xA1, 0xB2, 0xC3, 0xD4];

    /// A client's frame with this first byte.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let (head, size) = head(Kind::Binary, payload.len());
        let mut bytes = head[..usize::from(size)].to_vec();
        (bytes[0], bytes[1]) = (first, bytes[1] | 0x80);
        bytes.extend(MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// Decodes what comes in pieces of this size.
    fn decode(bytes: &[u8], size: usize) -> Result<(Vec<u8>, Controls), Code> {
        let (mut decoder, mut payload, mut controls) = (Decoder::default(), Vec::new(), Controls::default());
        for piece in bytes.chunks(size) {
            let mut piece = piece.to_vec();
            let (kept, more) = decoder.decode(&mut piece)?;
            payload.extend_from_slice(&piece[..kept]);
            controls = Controls { ping: more.ping.or(controls.ping), close: controls.close || more.close };
        }
        Ok((payload, controls))
    }

    #[test]
    fn payload_comes_out_whole_however_it_is_cut() {
        let long: Vec<u8> = (0..70_000_u32).map(|n| n as u8).collect();
        let frames = [
            frame(0x82, b"ab"),
            frame(0x02, b"cde"),
            frame(0x89, b"still there?"),
            frame(0x00, &long[..300]),
            frame(0x80, b""),
            frame(0x8A, b"pong"),
            frame(0x82, &long),
        ];
        let expected = [&b"abcde"[..], &long[..300], &long].concat();
        let controls = Controls { ping: Some(b"still there?".to_vec()), close: false };
        for size in [1, 2, 3, 7, 1_000, 100_000] {
            let (payload, seen) = decode(&frames.concat(), size).unwrap();
            assert!(payload == expected, "in pieces of {size}");
            assert_eq!(seen, controls);
        }
    }

    #[test]
    fn nothing_is_read_behind_a_close() {
        let bytes = [frame(0x82, b"a"), frame(0x88, &1000_u16.to_be_bytes()), frame(0x82, b"b")].concat();
        let (payload, controls) = decode(&bytes, 1_000).unwrap();
        assert_eq!((payload, controls.close), (b"a".to_vec(), true));
        assert!(decode(&frame(0x88, b""), 1).unwrap().1.close);
    }

    #[test]
    fn what_breaks_the_rules_is_closed_for_it() {
        let mut unmasked = frame(0x82, b"abcd");
        unmasked[1] &= 0x7F;
        let control = |first| frame(first, &[0; 126]);
        let long_form = [&[0x82, 0x80 | 126, 0, 5][..], &MASK, b"abcde"].concat();
        let longest_form = [&[0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF][..], &MASK].concat();
        let negative = [&[0x82, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0][..], &MASK].concat();
        let cases = [
            (frame(0x81, b"text"), Code::Unsupported),
            (frame(0x01, b"text in fragments"), Code::Unsupported),
            (frame(0x83, b"no such frame"), Code::Protocol),
            (frame(0x8B, b"no such control"), Code::Protocol),
            (frame(0xC2, b"compressed"), Code::Protocol),
            (frame(0x80, b"goes on from nothing"), Code::Protocol),
            ([frame(0x02, b"begins"), frame(0x82, b"begins again")].concat(), Code::Protocol),
            (frame(0x09, b"half a ping"), Code::Protocol),
            (control(0x89), Code::Protocol),
            (control(0x88), Code::Protocol),
            (unmasked, Code::Protocol),
            (long_form, Code::Protocol),
            (longest_form, Code::Protocol),
            (negative, Code::Protocol),
        ];
        for (bytes, code) in cases {
            assert_eq!(decode(&bytes, 1_000).unwrap_err(), code, "{:?}", &bytes[..4]);
            assert_eq!(decode(&bytes, 1).unwrap_err(), code, "{:?}", &bytes[..4]);
        }
    }

    #[test]
    fn a_frame_as_long_as_can_be_announced_costs_nothing() {
        let mut decoder = Decoder::default();
        let mut bytes =
            [&[0x82, 0x80 | 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF][..], &MASK, b"abc"].concat();
        assert_eq!(decoder.decode(&mut bytes).unwrap().0, 3);
        assert_eq!(decoder.control.capacity(), 0);
        assert!(size_of::<Decoder>() <= 72, "{}", size_of::<Decoder>());
    }

    #[test]
    fn whatever_comes_is_payload_or_refused() {
        let mut state = 7_u64;
        let mut byte = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        for _ in 0..50_000 {
            let mut bytes: Vec<u8> = (0..40).map(|_| byte()).collect();
            (bytes[0], bytes[1]) = ([0x02, 0x82, 0x89, 0x88][usize::from(bytes[0] % 4)], bytes[1] | 0x80);
            let mut decoder = Decoder::default();
            if let Ok((kept, _)) = decoder.decode(&mut bytes) {
                assert!(kept <= 34);
            }
        }
    }
}
