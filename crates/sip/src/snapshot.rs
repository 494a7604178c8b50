//! A confirmed dialog as it lies on disk before its ACK leaves.

use std::net::SocketAddr;

use crate::{
    LegId, TlsPeer, Transport, WireError,
    wire::{Decoder, Encoder},
};

/// What is needed to end a dialog after a restart (RFC 3261 §12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogSnapshot {
    pub leg: LegId,
    pub call_id: String,
    pub local_tag: String,
    pub remote_tag: String,
    /// Our From or To value, with its tag.
    pub local_party: String,
    /// The far side's, with its tag.
    pub remote_party: String,
    /// The far side's Contact.
    pub target: String,
    /// Route values in the order in which they are sent.
    pub routes: Vec<String>,
    /// CSeq of our last request.
    pub local_cseq: u32,
    /// CSeq of the INVITE that opened the dialog: its ACK has the same.
    pub invite_cseq: u32,
    pub remote_cseq: Option<u32>,
    pub transport: Transport,
    /// The bound address of ours.
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// Who has to be there, over TLS.
    pub tls: Option<TlsPeer>,
}

const FORMAT: u8 = 2;

impl DialogSnapshot {
    /// A record for the store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new(FORMAT);
        out.number(self.leg.0);
        for text in [
            &self.call_id,
            &self.local_tag,
            &self.remote_tag,
            &self.local_party,
            &self.remote_party,
            &self.target,
        ] {
            out.text(text);
        }
        out.number(self.routes.len() as u64);
        for route in &self.routes {
            out.text(route);
        }
        out.number(self.local_cseq.into());
        out.number(self.invite_cseq.into());
        out.number(self.remote_cseq.map_or(0, |cseq| u64::from(cseq) + 1));
        out.transport(self.transport);
        out.text(&self.local.to_string());
        out.text(&self.remote.to_string());
        out.tls(self.tls);
        out.0
    }

    /// Reads what [`DialogSnapshot::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<DialogSnapshot, WireError> {
        let mut input = Decoder::new(bytes, FORMAT)?;
        let snapshot = DialogSnapshot {
            leg: LegId(input.number()?),
            call_id: input.text()?,
            local_tag: input.text()?,
            remote_tag: input.text()?,
            local_party: input.text()?,
            remote_party: input.text()?,
            target: input.text()?,
            routes: (0..input.number()?).map(|_| input.text()).collect::<Result<_, _>>()?,
            local_cseq: sequence(input.number()?)?,
            invite_cseq: sequence(input.number()?)?,
            remote_cseq: match input.number()? {
                0 => None,
                above => Some(sequence(above - 1)?),
            },
            transport: input.transport()?,
            local: input.address()?,
            remote: input.address()?,
            tls: input.tls()?,
        };
        input.end()?;
        Ok(snapshot)
    }
}

fn sequence(value: u64) -> Result<u32, WireError> {
    u32::try_from(value).map_err(|_| WireError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(
            texts in prop::array::uniform6(".*"),
            routes in prop::collection::vec(".*", 0..4),
            cseqs: (u32, u32, Option<u32>),
        ) {
            let [call_id, local_tag, remote_tag, local_party, remote_party, target] = texts;
            let snapshot = DialogSnapshot {
                leg: LegId(9), call_id, local_tag, remote_tag, local_party, remote_party, target, routes,
                local_cseq: cseqs.0, invite_cseq: cseqs.1, remote_cseq: cseqs.2,
                transport: Transport::Udp,
                local: "127.0.0.1:5060".parse().unwrap(),
                remote: "127.0.0.1:5062".parse().unwrap(),
                tls: cseqs.2.map(|peer| TlsPeer(peer.into())),
            };
            prop_assert_eq!(DialogSnapshot::from_bytes(&snapshot.to_bytes()), Ok(snapshot));
        }

        #[test]
        fn damage_is_an_error_never_a_panic(bytes: Vec<u8>) {
            prop_assert!(DialogSnapshot::from_bytes(&bytes).is_err());
            let mut tagged = vec![FORMAT];
            tagged.extend(&bytes);
            let _ = DialogSnapshot::from_bytes(&tagged);
        }
    }
}
