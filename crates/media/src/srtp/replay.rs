//! The replay window (RFC 3711 §3.3.2).

/// Packets behind the highest one that may still come: 2.5 seconds of audio.
const SIZE: u64 = u128::BITS as u64;

/// Which indices of one stream have been seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    highest: u64,
    /// Bit n: `highest - n` was seen.
    seen: u128,
}

impl Window {
    /// The window of a stream whose first packet is `index`.
    pub(super) fn starting(index: u64) -> Self {
        Window { highest: index, seen: 1 }
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether a packet is neither seen nor too old to know.
    pub(super) fn is_fresh(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(behind) => behind < SIZE && self.seen >> behind & 1 == 0,
        }
    }

    /// Notes a fresh packet that has proven itself.
    pub(super) fn note(&mut self, index: u64) {
        match self.highest.checked_sub(index) {
            Some(behind) => self.seen |= 1 << behind,
            None => {
                let ahead = index - self.highest;
                self.seen = if ahead < SIZE { self.seen << ahead | 1 } else { 1 };
                self.highest = index;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_is_fresh_once_in_any_order_within_the_window() {
        let mut window = Window::starting(1000);
        assert!(!window.is_fresh(1000));
        for index in [1001, 999, 1005, 1003, 1000 + SIZE, 1002] {
            assert!(window.is_fresh(index), "{index}");
            window.note(index);
            assert!(!window.is_fresh(index), "{index}");
        }
        assert!(window.is_fresh(1004));
        assert!(!window.is_fresh(1000), "too old to know");
    }

    #[test]
    fn a_leap_forgets_what_is_behind_it() {
        let mut window = Window::starting(1);
        window.note(1_000_000);
        assert_eq!(window.highest(), 1_000_000);
        assert!(!window.is_fresh(1_000_000) && !window.is_fresh(1));
        assert!(window.is_fresh(1_000_000 - SIZE + 1));
        assert!(!window.is_fresh(1_000_000 - SIZE));
    }
}
