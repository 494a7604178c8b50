//! One POST to one permitted receiver, with everything that a hostile or broken receiver can do bounded.
//!
//! Every try resolves the host anew and connects only to addresses that were judged in this try. Connections are kept
//! per origin *and* set of judged addresses, so a name that moves gets new connections and never an old permission.
use super::{
    resolver::{ResolveError, Resolver},
    tls::{self, TlsError},
    trust::{Permit, PermittedHost},
};
use bytes::Bytes;
use hickory_resolver::net::NetError;
use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use thiserror::Error;
use time::{OffsetDateTime, PrimitiveDateTime, macros::format_description};

/// How much of a reply's body is kept, in bytes.
pub const KEPT_BODY: usize = 4096;

/// How much of a reply's body is read before the connection is dropped; a status has been given by then, so it counts.
pub const MAX_BODY: usize = 64 * 1024;

/// Origins whose connections are kept; past it the one that was used longest ago loses its connections.
const MAX_POOLS: usize = 256;

/// How callbacks leave this machine.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// From the start of resolving to the end of the reply's body.
    pub timeout: Duration,
    /// A PEM file of certificate authorities trusted beside the machine's.
    pub extra_ca: Option<PathBuf>,
    /// Name servers to ask; empty: the system's.
    pub name_servers: Vec<SocketAddr>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(15), extra_ca: None, name_servers: Vec::new() }
    }
}

/// Why no callback can be sent from this process; its settings are at fault.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the DNS resolver cannot be set up: {0}")]
    Resolver(#[from] NetError),
}

/// Sends callbacks. Cheap to share behind an `Arc`; keeps connections.
pub struct CallbackClient {
    settings: ClientSettings,
    resolver: Resolver,
    tls: rustls::ClientConfig,
    pools: Mutex<Pools>,
}

/// What came of one POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub result: AttemptResult,
    /// From the start of resolving to the end of the reply or the failure.
    pub duration: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptResult {
    /// A complete HTTP reply, or its first [`MAX_BODY`] bytes.
    Answered {
        status: u16,
        /// At most [`KEPT_BODY`] bytes; what is not UTF-8 is replaced.
        body: String,
        /// From `Retry-After`, seconds or a date.
        retry_after: Option<Duration>,
    },
    /// No complete reply. `status` is there if the reply broke off after its header: not a delivery, since the
    /// receiver may have failed while it worked.
    Failed { failure: Failure, status: Option<u16> },
}

/// Why there was no complete reply. No text holds an address or a name: they may be logged.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum Failure {
    #[error("{0}")]
    NotResolved(String),
    #[error("{0}")]
    AddressRefused(String),
    #[error("the receiver refused the connection")]
    ConnectionRefused,
    #[error("the receiver could not be reached")]
    Unreachable,
    #[error("no TLS with the receiver: {0}")]
    Tls(String),
    #[error("the receiver did not answer in time")]
    TimedOut,
    #[error("the receiver closed the connection before its answer was complete")]
    Reset,
    #[error("the receiver did not answer in HTTP")]
    NotHttp,
}

impl CallbackClient {
    pub fn new(settings: ClientSettings) -> Result<Self, ClientError> {
        let resolver = match settings.name_servers.as_slice() {
            [] => Resolver::system()?,
            servers => Resolver::with_servers(servers)?,
        };
        let tls = tls::client_config(settings.extra_ca.as_deref())?;
        Ok(Self { settings, resolver, tls, pools: Mutex::default() })
    }

    /// Posts `body` once, as JSON unless `headers` say otherwise. Follows no redirect, uses no proxy, retries nothing.
    /// A permit is good for one try: ask the trust list again before the next one.
    pub async fn post(&self, permit: &Permit, headers: HeaderMap, body: Bytes) -> Attempt {
        let started = Instant::now();
        let exchange = self.exchange(permit, headers, body);
        let result = match tokio::time::timeout(self.settings.timeout, exchange).await {
            Ok(result) => result,
            Err(_) => AttemptResult::failed(Failure::TimedOut),
        };
        Attempt { result, duration: started.elapsed() }
    }

    async fn exchange(
        &self,
        permit: &Permit,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> AttemptResult {
        let addresses = match self.resolver.resolve(permit).await {
            Ok(addresses) => addresses,
            Err(error @ ResolveError::NotResolved(_)) => {
                return AttemptResult::failed(Failure::NotResolved(error.to_string()));
            }
            Err(error @ ResolveError::Refused(_)) => {
                return AttemptResult::failed(Failure::AddressRefused(error.to_string()));
            }
        };
        let client = match self.client(permit, addresses) {
            Ok(client) => client,
            Err(error) => return AttemptResult::failed(failure(&error)),
        };
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        match client.post(permit.url().clone()).headers(headers).body(body).send().await {
            Ok(response) => read(response).await,
            Err(error) => AttemptResult::failed(failure(&error)),
        }
    }

    fn client(
        &self,
        permit: &Permit,
        addresses: Vec<SocketAddr>,
    ) -> reqwest::Result<reqwest::Client> {
        let key = PoolKey { origin: permit.url().origin().ascii_serialization(), addresses };
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.find_or_open(key, |key| {
            let pinned = Pinned { host: permit.host().clone(), addresses: key.addresses.clone() };
            reqwest::Client::builder()
                .tls_backend_preconfigured(self.tls.clone())
                .dns_resolver(pinned)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .no_proxy()
                .referer(false)
                .user_agent(concat!("offhook/", env!("CARGO_PKG_VERSION")))
                .tcp_nodelay(true)
                .pool_idle_timeout(Duration::from_secs(30))
                .pool_max_idle_per_host(4)
                .build()
        })
    }
}

impl AttemptResult {
    fn failed(failure: Failure) -> Self {
        AttemptResult::Failed { failure, status: None }
    }
}

async fn read(mut response: reqwest::Response) -> AttemptResult {
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after =
        retry_after.and_then(|value| parse_retry_after(value, OffsetDateTime::now_utc()));
    let mut kept = Vec::new();
    let mut seen = 0;
    while seen < MAX_BODY {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                seen += chunk.len();
                kept.extend_from_slice(&chunk[..chunk.len().min(KEPT_BODY - kept.len())]);
            }
            Ok(None) => break,
            Err(error) => {
                return AttemptResult::Failed { failure: failure(&error), status: Some(status) };
            }
        }
    }
    AttemptResult::Answered {
        status,
        body: String::from_utf8_lossy(&kept).into_owned(),
        retry_after,
    }
}

/// RFC 9110 §10.2.3: seconds, or an HTTP date in its preferred form. Anything else, or a date that is past, is none.
fn parse_retry_after(value: &str, now: OffsetDateTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let at = PrimitiveDateTime::parse(value, &format).ok()?.assume_utc();
    Duration::try_from(at - now).ok()
}

/// Sorts what reqwest reports by who has to act: the reason stands somewhere in the chain of sources.
fn failure(error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::TimedOut;
    }
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            if let Some(tls) = tls_error(io) {
                return Failure::Tls(tls.to_string());
            }
            match io.kind() {
                std::io::ErrorKind::ConnectionRefused => return Failure::ConnectionRefused,
                std::io::ErrorKind::TimedOut => return Failure::TimedOut,
                _ if error.is_connect() => return Failure::Unreachable,
                _ => return Failure::Reset,
            }
        }
        if let Some(http) = cause.downcast_ref::<hyper::Error>() {
            if http.is_parse() {
                return Failure::NotHttp;
            }
            if http.is_incomplete_message() {
                return Failure::Reset;
            }
        }
        source = cause.source();
    }
    if error.is_connect() { Failure::Unreachable } else { Failure::Reset }
}

/// A TLS error travels inside I/O errors, of which `source` skips one.
fn tls_error(io: &std::io::Error) -> Option<&rustls::Error> {
    let inner = io.get_ref()?;
    inner.downcast_ref().or_else(|| inner.downcast_ref::<std::io::Error>().and_then(tls_error))
}

/// Answers for the one host of its client, with the addresses that were judged; knows no other host.
struct Pinned {
    host: PermittedHost,
    addresses: Vec<SocketAddr>,
}

impl Resolve for Pinned {
    fn resolve(&self, name: Name) -> Resolving {
        let known = matches!(&self.host, PermittedHost::Domain(host) if host == name.as_str());
        let addresses = self.addresses.clone();
        Box::pin(async move {
            if !known {
                return Err("this client may connect to one judged host only".into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct PoolKey {
    origin: String,
    addresses: Vec<SocketAddr>,
}

#[derive(Default)]
struct Pools {
    clients: BTreeMap<PoolKey, (u64, reqwest::Client)>,
    clock: u64,
}

impl Pools {
    fn find_or_open(
        &mut self,
        key: PoolKey,
        open: impl FnOnce(&PoolKey) -> reqwest::Result<reqwest::Client>,
    ) -> reqwest::Result<reqwest::Client> {
        self.clock += 1;
        if let Some((used, client)) = self.clients.get_mut(&key) {
            *used = self.clock;
            return Ok(client.clone());
        }
        let client = open(&key)?;
        if self.clients.len() >= MAX_POOLS {
            let oldest =
                self.clients.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.clients.remove(&key));
        }
        self.clients.insert(key, (self.clock, client.clone()));
        Ok(client)
    }
}

#[cfg(test)]
#[path = "client_tests/mod.rs"]
mod tests;
