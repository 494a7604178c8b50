//! Where the hosts of trunks are: found at the start, and again whenever the answers of DNS run out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use engine::vocabulary::TrunkName;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::ServeError;
use crate::certificates;
use crate::config::{Config, Transport, Trunk, TrunkKind};
use crate::dns::{Families, Host, Locator, Wanted};
use crate::driver::{Happening, Happenings};

/// The start waits so long for name servers; a trunk that is found later is used from then on.
const FIRST_ANSWERS: Duration = Duration::from_secs(3);
/// An answer without any lifetime must not make a storm of questions.
const LEAST: Duration = Duration::from_secs(5);
const MOST: Duration = Duration::from_secs(3_600);
/// After name servers that gave no answer.
const AGAIN: Duration = Duration::from_secs(5);

/// What is known of each trunk when the start goes on; the rest comes as [`Happening::Resolved`].
pub async fn find(
    config: &Config,
    tls: &sip::TlsSettings,
    happenings: &Happenings,
) -> Result<BTreeMap<TrunkName, Vec<Host>>, ServeError> {
    let (v4, v6) = (config.sip_udp().is_ipv4(), config.sip_udp().is_ipv6());
    let locator = Locator::new(&config.dns.servers, Families { v4, v6 })?;
    let mut first = JoinSet::new();
    for trunk in config.trunks.iter().filter(|trunk| trunk.kind == TrunkKind::Sip) {
        let has_tls = tls.peers.contains_key(&certificates::peer(&trunk.name));
        let wanted = wanted(trunk, has_tls);
        let (name, locator, happenings) = (trunk.name.clone(), locator.clone(), happenings.clone());
        first.spawn(async move {
            let found = timeout(FIRST_ANSWERS, locator.locate(&wanted)).await;
            let (hosts, next) = match found {
                Ok(Ok(located)) => (located.hosts, located.valid_for.clamp(LEAST, MOST)),
                Ok(Err(error)) => {
                    tracing::warn!(trunk = %name, %error, "the trunk's host cannot be found yet");
                    (Vec::new(), AGAIN)
                }
                Err(_) => {
                    tracing::warn!(trunk = %name, "name servers are slow: the start does not wait");
                    (Vec::new(), Duration::ZERO)
                }
            };
            if wanted.host.parse::<IpAddr>().is_err() {
                let found = !hosts.is_empty();
                let trunk = name.clone();
                let search = Search { trunk, wanted, locator, found };
                tokio::spawn(search.keep_on(next, happenings));
            }
            (name, hosts)
        });
    }
    Ok(first.join_all().await.into_iter().collect())
}

fn wanted(trunk: &Trunk, has_tls: bool) -> Wanted {
    let (host, port) = trunk.host_and_port();
    let transports = match trunk.transport {
        Transport::Udp => vec![sip::Transport::Udp],
        Transport::Tcp => vec![sip::Transport::Tcp],
        Transport::Tls => vec![sip::Transport::Tls],
        Transport::Auto if has_tls => {
            vec![sip::Transport::Udp, sip::Transport::Tcp, sip::Transport::Tls]
        }
        Transport::Auto => vec![sip::Transport::Udp, sip::Transport::Tcp],
    };
    Wanted { host, port, transports }
}

/// One trunk's host.
struct Search {
    trunk: TrunkName,
    wanted: Wanted,
    locator: Locator,
    /// Whether it has been found before.
    found: bool,
}

impl Search {
    /// What was found stays in use while name servers give no answer.
    async fn keep_on(mut self, mut next: Duration, happenings: Happenings) {
        while !happenings.is_closed() {
            sleep(next).await;
            next = self.look(&happenings).await;
        }
    }

    /// Looks once; when to look again.
    async fn look(&mut self, happenings: &Happenings) -> Duration {
        let trunk = &self.trunk;
        match self.locator.locate(&self.wanted).await {
            Ok(located) => {
                if !std::mem::replace(&mut self.found, true) {
                    tracing::info!(%trunk, "the trunk's host is found");
                }
                let hosts = located.hosts;
                happenings.tell(Happening::Resolved { trunk: trunk.clone(), hosts });
                located.valid_for.clamp(LEAST, MOST)
            }
            Err(error) => {
                tracing::warn!(%trunk, %error, "the trunk's host cannot be found");
                AGAIN
            }
        }
    }
}
