//! Connections up to the point where SIP can be spoken: accepted or opened, with TLS where it is
//! due. Each in a task of its own, with a time limit: a peer that stalls costs its own connection.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{AlertDescription, CertificateError, Error};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::{
    Hop, TlsClient, TlsFault, TlsSettings, Transport, TransportFault, stream::StreamEvent,
};

/// A connection that is ready for messages.
#[derive(Debug)]
pub(crate) enum Opened {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// TLS handshakes of others that may be under way at a listener; one more connection is closed.
const HANDSHAKES: usize = 512;

/// Takes connections until the core is gone. `tls` is what a TLS listener shows.
pub(crate) async fn accept(
    listener: TcpListener,
    local: SocketAddr,
    tls: Option<watch::Receiver<TlsSettings>>,
    limit: Duration,
    events: mpsc::Sender<StreamEvent>,
) {
    let slots = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = events.closed() => return,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            // Out of descriptors: wait until some are free instead of spinning.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(tls) = &tls else {
            let hop = Hop::new(Transport::Tcp, remote);
            let stream = Opened::Tcp(stream);
            if events.send(StreamEvent::Accepted { stream, hop, local }).await.is_err() {
                return;
            }
            continue;
        };
        let hop = Hop::new(Transport::Tls, remote);
        let server = tls.borrow().server.clone();
        let (Some(server), Ok(slot)) = (server, slots.clone().try_acquire_owned()) else {
            // Where the core is busy too this is not even counted.
            let _ =
                events.try_send(StreamEvent::HandshakeFailed { hop, fault: TlsFault::TimedOut });
            continue;
        };
        let events = events.clone();
        tokio::spawn(async move {
            let shaken = timeout(limit, TlsAcceptor::from(server.0).accept(stream)).await;
            drop(slot);
            let event = match shaken {
                Ok(Ok(stream)) => {
                    let stream = Opened::Tls(Box::new(stream.into()));
                    StreamEvent::Accepted { stream, hop, local }
                }
                Ok(Err(error)) => StreamEvent::HandshakeFailed { hop, fault: tls_fault(&error) },
                Err(_) => StreamEvent::HandshakeFailed { hop, fault: TlsFault::TimedOut },
            };
            let _ = events.send(event).await;
        });
    }
}

/// Connects within `limit`, handshake included; the result goes to the core like anything else.
pub(crate) async fn connect(
    hop: Hop,
    local: SocketAddr,
    tls: Option<TlsClient>,
    limit: Duration,
    events: mpsc::Sender<StreamEvent>,
) {
    let event = match open(hop.remote, tls, limit).await {
        Ok(stream) => StreamEvent::Connected { stream, hop, local },
        Err(fault) => StreamEvent::ConnectFailed { hop, fault },
    };
    let _ = events.send(event).await;
}

async fn open(
    remote: SocketAddr,
    tls: Option<TlsClient>,
    limit: Duration,
) -> Result<Opened, TransportFault> {
    let deadline = Instant::now() + limit;
    let stream = timeout_at(deadline, TcpStream::connect(remote))
        .await
        .map_err(|_| TransportFault::TimedOut)?
        .map_err(|error| network_fault(&error))?;
    let Some(TlsClient { name, config }) = tls else {
        return Ok(Opened::Tcp(stream));
    };
    let shaken = timeout_at(deadline, TlsConnector::from(config).connect(name, stream))
        .await
        .map_err(|_| TlsFault::TimedOut)?
        .map_err(|error| tls_fault(&error))?;
    Ok(Opened::Tls(Box::new(shaken.into())))
}

fn network_fault(error: &io::Error) -> TransportFault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
            TransportFault::Refused
        }
        io::ErrorKind::TimedOut => TransportFault::TimedOut,
        _ => TransportFault::Unreachable,
    }
}

/// What a failed read, write or handshake says about the peer's side of TLS.
pub(crate) fn tls_fault(error: &io::Error) -> TlsFault {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(why)) => certificate_fault(why),
        Some(Error::AlertReceived(alert)) => match alert {
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied => TlsFault::CertificateRefused,
            AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion => {
                TlsFault::Handshake
            }
            _ => TlsFault::Alert,
        },
        Some(_) => TlsFault::Handshake,
        None => TlsFault::Alert,
    }
}

fn certificate_fault(why: &CertificateError) -> TlsFault {
    match why {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFault::WrongName
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsFault::NotYetValid
        }
        // The second: an authority that only has the name of one that is trusted.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            TlsFault::UnknownAuthority
        }
        CertificateError::Revoked => TlsFault::Revoked,
        _ => TlsFault::BadCertificate,
    }
}
