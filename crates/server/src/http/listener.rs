//! The HTTP and HTTPS listeners: accept loops with limits, so that no peer costs more than its own
//! connection, and a shutdown that lets requests finish.

mod patient;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::config::Https;
use patient::Patient;

/// Whoever sends its headers, or shakes hands, more slowly loses its connection; so does a
/// connection that stays idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Header fields in a request, and bytes of its head.
const MAX_HEADERS: usize = 64;
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Requests under way may take this long once shutdown has begun.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// After a failed accept (no descriptor free) the loop rests instead of spinning.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// What a request came over; an extension of every request that a listener hands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// Where a request came from, as the listener saw it: behind a proxy that is the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source(pub Option<IpAddr>);

impl<S: Sync> FromRequestParts<S> for Source {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Source(None)))
    }
}

impl<S: Sync> FromRequestParts<S> for Scheme {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Scheme::Http))
    }
}

/// The place of a connection among those allowed at a time, until its last request is over.
type Slot = Arc<OwnedSemaphorePermit>;

/// A bound listener that does not accept yet.
pub struct Listener {
    socket: TcpListener,
    tls: Option<Arc<ServedCertificate>>,
    connections: usize,
}

/// What an HTTPS listener shows to those who connect from now on.
pub struct ServedCertificate {
    config: Https,
    acceptor: RwLock<TlsAcceptor>,
}

impl ServedCertificate {
    fn read(config: &Https) -> Result<ServedCertificate, ListenerError> {
        let acceptor = RwLock::new(acceptor(config)?);
        Ok(ServedCertificate { config: config.clone(), acceptor })
    }

    /// Reads certificate and key again; open connections stay.
    ///
    /// # Errors
    /// They cannot be used; what was served is served on.
    pub fn reload(&self) -> Result<(), ListenerError> {
        let new = acceptor(&self.config)?;
        *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    #[error("[{section}] bind = \"{address}\": {source}; choose a free address of this machine")]
    Bind { section: &'static str, address: SocketAddr, source: io::Error },
    #[error("[https] {key} = \"{path}\": {why}; a PEM file is expected")]
    Pem { key: &'static str, path: String, why: String },
    #[error("[https]: certificate and key do not fit: {0}")]
    Tls(#[from] rustls::Error),
}

impl Listener {
    /// Binds `[http]`.
    pub async fn http(bind: SocketAddr, connections: usize) -> Result<Listener, ListenerError> {
        let socket = TcpListener::bind(bind).await.map_err(|source| ListenerError::Bind {
            section: "http",
            address: bind,
            source,
        })?;
        Ok(Listener { socket, tls: None, connections })
    }

    /// Binds `[https]` after its certificate and key have been read.
    pub async fn https(config: &Https, connections: usize) -> Result<Listener, ListenerError> {
        let tls = Arc::new(ServedCertificate::read(config)?);
        let socket = TcpListener::bind(config.bind).await.map_err(|source| {
            ListenerError::Bind { section: "https", address: config.bind, source }
        })?;
        Ok(Listener { socket, tls: Some(tls), connections })
    }

    /// Where it listens; with port 0 in the configuration, the port that was given.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub fn certificate(&self) -> Option<Arc<ServedCertificate>> {
        self.tls.clone()
    }

    /// Serves until `stop` becomes true, then lets the requests under way finish.
    pub async fn serve(self, router: Router, mut stop: watch::Receiver<bool>) {
        let slots = Arc::new(Semaphore::new(self.connections));
        let mut connections = JoinSet::new();
        let mut stopping = pin!(stopped(stop.clone()));
        loop {
            while connections.try_join_next().is_some() {}
            let slot = tokio::select! {
                () = &mut stopping => break,
                slot = slots.clone().acquire_owned() => slot.expect("the semaphore is never closed"),
            };
            let stream = tokio::select! {
                () = &mut stopping => break,
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "HTTP connection not accepted");
                        tokio::time::sleep(ACCEPT_REST).await;
                        continue;
                    }
                },
            };
            let tls = self.tls.as_ref().map(|served| served.acceptor());
            let (router, stop) = (router.clone(), stop.clone());
            connections.spawn(connection(stream, tls, router, Arc::new(slot), stop));
        }
        drop(self.socket);
        stop.mark_unchanged();
        let finish = async {
            while connections.join_next().await.is_some() {}
            // Those whose clients have hung up are under way all the same.
            let all = u32::try_from(self.connections).unwrap_or(u32::MAX);
            let _every_slot = slots.acquire_many(all).await;
        };
        if tokio::time::timeout(SHUTDOWN_GRACE, finish).await.is_err() {
            tracing::warn!("HTTP requests were cut by the shutdown");
        }
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A dropped sender is the end of the process's owner: stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    slot: Slot,
    stop: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let source = Source(stream.peer_addr().ok().map(|peer| peer.ip()));
    match tls {
        None => requests(stream, Scheme::Http, source, router, slot, stop).await,
        Some(tls) => match tokio::time::timeout(HEADER_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => requests(stream, Scheme::Https, source, router, slot, stop).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        },
    }
}

/// Serves one connection's requests, one after the other. A request whose client hangs up is worked off all the same: cut
/// in the middle it would have dialled and not counted, or stored and not remembered.
async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    scheme: Scheme,
    source: Source,
    router: Router,
    slot: Slot,
    stop: watch::Receiver<bool>,
) {
    let service =
        hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let mut request = collapse_slashes(request.map(axum::body::Body::new));
            request.extensions_mut().insert(scheme);
            request.extensions_mut().insert(source);
            to_its_end(router.clone(), request, slot.clone())
        });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(Patient::new(stream)), service));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stopped(stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "HTTP connection ended");
    }
}

async fn to_its_end(router: Router, request: Request, slot: Slot) -> Result<Response, Infallible> {
    let answered = tokio::spawn(async move {
        let answered = router.oneshot(request).await;
        drop(slot);
        answered
    });
    answered.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request was not worked off");
        Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response())
    })
}

/// Clients join a base URL that ends in `/` with a path that begins with one: `//` counts as `/`.
pub fn collapse_slashes(mut request: Request) -> Request {
    let uri = request.uri();
    if !uri.path().contains("//") {
        return request;
    }
    let mut path = String::with_capacity(uri.path().len());
    for c in uri.path().chars() {
        if !(c == '/' && path.ends_with('/')) {
            path.push(c);
        }
    }
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    if let Ok(uri) = path.parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    request
}

fn acceptor(config: &Https) -> Result<TlsAcceptor, ListenerError> {
    Ok(TlsAcceptor::from(Arc::new(server_tls(&config.certificate, &config.key)?)))
}

fn server_tls(certificate: &Path, key: &Path) -> Result<rustls::ServerConfig, ListenerError> {
    let pem = |name, path: &Path, why: rustls_pki_types::pem::Error| ListenerError::Pem {
        key: name,
        path: path.display().to_string(),
        why: why.to_string(),
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|why| pem("certificate", certificate, why))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|why| pem("key", key, why))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

#[cfg(test)]
mod tests;
