//! Connections (TCP and TLS) of a world: what is sent arrives once and in order, or the connection breaks.
//! Each end has a flow of its own, as each process numbers its own. One end may not know yet that the
//! other is gone: then it hears of it when it sends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use sip::{FlowId, Hop, Received, Transmit, TransportFault};

use super::agenda::Agenda;
use super::cast::Side;
use super::link::{Arrived, Path};

/// Who opens a connection gives up after so long.
const CONNECT: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Streams {
    /// The ends that are open, by flow.
    ends: BTreeMap<FlowId, End>,
    /// What waits for a connection.
    opening: BTreeMap<(Side, Hop), Vec<Bytes>>,
    flying: Agenda<Flying>,
    /// Processes that do not run.
    down: BTreeSet<Side>,
    count: u64,
}

struct End {
    side: Side,
    local: SocketAddr,
    hop: Hop,
    other: FlowId,
    /// When the last thing that it sent arrives.
    arrives: Duration,
}

#[derive(Debug)]
pub enum Flying {
    Message { from: FlowId, to: FlowId, bytes: Bytes },
    Closes(FlowId),
    Opening { from: Side, local: SocketAddr, hop: Hop },
    Fails { from: Side, hop: Hop, fault: TransportFault },
}

impl Streams {
    /// As the endpoint of `sip` does it: over the connection that is named, over any to that peer, over a new one.
    pub fn send(&mut self, message: Transmit, path: Path, now: Duration) {
        let from = Side::at(message.local);
        let hop = Hop { transport: message.transport, remote: message.remote, tls: message.tls };
        let own = message.flow.filter(|flow| self.ends.contains_key(flow));
        if let Some(flow) = own.or_else(|| self.to_peer(from, hop)) {
            return self.send_over(flow, message.bytes, path, now);
        }
        if message.flow.is_some() {
            let fault = TransportFault::Lost;
            return self.flying.put(now, Flying::Fails { from, hop, fault });
        }
        let waiting = self.opening.entry((from, hop)).or_default();
        waiting.push(message.bytes);
        if waiting.len() == 1 {
            let opening = Flying::Opening { from, local: message.local, hop };
            self.flying.put(now + path.takes.min(CONNECT), opening);
        }
    }

    /// The process is gone: whoever was connected with it hears of it at `at`.
    pub fn forget(&mut self, side: Side, at: Duration) {
        self.down.insert(side);
        self.opening.retain(|(of, _), _| *of != side);
        let gone: Vec<FlowId> =
            self.ends.iter().filter(|(_, end)| end.side == side).map(|(flow, _)| *flow).collect();
        for flow in gone {
            if let Some(end) = self.ends.remove(&flow) {
                self.flying.put(at, Flying::Closes(end.other));
            }
        }
    }

    pub fn come_up(&mut self, side: Side) {
        self.down.remove(&side);
    }

    pub fn break_one(&mut self, which: u64, half: bool, at: Duration) {
        if self.ends.is_empty() {
            return;
        }
        let place = (which % self.ends.len() as u64) as usize;
        let (flow, end) = self.ends.iter().nth(place).expect("it is one of them");
        let (flow, other) = (*flow, end.other);
        self.flying.put(at, Flying::Closes(flow));
        if !half {
            self.flying.put(at, Flying::Closes(other));
        }
    }

    pub fn next(&self) -> Option<Duration> {
        self.flying.next()
    }

    pub fn take(&mut self, now: Duration) -> Option<Flying> {
        self.flying.take(now)
    }

    /// What comes of it at the side that it is for.
    pub fn land(
        &mut self,
        flying: Flying,
        path: Path,
        now: Duration,
        dead: &BTreeSet<IpAddr>,
    ) -> Option<Arrived> {
        match flying {
            Flying::Message { from, to, bytes } => {
                let Some(end) = self.ends.get(&to) else {
                    // A reset answers whoever still thinks it open.
                    self.flying.put(now + path.takes, Flying::Closes(from));
                    return None;
                };
                if dead.contains(&end.local.ip()) || dead.contains(&end.hop.remote.ip()) {
                    return None;
                }
                let received = Received {
                    transport: end.hop.transport,
                    local: end.local,
                    remote: end.hop.remote,
                    flow: Some(to),
                    bytes,
                };
                Some(Arrived::Message(end.side, received))
            }
            Flying::Closes(flow) => {
                let end = self.ends.remove(&flow)?;
                Some(Arrived::Lost(end.side, flow, end.hop))
            }
            Flying::Fails { from, hop, fault } => {
                self.opening.remove(&(from, hop));
                Some(Arrived::Undeliverable(from, hop, fault))
            }
            Flying::Opening { from, local, hop } => {
                self.open(from, local, hop, path, now, dead);
                None
            }
        }
    }

    fn open(
        &mut self,
        from: Side,
        local: SocketAddr,
        hop: Hop,
        path: Path,
        now: Duration,
        dead: &BTreeSet<IpAddr>,
    ) {
        if !self.opening.contains_key(&(from, hop)) {
            return;
        }
        let to = Side::at(hop.remote);
        let fails = |fault| Flying::Fails { from, hop, fault };
        if path.is_cut || dead.contains(&hop.remote.ip()) || dead.contains(&local.ip()) {
            return self.flying.put(now + CONNECT, fails(TransportFault::TimedOut));
        }
        if self.down.contains(&to) {
            return self.flying.put(now + path.takes, fails(TransportFault::Refused));
        }
        let port = 40_000 + (self.count % 20_000) as u16;
        let (near, far) = (FlowId(self.count + 1), FlowId(self.count + 2));
        self.count += 2;
        let arrives = now;
        let end = End { side: from, local, hop, other: far, arrives };
        let seen = Hop::new(hop.transport, SocketAddr::new(local.ip(), port));
        let other = End { side: to, local: hop.remote, hop: seen, other: near, arrives };
        self.ends.extend([(near, end), (far, other)]);
        for bytes in self.opening.remove(&(from, hop)).unwrap_or_default() {
            self.send_over(near, bytes, path, now);
        }
    }

    fn send_over(&mut self, flow: FlowId, bytes: Bytes, path: Path, now: Duration) {
        let Some(end) = self.ends.get_mut(&flow) else { return };
        end.arrives = end.arrives.max(now + path.takes);
        let (at, to) = (end.arrives, end.other);
        self.flying.put(at, Flying::Message { from: flow, to, bytes });
    }

    fn to_peer(&self, side: Side, hop: Hop) -> Option<FlowId> {
        let mut open = self.ends.iter().rev();
        open.find(|(_, end)| end.side == side && end.hop == hop).map(|(flow, _)| *flow)
    }
}
