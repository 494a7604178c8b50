//! From a permitted host to addresses that may be connected to: resolved once per try, every address judged.
use super::{
    addresses::{Reach, canonical, reach},
    trust::{Permit, PermittedHost},
};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
};
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// Resolves names by the system's hosts file and name servers, or by name servers of its own.
#[derive(Clone)]
pub struct Resolver {
    dns: TokioResolver,
}

/// Why there is no address to connect to. None of them names the host: they may be logged.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ResolveError {
    #[error("the name of the callback address could not be resolved: {0}")]
    NotResolved(String),
    #[error("the callback address resolves to {0}, which its trust-list entry does not allow")]
    Refused(&'static str),
}

impl Resolver {
    /// The machine's `/etc/hosts` and `/etc/resolv.conf`, read now. Where the latter cannot be read, only the hosts file
    /// and `localhost` resolve, and a warning says so: a machine without a network still runs.
    pub fn system() -> Result<Self, NetError> {
        match TokioResolver::builder_tokio() {
            Ok(builder) => Self::build(builder),
            Err(error) => {
                tracing::warn!(%error, "no name servers: callbacks reach IP addresses and names of the hosts file only");
                Self::with_servers(&[])
            }
        }
    }

    /// Name servers of one's own (UDP, and TCP where an answer is too long), beside the hosts file.
    pub fn with_servers(servers: &[SocketAddr]) -> Result<Self, NetError> {
        let servers = servers.iter().map(|server| {
            let connections =
                [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        Self::build(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
    }

    fn build(
        mut builder: hickory_resolver::ResolverBuilder<TokioRuntimeProvider>,
    ) -> Result<Self, NetError> {
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Always;
        // Both families: an attacker must not hide a private AAAA behind a public A, nor the other way round.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Ok(Self { dns: builder.build()? })
    }

    /// The addresses that this permit may be sent to, sorted. One address beyond the permit's reach refuses them all:
    /// a mixed answer is an attack or a mistake, and picking the good ones would hide it.
    pub async fn resolve(&self, permit: &Permit) -> Result<Vec<SocketAddr>, ResolveError> {
        let found = match permit.host() {
            PermittedHost::Address(ip) => vec![*ip],
            PermittedHost::Domain(name) => self.lookup(name).await?,
        };
        let mut addresses = Vec::with_capacity(found.len());
        for ip in found {
            let ip = canonical(ip);
            match reach(ip) {
                Reach::Never => {
                    return Err(ResolveError::Refused(
                        "an unspecified, multicast or reserved address",
                    ));
                }
                needed if needed > permit.reach() => {
                    return Err(ResolveError::Refused("a private address"));
                }
                Reach::Public | Reach::Private => {
                    addresses.push(SocketAddr::new(ip, permit.port()))
                }
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        Ok(addresses)
    }

    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        // A name with a dot in it is complete: the search list must not turn it into another one. A single label is
        // how container networks name their services, so it may be searched for.
        let absolute = if name.contains('.') { format!("{name}.") } else { name.to_owned() };
        let found = self
            .dns
            .lookup_ip(absolute)
            .await
            .map_err(|error| ResolveError::NotResolved(kind(&error)))?;
        let found: Vec<IpAddr> = found.iter().collect();
        if found.is_empty() {
            Err(ResolveError::NotResolved("no addresses".into()))
        } else {
            Ok(found)
        }
    }
}

/// The error without the name that was asked for.
fn kind(error: &NetError) -> String {
    if error.is_nx_domain() {
        "no such name".into()
    } else if error.is_no_records_found() {
        "the name has no addresses".into()
    } else if matches!(error, NetError::Timeout) {
        "the name servers did not answer in time".into()
    } else {
        "the name servers could not be asked or answered with a failure".into()
    }
}
