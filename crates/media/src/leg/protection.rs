//! A leg's SRTP contexts over its life.

use crate::keying::Keying;
use crate::srtp::{Inbound, Outbound, Refused, Suite};

/// Whether a leg is encrypted now.
pub(super) enum Secrecy {
    Plain,
    Encrypted(Box<Protection>),
    /// It was, and a later agreement has made it plain. Its counters are kept: with the same keys they must go on.
    PlainAgain(Box<Protection>),
}

impl Secrecy {
    /// Offer and answer agree, on keys or on none.
    pub(super) fn agree(&mut self, keying: Option<Keying>) {
        let before = std::mem::replace(self, Secrecy::Plain);
        *self = match (before, keying) {
            (Secrecy::Plain, None) => Secrecy::Plain,
            (Secrecy::Plain, Some(keying)) => Secrecy::Encrypted(Box::new(Protection::new(keying))),
            (Secrecy::Encrypted(protection) | Secrecy::PlainAgain(protection), None) => {
                Secrecy::PlainAgain(protection)
            }
            (
                Secrecy::Encrypted(mut protection) | Secrecy::PlainAgain(mut protection),
                Some(keying),
            ) => {
                protection.agree(keying);
                Secrecy::Encrypted(protection)
            }
        };
    }

    /// `None`: plain RTP.
    pub(super) fn protection(&mut self) -> Option<&mut Protection> {
        match self {
            Secrecy::Encrypted(protection) => Some(protection),
            Secrecy::Plain | Secrecy::PlainAgain(_) => None,
        }
    }
}

/// What both directions are encrypted with.
pub(super) struct Protection {
    keying: Keying,
    outbound: Outbound,
    inbound: Inbound,
    /// The far side's key before this one, until the first packet under the new one: it learns later than we that both have
    /// changed.
    previous: Option<Inbound>,
}

impl Protection {
    fn new(keying: Keying) -> Self {
        let (outbound, far) = (Outbound::new(&keying.own.key), &keying.far);
        let inbound = Inbound::new(&far.key, &far.mki, far.lifetime);
        Protection { keying, outbound, inbound, previous: None }
    }

    /// Offer and answer agree anew. A direction whose key stays keeps its counters: beginning them again would encrypt twice
    /// with the same key stream.
    fn agree(&mut self, keying: Keying) {
        if keying.own.key != self.keying.own.key {
            self.outbound = self.outbound.rekeyed(&keying.own.key);
        }
        let far = &keying.far;
        if (&far.key, &far.mki) != (&self.keying.far.key, &self.keying.far.mki) {
            let next = self.inbound.rekeyed(&far.key, &far.mki, far.lifetime);
            self.previous = Some(std::mem::replace(&mut self.inbound, next));
        }
        self.keying = keying;
    }

    pub(super) fn suite(&self) -> Suite {
        self.keying.own.key.suite()
    }

    pub(super) fn outbound(&mut self) -> &mut Outbound {
        &mut self.outbound
    }

    /// Opens a packet into `clear`; returns its length there.
    pub(super) fn open_rtp(&mut self, packet: &[u8], clear: &mut [u8]) -> Result<usize, Refused> {
        let opened = self.inbound.open_rtp(packet, clear);
        match (opened, &mut self.previous) {
            (Ok(_), _) => self.previous = None,
            (Err(Refused::Forged), Some(previous)) => return previous.open_rtp(packet, clear),
            (Err(_), _) => {}
        }
        opened
    }

    /// Opens a report into `clear`; as above, but a report says nothing of when the audio changes its key.
    pub(super) fn open_rtcp(&mut self, packet: &[u8], clear: &mut [u8]) -> Result<usize, Refused> {
        let opened = self.inbound.open_rtcp(packet, clear);
        match (opened, &mut self.previous) {
            (Err(Refused::Forged), Some(previous)) => previous.open_rtcp(packet, clear),
            (_, _) => opened,
        }
    }
}
