//! What becomes of requests whose hop takes nothing, or whose connection is gone.

use std::time::Duration;

use super::{Client, ClientKey, Connections, NewClient, Owner, Purpose, State};
use crate::{Hop, LegId, TransportFault, stack::Stack};

impl Stack {
    /// Nothing can be delivered to `hop`: what nothing has answered fails, but for a request that was lost with its
    /// connection and is sent again.
    pub fn fail_clients(&mut self, hop: Hop, fault: TransportFault) -> Vec<(ClientKey, Owner)> {
        let lost =
            |client: &Client| client.to.hop() == hop && matches!(client.state, State::Sent { .. });
        let all = self.clients.live.iter();
        let keys: Vec<ClientKey> =
            all.filter(|(_, client)| lost(client)).map(|(key, _)| *key).collect();
        let failed = keys.into_iter().filter_map(|key| {
            if fault == TransportFault::Lost && self.sent_over_another(key) {
                return None;
            }
            let client = self.clients.live.remove(&key)?;
            self.stop_resending(&client.state);
            let owner = client.owner;
            if let (TransportFault::Lost, Owner::Leg(leg, Purpose::Invite) | Owner::Nobody(leg)) =
                (fault, owner)
                && client.is_invite
            {
                let Client { bytes, to, .. } = client;
                self.take_back(leg, NewClient { key, owner, is_invite: true, bytes, to });
            }
            Some((key, owner))
        });
        failed.collect()
    }

    /// A connection may have been dead for long when a request is written to it: one other than INVITE goes out once more,
    /// over a new connection and within its time. Where the first did arrive, its branch says that this is the same
    /// (RFC 3261 §17.2.3). Not where the peer takes no connections and had opened this one itself.
    fn sent_over_another(&mut self, key: ClientKey) -> bool {
        let Some(client) = self.clients.live.get_mut(&key) else { return false };
        let State::Sent { connections: connections @ Connections::First, .. } = &mut client.state
        else {
            return false;
        };
        if client.is_invite || client.to.flow.is_some() {
            return false;
        }
        *connections = Connections::Second;
        let (leg, to, bytes) = (client.owner.leg(), client.to, client.bytes.clone());
        self.transmit(leg, to, bytes);
        true
    }

    /// An INVITE whose connection was lost may ring all the same, and what it is answered with has no way back; so may one
    /// that was not repeated in its time. RFC 3261 §9.1 lets a CANCEL wait for a provisional so that it does not overtake
    /// its INVITE: of these two the INVITE is through, or gone.
    pub fn take_back(&mut self, leg: LegId, invite: NewClient) {
        let (key, bytes, to) = (invite.key, invite.bytes.clone(), invite.to);
        let invite = NewClient { owner: Owner::Nobody(leg), ..invite };
        self.insert_client(invite, Duration::ZERO, State::Proceeding);
        self.cancel_unwanted(key, leg, &bytes, to);
    }
}
