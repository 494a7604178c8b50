//! Whether audio flows each way: told once after negotiation, and when it changes. Counts in ticks of 20 ms.

/// The flow of one leg.
pub(crate) struct Flow {
    check_ticks: u64,
    timeout_ticks: u64,
    state: State,
}

enum State {
    /// Not negotiated.
    Idle,
    /// To be told at `deadline`, or as soon as both ways flow. Packets counted before do not count.
    Checking {
        deadline: u64,
        before: Packets,
    },
    Told {
        flowing: Flowing,
        last: Packets,
        received_at: u64,
        sent_at: u64,
    },
}

/// Packets of each way so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packets {
    pub received: u64,
    pub sent: u64,
}

/// Which ways audio flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flowing {
    pub received: bool,
    pub sent: bool,
}

impl Flow {
    pub(crate) fn new(check_ticks: u64, timeout_ticks: u64) -> Self {
        Flow { check_ticks, timeout_ticks, state: State::Idle }
    }

    /// Offer and answer agree (again): the next check tells anew.
    pub(crate) fn negotiated(&mut self, now: u64, before: Packets) {
        self.state = State::Checking { deadline: now + self.check_ticks, before };
    }

    /// To be called every tick; tells what is new.
    pub(crate) fn tick(&mut self, now: u64, packets: Packets) -> Option<Flowing> {
        match &mut self.state {
            State::Idle => None,
            State::Checking { deadline, before } => {
                let flowing = Flowing {
                    received: packets.received > before.received,
                    sent: packets.sent > before.sent,
                };
                let both = flowing.received && flowing.sent;
                (both || now >= *deadline).then(|| {
                    self.state =
                        State::Told { flowing, last: packets, received_at: now, sent_at: now };
                    flowing
                })
            }
            State::Told { flowing, last, received_at, sent_at } => {
                if packets.received > last.received {
                    *received_at = now;
                }
                if packets.sent > last.sent {
                    *sent_at = now;
                }
                // What flows stops after a time-out; what does not flow starts with its first packet.
                let current = Flowing {
                    received: packets.received > last.received
                        || flowing.received && now - *received_at < self.timeout_ticks,
                    sent: packets.sent > last.sent
                        || flowing.sent && now - *sent_at < self.timeout_ticks,
                };
                *last = packets;
                (current != *flowing).then(|| {
                    *flowing = current;
                    current
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(received: u64, sent: u64) -> Packets {
        Packets { received, sent }
    }

    fn told(received: bool, sent: bool) -> Option<Flowing> {
        Some(Flowing { received, sent })
    }

    #[test]
    fn told_at_once_where_both_ways_flow_and_then_only_when_it_changes() {
        let mut flow = Flow::new(150, 500);
        assert_eq!(flow.tick(0, packets(5, 5)), None, "not negotiated");
        flow.negotiated(10, packets(5, 5));
        assert_eq!(flow.tick(11, packets(5, 6)), None);
        assert_eq!(flow.tick(12, packets(6, 7)), told(true, true));
        for now in 13..512 {
            assert_eq!(flow.tick(now, packets(6, now)), None);
        }
        assert_eq!(flow.tick(512, packets(6, 600)), told(false, true));
        assert_eq!(flow.tick(513, packets(7, 601)), told(true, true));
    }

    #[test]
    fn one_way_audio_is_told_at_the_deadline() {
        let mut flow = Flow::new(150, 500);
        flow.negotiated(0, packets(0, 0));
        assert_eq!(flow.tick(149, packets(0, 149)), None);
        assert_eq!(flow.tick(150, packets(0, 150)), told(false, true));
        assert_eq!(flow.tick(151, packets(0, 151)), None);
        assert_eq!(flow.tick(152, packets(1, 152)), told(true, true));
    }

    #[test]
    fn a_further_negotiation_tells_anew() {
        let mut flow = Flow::new(150, 500);
        flow.negotiated(0, packets(0, 0));
        assert_eq!(flow.tick(1, packets(1, 1)), told(true, true));
        flow.negotiated(2, packets(1, 1));
        assert_eq!(flow.tick(3, packets(2, 2)), told(true, true));
    }
}
