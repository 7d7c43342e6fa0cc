//! The format of WebSocket frames (RFC 6455, section 5), without I/O.

/// Most bytes of a header: two, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;
/// Most bytes that a ping, a pong or a close may carry (section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// The opcode of a frame, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

/// The status code in a close frame (section 7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseCode {
    Normal = 1000,
    Protocol = 1002,
    /// A text frame came: MQTT is carried in binary frames only (MQTT-6.0.0-1).
    Unsupported = 1003,
    /// The reason in a close frame is not UTF-8.
    Inconsistent = 1007,
    /// Frames that carry nothing, too fast.
    Policy = 1008,
}

/// Decodes what a client sends: separates payload from headers and control frames.
#[derive(Debug, Default)]
pub(super) struct FrameDecoder {
    header: [u8; HEADER_BYTES_MAX],
    header_len: u8,
    /// The opcode of the frame whose payload is coming; `None` before the first frame.
    opcode: Option<Opcode>,
    /// Bytes of that payload that have not come yet.
    left: u64,
    mask: [u8; 4],
    /// The last frame of a fragmented message has not come yet.
    fragmented: bool,
    /// Payload of an incomplete control frame.
    control: Vec<u8>,
}

/// Control frames that came among the payload.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ControlFrames {
    /// The payload of the last ping: the pong has to repeat it.
    pub(super) ping: Option<Vec<u8>>,
    /// A close frame came. What follows it is ignored.
    pub(super) close: bool,
}

impl FrameDecoder {
    /// Moves the payload within `bytes` to their beginning. Returns its length, and the control frames that came.
    ///
    /// # Errors
    /// The status code to close the client with.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> Result<(usize, ControlFrames), CloseCode> {
        let (mut at, mut kept, mut controls) = (0, 0, ControlFrames::default());
        while at < bytes.len() && !controls.close {
            if self.left == 0 {
                self.header[usize::from(self.header_len)] = bytes[at];
                (self.header_len, at) = (self.header_len + 1, at + 1);
                if usize::from(self.header_len) == self.header_size() {
                    self.begin_frame()?;
                    self.end_control(&mut controls)?;
                }
                continue;
            }
            let end = bytes.len().min(at.saturating_add(usize::try_from(self.left).unwrap_or(usize::MAX)));
            self.unmask(&mut bytes[at..end]);
            self.left -= (end - at) as u64;
            if self.opcode.is_some_and(Opcode::is_control) {
                self.control.extend_from_slice(&bytes[at..end]);
                self.end_control(&mut controls)?;
            } else {
                bytes.copy_within(at..end, kept);
                kept += end - at;
            }
            at = end;
        }
        Ok((kept, controls))
    }

    /// Size of the header, as far as the bytes that have come tell it.
    fn header_size(&self) -> usize {
        let [_, second, ..] = self.header;
        let length = match second & 0x7F {
            _ if self.header_len < 2 => 0,
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if self.header_len >= 2 && second & 0x80 != 0 { 4 } else { 0 }
    }

    /// Handles a complete header.
    fn begin_frame(&mut self) -> Result<(), CloseCode> {
        let [first, second, rest @ ..] = self.header;
        self.header_len = 0;
        let opcode = match first & 0x0F {
            0 => Opcode::Continuation,
            // Text is refused below, with a status code of its own.
            1 | 2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(CloseCode::Protocol),
        };
        let (length, at) = match second & 0x7F {
            126 => (u64::from(u16::from_be_bytes([rest[0], rest[1]])), 2),
            127 => (u64::from_be_bytes(rest[..8].try_into().map_err(|_| CloseCode::Protocol)?), 8),
            short => (u64::from(short), 0),
        };
        // The shortest form that the length fits in, and no more than 63 bits.
        let proper = matches!((at, length), (0, _) | (2, 126..) | (8, 0x1_0000..0x8000_0000_0000_0000));
        let (last, reserved, masked) = (first & 0x80 != 0, first & 0x70 != 0, second & 0x80 != 0);
        // A message in fragments begins with Binary and goes on with Continuation; control frames are whole.
        let in_turn = match opcode {
            Opcode::Continuation => self.fragmented,
            Opcode::Binary => !self.fragmented,
            Opcode::Close | Opcode::Ping | Opcode::Pong => last && length <= CONTROL_BYTES_MAX,
        };
        // No extension was agreed on that would give the reserved bits a meaning; clients mask (section 5.1).
        if !proper || reserved || !masked || !in_turn {
            return Err(CloseCode::Protocol);
        }
        if first & 0x0F == 1 {
            return Err(CloseCode::Unsupported);
        }
        if !opcode.is_control() {
            self.fragmented = !last;
        }
        self.mask.copy_from_slice(&rest[at..at + 4]);
        (self.opcode, self.left) = (Some(opcode), length);
        Ok(())
    }

    /// Handles a control frame if it is complete.
    fn end_control(&mut self, controls: &mut ControlFrames) -> Result<(), CloseCode> {
        let Some(opcode) = self.opcode.filter(|opcode| opcode.is_control() && self.left == 0) else { return Ok(()) };
        self.opcode = None;
        let payload = std::mem::take(&mut self.control);
        match opcode {
            Opcode::Ping => controls.ping = Some(payload),
            Opcode::Close => {
                check_close(&payload)?;
                controls.close = true;
            }
            // An unsolicited pong has no effect (section 5.5.3).
            _ => {}
        }
        Ok(())
    }

    fn unmask(&mut self, payload: &mut [u8]) {
        for four in payload.chunks_mut(4) {
            four.iter_mut().zip(self.mask).for_each(|(byte, mask)| *byte ^= mask);
        }
        self.mask.rotate_left(payload.len() % 4);
    }
}

/// Checks the payload of a close frame: empty, or a status code that a client may send (section 7.4) and a reason (section 5.5.1).
fn check_close(payload: &[u8]) -> Result<(), CloseCode> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(()) } else { Err(CloseCode::Protocol) };
    };
    // Codes of the registry (section 7.4.2), of frameworks, and of applications.
    if !matches!(u16::from_be_bytes(*code), 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(CloseCode::Protocol);
    }
    std::str::from_utf8(reason).map(drop).map_err(|_| CloseCode::Inconsistent)
}

/// The header of an unfragmented frame from the server, and how many bytes of the array it takes.
pub(super) fn header(opcode: Opcode, payload_len: usize) -> ([u8; 10], u8) {
    let mut header = [0; 10];
    header[0] = 0x80 | opcode as u8;
    let size = match payload_len {
        0..126 => {
            header[1] = payload_len as u8;
            2
        }
        126..0x1_0000 => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(payload_len as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&(payload_len as u64).to_be_bytes());
            10
        }
    };
    (header, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0xA1, 0xB2, 0xC3, 0xD4];

    /// A client's frame with this first byte.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let (header, size) = header(Opcode::Binary, payload.len());
        let mut bytes = header[..usize::from(size)].to_vec();
        (bytes[0], bytes[1]) = (first, bytes[1] | 0x80);
        bytes.extend(MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// Decodes what comes in pieces of this size.
    fn decode(bytes: &[u8], size: usize) -> Result<(Vec<u8>, ControlFrames), CloseCode> {
        let (mut decoder, mut payload, mut controls) = (FrameDecoder::default(), Vec::new(), ControlFrames::default());
        for piece in bytes.chunks(size) {
            let mut piece = piece.to_vec();
            let (kept, more) = decoder.decode(&mut piece)?;
            payload.extend_from_slice(&piece[..kept]);
            controls = ControlFrames { ping: more.ping.or(controls.ping), close: controls.close || more.close };
        }
        Ok((payload, controls))
    }

    #[test]
    fn payload_is_whole_however_it_is_cut() {
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
        let controls = ControlFrames { ping: Some(b"still there?".to_vec()), close: false };
        for size in [1, 2, 3, 7, 1_000, 100_000] {
            let (payload, seen) = decode(&frames.concat(), size).unwrap();
            assert!(payload == expected, "in pieces of {size}");
            assert_eq!(seen, controls);
        }
    }

    #[test]
    fn bytes_behind_a_close_frame_are_ignored() {
        let bytes = [frame(0x82, b"a"), frame(0x88, &1000_u16.to_be_bytes()), frame(0x82, b"b")].concat();
        let (payload, controls) = decode(&bytes, 1_000).unwrap();
        assert_eq!((payload, controls.close), (b"a".to_vec(), true));
        assert!(decode(&frame(0x88, b""), 1).unwrap().1.close);
    }

    #[test]
    fn a_close_frame_is_checked() {
        let close = |code: u16, reason: &[u8]| frame(0x88, &[&code.to_be_bytes()[..], reason].concat());
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            assert!(decode(&close(code, "Gr\u{fc}\u{df}e".as_bytes()), 1).unwrap().1.close, "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX] {
            assert_eq!(decode(&close(code, b""), 1_000).unwrap_err(), CloseCode::Protocol, "{code}");
        }
        assert_eq!(decode(&frame(0x88, &[3]), 1_000).unwrap_err(), CloseCode::Protocol, "half a code");
        assert_eq!(decode(&close(1000, b"\xED\xA0\x80"), 1).unwrap_err(), CloseCode::Inconsistent, "half a character");
    }

    #[test]
    fn frames_against_the_rules_have_their_status_code() {
        let mut unmasked = frame(0x82, b"abcd");
        unmasked[1] &= 0x7F;
        let control = |first| frame(first, &[0; 126]);
        let long_form = [&[0x82, 0x80 | 126, 0, 5][..], &MASK, b"abcde"].concat();
        let longest_form = [&[0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF][..], &MASK].concat();
        let negative = [&[0x82, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0][..], &MASK].concat();
        let cases = [
            (frame(0x81, b"text"), CloseCode::Unsupported),
            (frame(0x01, b"text in fragments"), CloseCode::Unsupported),
            (frame(0x83, b"no such frame"), CloseCode::Protocol),
            (frame(0x8B, b"no such control"), CloseCode::Protocol),
            (frame(0xC2, b"compressed"), CloseCode::Protocol),
            (frame(0xC1, b"compressed text"), CloseCode::Protocol),
            (frame(0x80, b"goes on from nothing"), CloseCode::Protocol),
            ([frame(0x02, b"begins"), frame(0x82, b"begins again")].concat(), CloseCode::Protocol),
            (frame(0x09, b"half a ping"), CloseCode::Protocol),
            (control(0x89), CloseCode::Protocol),
            (control(0x88), CloseCode::Protocol),
            (unmasked, CloseCode::Protocol),
            (long_form, CloseCode::Protocol),
            (longest_form, CloseCode::Protocol),
            (negative, CloseCode::Protocol),
        ];
        for (bytes, code) in cases {
            assert_eq!(decode(&bytes, 1_000).unwrap_err(), code, "{:?}", &bytes[..4]);
            assert_eq!(decode(&bytes, 1).unwrap_err(), code, "{:?}", &bytes[..4]);
        }
    }

    #[test]
    fn a_long_announced_frame_takes_no_memory() {
        let mut decoder = FrameDecoder::default();
        let mut bytes =
            [&[0x82, 0x80 | 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF][..], &MASK, b"abc"].concat();
        assert_eq!(decoder.decode(&mut bytes).unwrap().0, 3);
        assert_eq!(decoder.control.capacity(), 0);
        assert!(size_of::<FrameDecoder>() <= 72, "{}", size_of::<FrameDecoder>());
    }

    #[test]
    fn random_frames_do_not_panic() {
        let mut state = 7_u64;
        let mut byte = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        for _ in 0..50_000 {
            let mut bytes: Vec<u8> = (0..40).map(|_| byte()).collect();
            (bytes[0], bytes[1]) = ([0x02, 0x82, 0x89, 0x88][usize::from(bytes[0] % 4)], bytes[1] | 0x80);
            let mut decoder = FrameDecoder::default();
            if let Ok((kept, _)) = decoder.decode(&mut bytes) {
                assert!(kept <= 34);
            }
        }
    }
}
