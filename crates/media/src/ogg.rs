//! Ogg pages (RFC 3533), as far as a writer of one stream needs them.

/// Segments of one page.
const SEGMENTS: usize = 255;

/// One logical stream that grows page by page.
pub(crate) struct Pages {
    serial: u32,
    next: u32,
    /// Packets of the page that is being filled: their lengths, and their bytes one behind the other.
    lacing: Vec<u8>,
    payload: Vec<u8>,
}

/// Where in a stream a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    First = 0x02,
    Middle = 0,
    Last = 0x04,
}

impl Pages {
    pub(crate) fn new(serial: u32) -> Self {
        Pages { serial, next: 0, lacing: Vec::new(), payload: Vec::new() }
    }

    /// Whether a packet of so many bytes still fits on the page.
    pub(crate) fn has_room(&self, length: usize) -> bool {
        self.lacing.len() + length / 255 < SEGMENTS
    }

    /// Puts a packet on the page. It must fit.
    pub(crate) fn packet(&mut self, bytes: &[u8]) {
        debug_assert!(self.has_room(bytes.len()));
        self.lacing.extend(std::iter::repeat_n(255, bytes.len() / 255));
        self.lacing.push((bytes.len() % 255) as u8);
        self.payload.extend_from_slice(bytes);
    }

    /// Ends the page, whose last packet ends at `position` (the granule position of the codec), and appends it to `out`.
    pub(crate) fn end_page(&mut self, part: Part, position: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(b"OggS\0");
        out.push(part as u8);
        out.extend_from_slice(&position.to_le_bytes());
        out.extend_from_slice(&self.serial.to_le_bytes());
        out.extend_from_slice(&self.next.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.push(self.lacing.len() as u8);
        out.append(&mut self.lacing);
        out.append(&mut self.payload);
        let sum = checksum(&out[start..]);
        out[start + 22..start + 26].copy_from_slice(&sum.to_le_bytes());
        self.next += 1;
    }
}

/// CRC-32 of RFC 3533 §6: the usual polynomial, not reflected, from zero.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| match sum & 0x8000_0000 {
            0 => sum << 1,
            _ => sum << 1 ^ 0x04C1_1DB7,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_with_the_length_behind_is_that_of_posix() {
        // cksum(1) of "123456789" is 930766865: the same sum, taken over the length as well, inverted.
        assert_eq!(!checksum(b"123456789\x09"), 930_766_865);
    }

    #[test]
    fn a_page_holds_whole_packets_of_any_length_and_names_its_place() {
        let mut pages = Pages::new(7);
        let mut out = Vec::new();
        for length in [0, 254, 255, 256, 600] {
            pages.packet(&vec![length as u8; length]);
        }
        pages.end_page(Part::First, 0, &mut out);
        assert_eq!(&out[..6], b"OggS\0\x02");
        assert_eq!(out[26..36], [9, 0, 254, 255, 0, 255, 1, 255, 255, 90]);
        assert_eq!(out.len(), 27 + 9 + 254 + 255 + 256 + 600);
    }

    #[test]
    fn a_page_has_room_for_as_much_as_its_table_can_name() {
        let mut pages = Pages::new(7);
        assert!(pages.has_room(254 * 255 + 254) && !pages.has_room(255 * 255));
        (0..254).for_each(|_| pages.packet(&[1]));
        assert!(pages.has_room(254) && !pages.has_room(255));
    }
}
