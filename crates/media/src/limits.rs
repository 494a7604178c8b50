//! How many legs this machine lets us have.

use std::ops::RangeInclusive;

use crate::config::Config;
use crate::descriptors;

/// Sockets of a leg: RTP and RTCP.
const SOCKETS_PER_LEG: u64 = 2;
/// Descriptors left to the rest of the process in any case: SIP, database, callbacks, recordings.
const RESERVED: u64 = 256;

/// How many legs there may be at a time, and what sets the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    pub legs: usize,
    pub limited_by: Limit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The configured port range.
    Ports,
    /// The limit on open files (`ulimit -n`), after it has been raised as far as the system lets us.
    Descriptors,
}

pub(crate) fn capacity(config: &Config) -> Capacity {
    let reserved = RESERVED + config.reserved_descriptors;
    let descriptors = descriptors::raise_limit().saturating_sub(reserved) / SOCKETS_PER_LEG;
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let ports = pairs(config.port_range.as_ref().unwrap_or(&(1024..=u16::MAX)));
    if ports < descriptors {
        Capacity { legs: ports, limited_by: Limit::Ports }
    } else {
        Capacity { legs: descriptors, limited_by: Limit::Descriptors }
    }
}

/// Pairs of an even port and the odd one above.
pub(crate) fn pairs(range: &RangeInclusive<u16>) -> usize {
    let first = u32::from(*range.start()).next_multiple_of(2);
    let end = u32::from(*range.end()) + 1;
    (end.saturating_sub(first) / 2) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_an_even_port_and_the_one_above() {
        assert_eq!(pairs(&(10_000..=10_001)), 1);
        assert_eq!(pairs(&(10_000..=10_000)), 0);
        assert_eq!(pairs(&(10_001..=10_004)), 1);
        assert_eq!(pairs(&(1..=u16::MAX)), 32_767);
        assert_eq!(pairs(&(RangeInclusive::new(5, 4))), 0);
    }
}
