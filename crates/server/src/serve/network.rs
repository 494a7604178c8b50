//! SIP, media and trunks as the configuration wants them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use engine::vocabulary::{Pace, TrunkName};
use ring::rand::{SecureRandom, SystemRandom};
use store::{Recovery, Store};
use tokio::sync::mpsc;

use super::{ServeError, descriptors, whereabouts};
use crate::certificates;
use crate::config::{self, Config, TrunkKind};
use crate::dns::Host;
use crate::driver::{Happening, Happenings, Identity, Numbers, PhoneLine, Rule, Targets, Trunk};

/// Commands that may wait for a media thread or for the SIP core: more than all calls that fit on a
/// machine can want at once, so that a busy moment delays calls and loses none.
const COMMANDS: usize = 1 << 16;

const CALL_SECRET: &str = "call_secret";
const LAST_UDP: &str = "sip.udp";

/// Opens the SIP listeners. Where the configuration leaves the port open, the one of the last run is
/// taken again if it is free: what was sent before a crash can then be answered and taken back.
pub async fn start_sip(
    config: &Config,
    tls: &sip::TlsSettings,
    store: &Store,
    found: &Recovery,
) -> Result<(sip::Endpoint, mpsc::Receiver<sip::Event>), ServeError> {
    let last = store.meta(LAST_UDP).await?;
    let last = last.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<SocketAddr>().ok());
    let mut udp = config.sip_udp();
    if let Some(last) = last.filter(|last| udp.port() == 0 && last.ip() == udp.ip()) {
        udp = last;
    }
    let started = match sip::Endpoint::start(endpoint(config, tls, udp)?).await {
        Err(error) if udp != config.sip_udp() => {
            let unfinished = found.unfinished_started.len();
            tracing::warn!(%error, unfinished, "the SIP port of the last run is taken");
            sip::Endpoint::start(endpoint(config, tls, config.sip_udp())?).await
        }
        started => started,
    };
    let (endpoint, events) = started?;
    let bound = endpoint.local_addresses();
    if let Some((_, udp)) = bound.iter().find(|(kind, _)| *kind == sip::Transport::Udp) {
        store.put_meta(LAST_UDP, udp.to_string().into_bytes()).await?;
    }
    Ok((endpoint, events))
}

/// Where phones and apps find SIP over UDP.
pub fn sip_service_address(config: &Config, endpoint: &sip::Endpoint) -> Option<SocketAddr> {
    let bound = endpoint.local_addresses();
    let (_, bound) = bound.into_iter().find(|(kind, _)| *kind == sip::Transport::Udp)?;
    let public = public_address(config.sip.public_address, bound.ip());
    Some(SocketAddr::new(public.unwrap_or(bound.ip()), bound.port()))
}

fn endpoint(
    config: &Config,
    tls: &sip::TlsSettings,
    udp: SocketAddr,
) -> Result<sip::EndpointConfig, ServeError> {
    let mut seed = [0; 8];
    SystemRandom::new().fill(&mut seed).map_err(|_| "the system gives no random numbers")?;
    let listener = |transport, bind: SocketAddr| sip::Listener {
        transport,
        bind,
        public_address: public_address(config.sip.public_address, bind.ip())
            .map(|address| (address, None)),
    };
    Ok(sip::EndpointConfig {
        listeners: vec![
            listener(sip::Transport::Udp, udp),
            listener(sip::Transport::Tcp, config.sip_tcp()),
            listener(sip::Transport::Tls, config.sip_tls()),
        ],
        limits: sip::Limits { queue: COMMANDS, ..sip::Limits::default() },
        tls: tls.clone(),
        policy: policy(config),
        user_agent: Some(concat!("offhook/", env!("CARGO_PKG_VERSION")).to_owned()),
        seed: u64::from_ne_bytes(seed),
    })
}

/// Softphones register; calls from outside are for the driver to take in. All else is refused.
fn policy(config: &Config) -> sip::Policy {
    sip::Policy {
        accept_invites: sip::AcceptInvites::Ask,
        accept_register: sip::AcceptRegister::Phones,
        phones: sip::PhonePolicy {
            realm: config.sip.realm.clone(),
            max_expires: Duration::from_secs(config.phones.max_expires.into()),
            ..sip::PhonePolicy::default()
        },
        strangers: sip::StrangerPolicy::default(),
    }
}

/// How softphones are called.
pub fn phone_line(config: &Config, host: String) -> PhoneLine {
    PhoneLine {
        host,
        codecs: config.phones.codecs.iter().filter_map(|name| codec(name)).collect(),
        srtp: config.phones.srtp.policy(),
        session_expires: config.phones.session_expires,
    }
}

/// Starts the media threads; what they say becomes a [`Happening`].
pub fn start_media(config: &Config, happenings: Happenings) -> Result<media::Media, ServeError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let media = &config.media;
    let started = media::start(
        media::Config {
            threads: media.threads.unwrap_or(cores),
            bind: config.media_bind(),
            public_address: public_address(media.public_address, config.media_bind()),
            port_range: media.ports.map(|ports| ports.first..=ports.last),
            latching: if media.latching {
                media::LatchMode::Nat
            } else {
                media::LatchMode::SdpOnly
            },
            queue: COMMANDS,
            reserved_descriptors: descriptors::reserved(config),
            ..media::Config::default()
        },
        Box::new(move |event| happenings.tell(Happening::Media(event))),
    )?;
    Ok(started)
}

/// What peers are told: as configured; else, where every interface is bound, the one towards the
/// default route of the same family.
fn public_address(configured: Option<IpAddr>, bound: IpAddr) -> Option<IpAddr> {
    if configured.is_some() || !bound.is_unspecified() {
        return configured;
    }
    // Connecting a UDP socket sends nothing; it only asks the routing table.
    let towards_the_world = |stranger: IpAddr| {
        let socket = UdpSocket::bind((bound, 0)).ok()?;
        socket.connect((stranger, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let (stranger, here) = match bound {
        IpAddr::V4(_) => (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => {
            (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), Ipv6Addr::LOCALHOST.into())
        }
    };
    Some(towards_the_world(stranger).unwrap_or(here))
}

/// Trunks with the addresses of their hosts. Names are resolved again when their answers have run
/// out.
pub async fn resolve_trunks(
    config: &Config,
    carriers: &BTreeMap<TrunkName, sim::Carrier>,
    tls: &sip::TlsSettings,
    happenings: &Happenings,
) -> Result<Vec<Trunk>, ServeError> {
    let mut found = whereabouts::find(config, tls, happenings).await?;
    let mut trunks = Vec::new();
    for configured in &config.trunks {
        let name = &configured.name;
        let (host, port, hosts) = match configured.kind {
            TrunkKind::Sim => {
                let address = carriers[name].udp_address();
                let hosts = vec![Host::only(sip::Transport::Udp, vec![address])];
                (address.ip().to_string(), Some(address.port()), hosts)
            }
            TrunkKind::Sip => {
                let (host, port) = configured.host_and_port();
                (host, port, found.remove(name).unwrap_or_default())
            }
        };
        if configured.shows_its_keys() {
            tracing::warn!(
                trunk = %configured.name,
                "srtp is required, yet its keys travel in SIP that anybody on the way can read: \
                 use transport = \"tls\", or a private network"
            );
        }
        trunks.push(Trunk {
            name: name.clone(),
            pace: Pace {
                calls_per_second: configured.calls_per_second,
                concurrent_calls: configured.concurrent_calls,
            },
            from_host: configured.from_host.clone().unwrap_or_else(|| host.clone()),
            host,
            port,
            targets: Targets::new(hosts, Some(certificates::peer(name))),
            credentials: credentials(configured),
            codecs: configured.codecs.iter().filter_map(|name| codec(name)).collect(),
            srtp: configured.srtp.policy(),
            register: configured.register.then_some(configured.expires),
            numbers: numbers(configured),
            keepalive: (configured.keepalive > 0)
                .then(|| Duration::from_secs(configured.keepalive.into())),
            session_expires: configured.session_expires,
            inbound: configured.inbound,
        });
    }
    Ok(trunks)
}

fn credentials(trunk: &config::Trunk) -> Option<sip::Credentials> {
    let (username, password) = (trunk.username.clone()?, trunk.password.as_ref()?);
    Some(sip::Credentials {
        username,
        password: password.reveal().to_owned(),
        realm: trunk.realm.clone(),
    })
}

fn numbers(trunk: &config::Trunk) -> Numbers {
    let rule = |rule: &config::NumberRule| Rule {
        prefix: rule.prefix.clone(),
        replace: rule.replace.clone(),
    };
    Numbers {
        called: trunk.called_numbers.iter().map(rule).collect(),
        caller: trunk.caller_numbers.iter().map(rule).collect(),
        identity: match trunk.identity {
            config::Identity::From => Identity::From,
            config::Identity::Asserted => Identity::Asserted,
            config::Identity::Private => Identity::Private,
        },
    }
}

fn codec(name: &str) -> Option<media::Codec> {
    match name {
        "PCMA" => Some(media::Codec::Pcma),
        "PCMU" => Some(media::Codec::Pcmu),
        "G722" => Some(media::Codec::G722),
        "opus" => Some(media::Codec::Opus),
        _ => None,
    }
}

/// What Call-IDs and tags are made from; made at the first start.
pub async fn call_secret(store: &Store) -> Result<Vec<u8>, ServeError> {
    if let Some(secret) = store.meta(CALL_SECRET).await? {
        return Ok(secret);
    }
    let mut secret = vec![0; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| "the system gives no random numbers")?;
    store.put_meta(CALL_SECRET, secret.clone()).await?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_are_told_is_of_the_family_that_is_bound() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (bound, v6) in [("0.0.0.0", false), ("::", true)] {
            let told = public_address(None, ip(bound)).expect("an address is told");
            assert!(told.is_ipv6() == v6 && !told.is_unspecified(), "{bound}: {told}");
            let configured = Some(ip("198.51.100.7"));
            assert_eq!(public_address(configured, ip(bound)), configured);
        }
        assert_eq!(public_address(None, ip("::1")), None, "what is bound is told");
    }
}
