//! Why a message could not be delivered.

use std::net::SocketAddr;

use thiserror::Error;

use crate::{TlsPeer, Transport};

/// A neighbour in SIP: what one connection leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hop {
    pub transport: Transport,
    pub remote: SocketAddr,
    /// Who it has proved to be, where we asked for a proof: one address may host several.
    pub tls: Option<TlsPeer>,
}

impl Hop {
    /// Without a name that is proved.
    pub fn new(transport: Transport, remote: SocketAddr) -> Hop {
        Hop { transport, remote, tls: None }
    }
}

/// Why nothing can be delivered to a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TransportFault {
    #[error("it refuses connections")]
    Refused,
    #[error("it cannot be reached over the network")]
    Unreachable,
    #[error("it did not take the connection in time")]
    TimedOut,
    #[error("the connection was lost")]
    Lost,
    #[error("there are too many connections, or too much waits for this one")]
    Full,
    #[error("TLS: {0}")]
    Tls(#[from] TlsFault),
}

/// Why a TLS handshake failed (RFC 5922, RFC 8446 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TlsFault {
    #[error("no name is configured that its certificate could be checked for")]
    Unnamed,
    #[error("its certificate is for another name than the configured one")]
    WrongName,
    #[error("its certificate has expired")]
    Expired,
    #[error("its certificate is not valid yet; is the clock right?")]
    NotYetValid,
    #[error("its certificate is signed by an authority that is not trusted here")]
    UnknownAuthority,
    #[error("its certificate is revoked")]
    Revoked,
    #[error("its certificate is broken or may not be used for this")]
    BadCertificate,
    #[error("it refused our certificate, or wants one that is not configured")]
    CertificateRefused,
    #[error("it broke the handshake off")]
    Alert,
    #[error("no protocol version or cipher in common, or it speaks no TLS")]
    Handshake,
    #[error("it did not finish the handshake in time")]
    TimedOut,
}
