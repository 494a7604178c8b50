//! How the server of a world is configured: its trunks and its tenants.

use std::sync::Arc;
use std::time::Duration;

use engine::vocabulary::Pace;
use sip::{TlsPeer, Transport};

use super::cast::{
    CARRIER, CUSTOMER, Charter, FRAGILE, FRAGILE_PLACE, LINE, PASSWORD, REGISTERED, STREAM, USER,
    address,
};
use super::clients::TENANTS;
use super::server::Kind;
use crate::dns::Host;
use crate::driver::{Numbers, Targets, Trunk};
use crate::speech::config::SpeechConfig;
use crate::tenants::{PrefixRoute, Tenant, TenantSettings, Tenants};

/// Calls at once.
pub const CAPACITY: u32 = 7;
/// Calls at once over each trunk; over two of them the ports allow fewer.
const CONCURRENT: u32 = 4;
const ASKED_EVERY: Duration = Duration::from_secs(15);

pub fn trunks(kind: Kind) -> Vec<Trunk> {
    let trunk = |name: &str, register: bool| Trunk {
        name: name.into(),
        pace: Pace { calls_per_second: 3, concurrent_calls: CONCURRENT },
        host: "192.0.2.2".to_owned(),
        port: None,
        targets: at(CARRIER, Transport::Udp),
        credentials: (kind.challenged || register).then(|| sip::Credentials {
            username: USER.to_owned(),
            password: PASSWORD.to_owned(),
            realm: None,
        }),
        from_host: "192.0.2.1".to_owned(),
        codecs: vec![media::Codec::Pcma],
        register: register.then_some(3_600),
        numbers: Numbers::default(),
        keepalive: None,
        srtp: media::Srtp::Off,
        session_expires: None,
        inbound: kind.charter.has_every_kind(),
    };
    let first = vec![trunk(LINE, false), trunk(REGISTERED, true)];
    match kind.charter {
        Charter::Notifications => first,
        Charter::EveryKind | Charter::Silence => {
            let fragile = Trunk {
                host: "192.0.2.3".to_owned(),
                targets: at(FRAGILE_PLACE, Transport::Udp),
                keepalive: Some(ASKED_EVERY),
                ..trunk(FRAGILE, false)
            };
            let stream = Trunk { targets: at(CARRIER, Transport::Tcp), ..trunk(STREAM, false) };
            first.into_iter().chain([stream, fragile]).collect()
        }
    }
}

/// Only what the driver asks of them: where a carrier may send their calls on to.
pub fn tenants(charter: Charter) -> Tenants {
    let tenants = Tenants::default();
    if charter.has_every_kind() {
        for id in TENANTS {
            let routes = vec![PrefixRoute { prefix: CUSTOMER.to_owned(), route: LINE.into() }];
            let settings = TenantSettings { redirects: true, routes, ..TenantSettings::default() };
            tenants.put(Tenant {
                id,
                name: format!("tenant {}", id.0),
                app_key: String::new(),
                app_secret_sha256: [0; 32],
                access_codes: Vec::new(),
                suspended: false,
                from_file: false,
                settings,
                speech: Arc::new(SpeechConfig::default()),
            });
        }
    }
    tenants
}

fn at(place: &str, transport: Transport) -> Targets {
    let tls = (transport == Transport::Tls).then_some(TlsPeer(1));
    Targets::new(vec![Host::only(transport, vec![address(place)])], tls)
}
