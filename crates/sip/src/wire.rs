//! An INVITE as it lies on disk before its first byte leaves.

use std::net::SocketAddr;

use bytes::Bytes;
use thiserror::Error;

use crate::{LegId, TlsPeer, Transport};

/// Exact bytes of an INVITE and the sockets between which it travels.
///
/// Sent again from the same port within 32 s the bytes are a retransmission: one ringing phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    pub leg: LegId,
    pub transport: Transport,
    /// The bound address of ours.
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// Who has to be there, over TLS.
    pub tls: Option<TlsPeer>,
    pub bytes: Bytes,
}

/// Bytes from the store that are not what [`Wire::to_bytes`] or
/// [`crate::DialogSnapshot::to_bytes`] wrote.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    #[error("stored SIP record: unknown format {0}")]
    Format(u8),
    #[error("stored SIP record: cut short or damaged")]
    Damaged,
}

const FORMAT: u8 = 1;

impl Wire {
    /// A record for the store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new(FORMAT);
        out.number(self.leg.0);
        out.transport(self.transport);
        out.text(&self.local.to_string());
        out.text(&self.remote.to_string());
        out.blob(&self.bytes);
        out.tls(self.tls);
        out.0
    }

    /// Reads what [`Wire::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Wire, WireError> {
        let mut input = Decoder::new(bytes, FORMAT)?;
        let wire = Wire {
            leg: LegId(input.number()?),
            transport: input.transport()?,
            local: input.address()?,
            remote: input.address()?,
            bytes: Bytes::copy_from_slice(input.blob()?),
            tls: input.tls()?,
        };
        input.end()?;
        Ok(wire)
    }
}

/// Fields one after the other, each with its length in front.
pub(crate) struct Encoder(pub Vec<u8>);

impl Encoder {
    pub fn new(format: u8) -> Encoder {
        Encoder(vec![format])
    }

    pub fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub fn blob(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub fn text(&mut self, text: &str) {
        self.blob(text.as_bytes());
    }

    /// Nothing where there is nobody to name: records without TLS are what they always were.
    pub fn tls(&mut self, peer: Option<TlsPeer>) {
        if let Some(TlsPeer(peer)) = peer {
            self.number(peer);
        }
    }

    pub fn transport(&mut self, transport: Transport) {
        self.text(transport.name());
    }
}

pub(crate) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8], format: u8) -> Result<Decoder<'a>, WireError> {
        match bytes.split_first() {
            Some((first, rest)) if *first == format => Ok(Decoder(rest)),
            Some((first, _)) => Err(WireError::Format(*first)),
            None => Err(WireError::Damaged),
        }
    }

    pub fn number(&mut self) -> Result<u64, WireError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(WireError::Damaged)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*head))
    }

    pub fn blob(&mut self) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(self.number()?).map_err(|_| WireError::Damaged)?;
        let (head, rest) = self.0.split_at_checked(length).ok_or(WireError::Damaged)?;
        self.0 = rest;
        Ok(head)
    }

    pub fn text(&mut self) -> Result<String, WireError> {
        String::from_utf8(self.blob()?.to_vec()).map_err(|_| WireError::Damaged)
    }

    pub fn address(&mut self) -> Result<SocketAddr, WireError> {
        self.text()?.parse().map_err(|_| WireError::Damaged)
    }

    pub fn transport(&mut self) -> Result<Transport, WireError> {
        match self.blob()? {
            b"UDP" => Ok(Transport::Udp),
            b"TCP" => Ok(Transport::Tcp),
            b"TLS" => Ok(Transport::Tls),
            _ => Err(WireError::Damaged),
        }
    }

    /// What may stand at the end of a record.
    pub fn tls(&mut self) -> Result<Option<TlsPeer>, WireError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        Ok(Some(TlsPeer(self.number()?)))
    }

    pub fn end(&self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire(bytes: Vec<u8>, tls: Option<u64>) -> Wire {
        Wire {
            leg: LegId(7),
            transport: if tls.is_some() { Transport::Tls } else { Transport::Tcp },
            local: "127.0.0.1:5060".parse().unwrap(),
            remote: "[::1]:5070".parse().unwrap(),
            tls: tls.map(TlsPeer),
            bytes: bytes.into(),
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(bytes: Vec<u8>, tls: Option<u64>) {
            let wire = wire(bytes, tls);
            prop_assert_eq!(Wire::from_bytes(&wire.to_bytes()), Ok(wire));
        }

        #[test]
        fn damage_is_an_error_never_a_panic(bytes: Vec<u8>, cut in 0usize..90) {
            let _ = Wire::from_bytes(&bytes);
            let whole = wire(vec![1, 2, 3], None).to_bytes();
            let cut = cut.min(whole.len() - 1);
            prop_assert!(Wire::from_bytes(&whole[..cut]).is_err());
        }
    }
}
