//! Where an INVITE goes when its first target is dead (RFC 3263 §4.3), and how large ones travel.

use std::{collections::VecDeque, time::Duration};

use thiserror::Error;

use crate::{Destination, Transport, TransportFault, stack::Stack};

/// What is tried after [`crate::Invite::destination`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// In the order in which they are tried; each after the one before did not answer at all, could
    /// not be reached, or refused with 503 before it rang. At most 16 are looked at.
    pub next: VecDeque<Destination>,
    /// How long a target may say nothing while there is another one. The last one has until Timer B.
    pub patience: Duration,
    pub large: LargeRequests,
}

impl Default for Failover {
    fn default() -> Failover {
        Failover {
            next: VecDeque::new(),
            patience: Duration::from_secs(5),
            large: LargeRequests::AsConfigured,
        }
    }
}

/// How an INVITE for UDP travels that is longer than 1300 bytes, which may not fit into a packet
/// (RFC 3261 §18.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LargeRequests {
    /// Over TCP to the same address; where that does not work, over UDP after all.
    Tcp,
    /// Over UDP like any other: the network has to put its pieces together again.
    AsConfigured,
}

/// Why a new INVITE takes the place of one that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// `failed` is dead: the next target is tried.
    NextTarget { failed: Destination, why: Dead },
    /// 422: the far side insists on a longer session interval (RFC 4028 §7.4).
    SessionInterval,
}

/// What a dead target did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Dead {
    /// Nothing at all.
    #[error("it says nothing")]
    Silent,
    /// It refused with 503; the seconds of its Retry-After.
    #[error("503, it is not available")]
    Unavailable { retry_after: Option<u32> },
    #[error(transparent)]
    Undeliverable(TransportFault),
}

/// Above this a request over UDP is in danger of being cut (RFC 3261 §18.1.1).
const SAFE_DATAGRAM: usize = 1300;
const MAX_TARGETS: usize = 16;

impl Failover {
    /// Keeps what a listener of ours reaches.
    pub(crate) fn resolved(mut self, stack: &Stack) -> Failover {
        let next = self.next.into_iter().take(MAX_TARGETS);
        self.next = next.filter_map(|target| stack.resolved(target)).collect();
        self
    }

    /// Where a request of `length` bytes for `to` goes first; `to` itself then comes next.
    pub(crate) fn for_length(
        &mut self,
        length: usize,
        to: Destination,
        stack: &Stack,
    ) -> Destination {
        let wants_tcp = self.large == LargeRequests::Tcp
            && to.transport == Transport::Udp
            && length > SAFE_DATAGRAM;
        let over_tcp = Destination { transport: Transport::Tcp, local: None, flow: None, ..to };
        match stack.resolved(over_tcp).filter(|_| wants_tcp) {
            Some(over_tcp) => {
                self.next.push_front(to);
                over_tcp
            }
            None => to,
        }
    }

    /// The next target after `failed`. One that takes no TCP is not asked for it again.
    pub(crate) fn after(&mut self, failed: Destination) -> Option<Destination> {
        let next = self.next.pop_front()?;
        if next.transport == Transport::Udp && failed.addr == next.addr {
            self.large = LargeRequests::AsConfigured;
        }
        Some(next)
    }
}
