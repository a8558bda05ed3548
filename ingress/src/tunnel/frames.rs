//! The borders of WebSocket frames (RFC 6455, section 5.2) in what a client gets: only at one of them may a frame be put in.

/// The frame that closes a WebSocket with status 1012, Service Restart
/// (<https://www.iana.org/assignments/websocket/websocket.xml>): its client connects again.
pub(super) const RESTARTS: [u8; 4] = [0x88, 2, 0x03, 0xf4];

/// Most bytes of a frame's head.
const HEAD: usize = 14;
const CLOSE: u8 = 8;

/// The frames of one direction, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD],
    /// Bytes of the head that have come.
    had: usize,
    /// Bytes of the payload that are still to come.
    left: u64,
    is_closed: bool,
}

impl Frames {
    /// Takes the next bytes.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        while let Some((&next, rest)) = bytes.split_first() {
            if self.left > 0 {
                let payload = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= u64::try_from(payload).unwrap_or(self.left);
                bytes = bytes.get(payload..).unwrap_or_default();
                continue;
            }
            if let Some(place) = self.head.get_mut(self.had) {
                *place = next;
            }
            self.had += 1;
            bytes = rest;
            if self.had >= 2 && self.had == self.head_len() {
                self.left = self.payload();
                self.is_closed |= self.head[0] & 0x0f == CLOSE;
                self.had = 0;
            }
        }
    }

    /// Whether a frame may be put in here: the last one is whole, and it did not close the WebSocket.
    pub(super) const fn is_at_border(&self) -> bool {
        self.had == 0 && self.left == 0 && !self.is_closed
    }

    const fn head_len(&self) -> usize {
        let length = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length + mask
    }

    fn payload(&self) -> u64 {
        let [_, short, a, b, c, d, e, f, g, h, ..] = self.head;
        match short & 0x7f {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => u64::from(short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of text with a payload of this length.
    fn text(len: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x81];
        match len {
            0..=125 => frame.push(mask | u8::try_from(len).unwrap()),
            126..=65_535 => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend(u64::try_from(len).unwrap().to_be_bytes());
            }
        }
        frame.extend(vec![7; if masked { 4 } else { 0 }]);
        frame.extend(vec![0x88; len]);
        frame
    }

    #[test]
    fn a_frame_ends_at_its_last_byte() {
        for len in [0, 1, 125, 126, 300, 65_535, 65_536, 70_000] {
            for masked in [false, true] {
                for piece in [1, 3, 1000] {
                    let two = [text(len, masked), text(2, masked)].concat();
                    let first = two.len() - text(2, masked).len();
                    let (mut frames, mut taken) = (Frames::default(), 0);
                    for bytes in two.chunks(piece) {
                        frames.take(bytes);
                        taken += bytes.len();
                        let wanted = taken == first || taken == two.len();
                        assert_eq!(frames.is_at_border(), wanted, "{taken} of {first} and {}", two.len());
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_follows_a_close() {
        let mut frames = Frames::default();
        assert!(frames.is_at_border());
        frames.take(&[0x88, 2, 0x03, 0xe8]);
        assert!(!frames.is_at_border());
    }
}
