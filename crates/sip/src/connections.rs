//! The table of stream connections: by id and by peer, open or being opened.

use std::collections::HashMap;

use bytes::Bytes;

use crate::{FlowId, Hop, Transmit, stream::Connection};

#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: HashMap<FlowId, Connection>,
    by_peer: HashMap<Hop, FlowId>,
    /// Messages that wait for a connection to be opened.
    opening: HashMap<Hop, Vec<Bytes>>,
    count: u64,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Handed,
    /// The peer does not read: its connection is to be closed.
    Full(FlowId),
    /// A connection is to be opened first; the message waits.
    Open,
    /// It was for a connection that is gone, and its peer takes none: it has opened that one itself.
    Gone,
    /// Too much waits already for this peer, or there are too many connections.
    Refused,
}

impl Connections {
    pub fn len(&self) -> usize {
        self.open.len() + self.opening.len()
    }

    pub fn next_id(&mut self) -> FlowId {
        self.count += 1;
        FlowId(self.count)
    }

    pub fn insert(&mut self, flow: FlowId, connection: Connection) {
        self.by_peer.insert(connection.hop, flow);
        self.open.insert(flow, connection);
    }

    /// Forgets a connection, which stops its tasks.
    pub fn remove(&mut self, flow: FlowId) -> Option<Hop> {
        let connection = self.open.remove(&flow)?;
        if self.by_peer.get(&connection.hop) == Some(&flow) {
            self.by_peer.remove(&connection.hop);
        }
        Some(connection.hop)
    }

    pub fn send(&mut self, message: &Transmit, queue: usize, max: usize) -> Sent {
        let own = message.flow.filter(|flow| self.open.contains_key(flow));
        let flow = own.or_else(|| self.by_peer.get(&message.hop()).copied());
        if let Some(flow) = flow
            && let Some(connection) = self.open.get(&flow)
        {
            return match connection.send(message.bytes.clone()) {
                true => Sent::Handed,
                false => Sent::Full(flow),
            };
        }
        if message.flow.is_some() {
            return Sent::Gone;
        }
        if let Some(waiting) = self.opening.get_mut(&message.hop()) {
            if waiting.len() >= queue {
                return Sent::Refused;
            }
            waiting.push(message.bytes.clone());
            return Sent::Handed;
        }
        if self.len() >= max {
            return Sent::Refused;
        }
        let waiting = vec![message.bytes.clone()];
        self.opening.insert(message.hop(), waiting);
        Sent::Open
    }

    /// What waited for a connection to this peer.
    pub fn opened(&mut self, hop: Hop) -> Vec<Bytes> {
        self.opening.remove(&hop).unwrap_or_default()
    }

    pub fn get(&self, flow: FlowId) -> Option<&Connection> {
        self.open.get(&flow)
    }
}
