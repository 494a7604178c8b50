//! Where a SIP server is (RFC 3263): NAPTR names the transports, SRV the hosts and their shares, A
//! and AAAA the addresses. Answers are kept for as long as their records say.

mod order;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::{NAPTR, SRV};
use hickory_resolver::proto::rr::{RecordData, RecordType};
use sip::Transport;

pub use order::{Host, in_order};

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// Where one is written, only addresses are looked up.
    pub port: Option<u16>,
    /// The transports that may be used, the one to take where DNS does not say first. Not empty.
    pub transports: Vec<Transport>,
}

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Not empty, and none of them without an address.
    pub hosts: Vec<Host>,
    /// How long that holds.
    pub valid_for: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    #[error("DNS knows no address for it")]
    Nowhere,
    #[error("its domain says that it offers no such service")]
    NotOffered,
    #[error("the name servers did not answer as they should: {0}")]
    NoAnswer(String),
}

/// Addresses that can be used: those of families that a listener of ours has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Families {
    pub v4: bool,
    pub v6: bool,
}

/// Finds SIP servers.
#[derive(Clone)]
pub struct Locator {
    dns: TokioResolver,
    families: Families,
}

/// Each server is asked this long, and once more.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Records of one answer that are looked at, and addresses of one host.
const MAX_RECORDS: usize = 16;
const MAX_ADDRESSES: usize = 8;
/// What is written as an address does not move.
const FOREVER: Duration = Duration::from_secs(86_400);

/// A part of the answer, with the time until which it holds.
type Found<T> = (T, Instant);

impl Locator {
    /// Asks these name servers; none: the system's. `/etc/hosts` counts either way.
    ///
    /// # Errors
    /// The resolver cannot be set up.
    pub fn new(servers: &[SocketAddr], families: Families) -> Result<Locator, NetError> {
        let own = || {
            let config = ResolverConfig::from_parts(None, Vec::new(), name_servers(servers));
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let mut builder = match servers {
            [] => TokioResolver::builder_tokio().unwrap_or_else(|error| {
                tracing::warn!(%error, "no name servers: trunks are found by IP address or hosts file only");
                own()
            }),
            _ => own(),
        };
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Always;
        options.timeout = ANSWER_TIME;
        options.attempts = 1;
        options.ip_strategy = match families {
            Families { v4: true, v6: false } => LookupIpStrategy::Ipv4Only,
            Families { v4: false, .. } => LookupIpStrategy::Ipv6Only,
            Families { v4: true, v6: true } => LookupIpStrategy::Ipv4AndIpv6,
        };
        Ok(Locator { dns: builder.build()?, families })
    }

    /// The procedure of RFC 3263 §4.
    pub async fn locate(&self, wanted: &Wanted) -> Result<Located, LocateError> {
        let first = wanted.transports.first().copied().unwrap_or(Transport::Udp);
        let port = wanted.port.unwrap_or(default_port(first));
        if let Ok(ip) = wanted.host.parse::<IpAddr>() {
            let host = Host::only(first, vec![SocketAddr::new(ip, port)]);
            return Ok(Located { hosts: vec![host], valid_for: FOREVER });
        }
        // A name with a dot in it is complete; a single label may be one of a container network.
        let name = match wanted.host.trim_end_matches('.') {
            name if name.contains('.') => format!("{name}."),
            name => name.to_owned(),
        };
        if wanted.port.is_none()
            && let Some((hosts, until)) = self.services(&name, &wanted.transports).await?
        {
            return located(hosts, until);
        }
        let (addresses, until) = self.addresses(&name, port).await?;
        located(vec![Host::only(first, addresses)], until)
    }

    /// What NAPTR and SRV say; `None` where the domain has neither.
    async fn services(
        &self,
        name: &str,
        transports: &[Transport],
    ) -> Result<Option<Found<Vec<Host>>>, LocateError> {
        // A name server that does not know what NAPTR is costs its time and nothing else.
        let naptr = self.lookup(name, RecordType::NAPTR).await.ok().flatten();
        let (rules, until) = naptr.map_or((Vec::new(), None), |answer| {
            (rules(&answer, transports), Some(answer.valid_until()))
        });
        let rules = match rules.is_empty() {
            false => rules,
            true => transports.iter().map(|transport| Rule::usual(name, *transport)).collect(),
        };
        let mut hosts = Vec::new();
        let mut earliest = until;
        let mut offered = Offered::NothingSaid;
        for (rank, rule) in (0u32..).zip(rules) {
            let found = match rule.kind {
                RuleKind::Srv => self.srv(&rule, rank << 16, &mut offered).await?,
                RuleKind::Address => {
                    let port = default_port(rule.transport);
                    let (addresses, until) = self.addresses(&rule.name, port).await?;
                    let host = Host { rank: rank << 16, ..Host::only(rule.transport, addresses) };
                    Some((vec![host], until))
                }
            };
            if let Some((more, until)) = found {
                hosts.extend(more);
                earliest = Some(earliest.map_or(until, |earliest| earliest.min(until)));
            }
        }
        match (hosts.is_empty(), offered, earliest) {
            (false, _, Some(until)) => Ok(Some((hosts, until))),
            (_, Offered::Refused, _) => Err(LocateError::NotOffered),
            (_, Offered::Hosts, _) => Err(LocateError::Nowhere),
            (_, Offered::NothingSaid, _) => Ok(None),
        }
    }

    /// The hosts of one service; priorities are added to `rank`.
    async fn srv(
        &self,
        rule: &Rule,
        rank: u32,
        offered: &mut Offered,
    ) -> Result<Option<Found<Vec<Host>>>, LocateError> {
        let Some(answer) = self.lookup(&rule.name, RecordType::SRV).await? else {
            return Ok(None);
        };
        let mut until = answer.valid_until();
        let mut hosts = Vec::new();
        for record in records::<SRV>(&answer).take(MAX_RECORDS) {
            // "." says that there is no such service here (RFC 2782).
            if record.target.is_root() {
                *offered = offered.and(Offered::Refused);
                continue;
            }
            *offered = Offered::Hosts;
            // One host that cannot be found must not hide the others.
            let found = self.addresses(&record.target.to_ascii(), record.port).await;
            if let Ok((addresses, valid_until)) = found {
                until = until.min(valid_until);
                hosts.push(Host {
                    rank: rank + u32::from(record.priority),
                    weight: record.weight,
                    transport: rule.transport,
                    addresses,
                });
            }
        }
        Ok(Some((hosts, until)))
    }

    async fn addresses(
        &self,
        name: &str,
        port: u16,
    ) -> Result<Found<Vec<SocketAddr>>, LocateError> {
        let found = self.dns.lookup_ip(name).await.map_err(|error| fault(&error))?;
        let fits = |ip: &IpAddr| if ip.is_ipv4() { self.families.v4 } else { self.families.v6 };
        let addresses = found.iter().filter(fits).take(MAX_ADDRESSES);
        let addresses: Vec<_> = addresses.map(|ip| SocketAddr::new(ip, port)).collect();
        if addresses.is_empty() {
            return Err(LocateError::Nowhere);
        }
        Ok((addresses, found.valid_until()))
    }

    /// `None` where the name has no such record.
    async fn lookup(&self, name: &str, kind: RecordType) -> Result<Option<Lookup>, LocateError> {
        match self.dns.lookup(name, kind).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => match fault(&error) {
                LocateError::Nowhere => Ok(None),
                other => Err(other),
            },
        }
    }
}

/// What SRV records have said so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offered {
    NothingSaid,
    Refused,
    Hosts,
}

impl Offered {
    fn and(self, other: Offered) -> Offered {
        if self == Offered::Hosts { self } else { other }
    }
}

/// Where one service is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    transport: Transport,
    kind: RuleKind,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RuleKind {
    Srv,
    Address,
}

impl Rule {
    /// Without NAPTR (RFC 3263 §4.1).
    fn usual(domain: &str, transport: Transport) -> Rule {
        let service = match transport {
            Transport::Tcp => "_sip._tcp",
            Transport::Tls => "_sips._tcp",
            _ => "_sip._udp",
        };
        Rule { transport, kind: RuleKind::Srv, name: format!("{service}.{domain}") }
    }
}

/// The rules of the lowest order that has one for us, by preference (RFC 2915 §2, RFC 3263 §4.1).
fn rules(answer: &Lookup, transports: &[Transport]) -> Vec<Rule> {
    let mut known: Vec<(u16, u16, Rule)> = records::<NAPTR>(answer)
        .take(MAX_RECORDS)
        .filter_map(|record| {
            let transport = match record.services.to_ascii_uppercase().as_slice() {
                b"SIP+D2U" => Transport::Udp,
                b"SIP+D2T" => Transport::Tcp,
                b"SIPS+D2T" => Transport::Tls,
                _ => return None,
            };
            let kind = match record.flags.to_ascii_lowercase().as_slice() {
                b"s" => RuleKind::Srv,
                b"a" => RuleKind::Address,
                _ => return None,
            };
            let may_be_used = transports.contains(&transport) && !record.replacement.is_root();
            let name = record.replacement.to_ascii();
            may_be_used.then_some((record.order, record.preference, Rule { transport, kind, name }))
        })
        .collect();
    known.sort_by_key(|(order, preference, _)| (*order, *preference));
    let lowest = known.first().map(|(order, ..)| *order);
    known.into_iter().filter(|(order, ..)| Some(*order) == lowest).map(|(.., rule)| rule).collect()
}

/// The records of one kind; what belongs to a chain of CNAMEs is left out.
fn records<T: RecordData + 'static>(answer: &Lookup) -> impl Iterator<Item = &T> {
    answer.answers().iter().filter_map(|record| T::try_borrow(&record.data))
}

fn located(mut hosts: Vec<Host>, until: Instant) -> Result<Located, LocateError> {
    hosts.retain(|host| !host.addresses.is_empty());
    if hosts.is_empty() {
        return Err(LocateError::Nowhere);
    }
    Ok(Located { hosts, valid_for: until.saturating_duration_since(Instant::now()) })
}

fn default_port(transport: Transport) -> u16 {
    if transport == Transport::Tls { 5061 } else { 5060 }
}

fn fault(error: &NetError) -> LocateError {
    if error.is_nx_domain() || error.is_no_records_found() {
        LocateError::Nowhere
    } else {
        LocateError::NoAnswer(error.to_string())
    }
}

fn name_servers(servers: &[SocketAddr]) -> Vec<NameServerConfig> {
    let at = |server: &SocketAddr| {
        let ways = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut way| {
            way.port = server.port();
            way
        });
        NameServerConfig::new(server.ip(), true, ways.into())
    };
    servers.iter().map(at).collect()
}
