//! Serial numbers: 41 bits of milliseconds, 10 of node, 12 of sequence (decisions.md, Wire).

use crate::vocabulary::Serial;

/// 2015-01-01T00:00:00Z; 41 bits of milliseconds last until 2084.
const EPOCH_MS: i64 = 1_420_070_400_000;
const SEQUENCE_BITS: u32 = 12;
const NODE_BITS: u32 = 10;

/// Gives each number once, also when the clock stands still or steps back: then it counts on from
/// the last number given instead of reading the clock.
#[derive(Debug)]
pub struct Serials {
    node: u64,
    /// Milliseconds and sequence of the last number, without the node.
    last: u64,
}

impl Serials {
    /// `node` 0 to 1023; `highest` is the largest serial on disk.
    pub fn new(node: u16, highest: Option<Serial>) -> Serials {
        Serials {
            node: u64::from(node) & ((1 << NODE_BITS) - 1),
            last: highest.map_or(0, clock_part),
        }
    }

    pub fn next(&mut self, unix_ms: i64) -> Serial {
        let ms = u64::try_from(unix_ms - EPOCH_MS).unwrap_or(0);
        self.last = (ms << SEQUENCE_BITS).max(self.last + 1);
        let (ms, sequence) = (self.last >> SEQUENCE_BITS, self.last & ((1 << SEQUENCE_BITS) - 1));
        Serial((ms << (NODE_BITS + SEQUENCE_BITS)) | (self.node << SEQUENCE_BITS) | sequence)
    }
}

fn clock_part(serial: Serial) -> u64 {
    let ms = serial.0 >> (NODE_BITS + SEQUENCE_BITS);
    (ms << SEQUENCE_BITS) | (serial.0 & ((1 << SEQUENCE_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_when_the_clock_stands_or_steps_back() {
        let mut serials = Serials::new(3, None);
        let start = 1_795_000_000_000;
        let mut last = serials.next(start);
        for clock in (0..5_000).map(|_| start).chain([start - 3_600_000, start - 1, start + 1]) {
            let next = serials.next(clock);
            assert!(next > last);
            last = next;
        }
    }

    #[test]
    fn goes_on_after_the_highest_on_disk() {
        let mut before = Serials::new(0, None);
        let highest = before.next(1_795_000_000_000);
        let mut after = Serials::new(0, Some(highest));
        assert!(after.next(1_700_000_000_000) > highest);
    }

    #[test]
    fn has_nineteen_digits_in_63_bits() {
        let serial = Serials::new(1023, None).next(1_795_000_000_000);
        assert_eq!(serial.to_string().len(), 19);
        assert!(serial.0 < 1 << 63);
    }
}
