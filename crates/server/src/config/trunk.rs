//! `[[trunk]]`: a way out to the telephone network.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use engine::vocabulary::TrunkName;
use serde::Deserialize;

use super::Secret;

/// Codecs that an offer may carry, in the words of SDP.
pub(super) const CODECS: [&str; 4] = ["PCMA", "PCMU", "G722", "opus"];

/// One trunk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trunk {
    /// The name that routes use.
    pub name: TrunkName,
    /// `sip` (default) or `sim`, the simulated carrier, which needs nothing else.
    #[serde(default)]
    pub kind: TrunkKind,
    /// `host` or `host:port` of the far side; IPv6 in brackets. Without a port the DNS of the host
    /// says where (NAPTR, SRV), else 5060, over TLS 5061.
    pub address: Option<String>,
    /// `udp`, `tcp`, `tls` or `auto` (default): what the DNS of the host says, else UDP.
    #[serde(default)]
    pub transport: Transport,
    /// PEM file of the authorities that its certificate may be signed by; default: the machine's.
    pub tls_ca: Option<PathBuf>,
    /// The name that its certificate has to be for; default: the host in `address`.
    pub tls_name: Option<String>,
    /// PEM file of the certificate that is shown where it asks for one; with `tls_key`.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub tls_key: Option<PathBuf>,
    /// Seconds after which a session that nobody refreshes is over (RFC 4028), 90 to 86400; default:
    /// only where the far side asks for it.
    pub session_expires: Option<u32>,
    /// The user of digest authentication and registration.
    pub username: Option<String>,
    /// Or `password_file`.
    pub password: Option<Secret>,
    /// The realm that the password is for; a challenge of another realm is not answered.
    pub realm: Option<String>,
    /// Whether offhook registers there; default false.
    #[serde(default)]
    pub register: bool,
    /// Seconds that a registration is asked for, 60 to 86400; default 300.
    #[serde(default = "default_expires")]
    pub expires: u32,
    /// The host in From; default the far side's.
    pub from_host: Option<String>,
    /// How often, in seconds, it is asked by OPTIONS whether it is alive, 5 to 3600; 0 (default): never.
    /// A trunk that does not answer is taken out of service until it does.
    #[serde(default)]
    pub keepalive: u32,
    /// How it wants called numbers written; the rule of the longest prefix.
    #[serde(default)]
    pub called_numbers: Vec<NumberRule>,
    /// How it wants the numbers of callers written.
    #[serde(default)]
    pub caller_numbers: Vec<NumberRule>,
    /// Where the caller's number stands: `from` (default), `asserted` (also in P-Asserted-Identity) or
    /// `private` (only there; From is anonymous).
    #[serde(default)]
    pub identity: Identity,
    /// What is offered and in which order; default PCMA, PCMU, G722, opus.
    #[serde(default = "default_codecs")]
    pub codecs: Vec<String>,
    /// Whether audio is encrypted with keys in SDP: `off` (default), `optional` (where the far side takes a key) or
    /// `required`.
    #[serde(default)]
    pub srtp: Srtp,
    /// Whether calls come in from its addresses, for the virtual numbers of ITA bindings; default false. Over UDP
    /// an address proves little: the network has to keep others from sending in the trunk's name.
    #[serde(default)]
    pub inbound: bool,
    /// Calls started per second; default 1000.
    #[serde(default = "default_rate")]
    pub calls_per_second: u32,
    /// Calls dialling or up at the same time; default 10000.
    #[serde(default = "default_concurrency")]
    pub concurrent_calls: u32,
}

/// Numbers that begin with `prefix` go out with `replace` in its place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberRule {
    pub prefix: String,
    pub replace: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    #[default]
    From,
    Asserted,
    Private,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrunkKind {
    #[default]
    Sip,
    Sim,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    #[default]
    Auto,
    Udp,
    Tcp,
    Tls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Srtp {
    #[default]
    Off,
    Optional,
    Required,
}

impl Srtp {
    pub fn policy(self) -> media::Srtp {
        match self {
            Srtp::Off => media::Srtp::Off,
            Srtp::Optional => media::Srtp::Optional,
            Srtp::Required => media::Srtp::Required,
        }
    }
}

fn default_expires() -> u32 {
    300
}

pub(super) fn default_codecs() -> Vec<String> {
    CODECS.map(str::to_owned).to_vec()
}

fn default_rate() -> u32 {
    1000
}

fn default_concurrency() -> u32 {
    10_000
}

impl Trunk {
    /// The trunk of a configuration that names none.
    pub fn sim() -> Trunk {
        Trunk {
            name: "sim".into(),
            kind: TrunkKind::Sim,
            address: None,
            transport: Transport::Auto,
            tls_ca: None,
            tls_name: None,
            tls_certificate: None,
            tls_key: None,
            session_expires: None,
            username: None,
            password: None,
            realm: None,
            register: false,
            expires: default_expires(),
            from_host: None,
            keepalive: 0,
            called_numbers: Vec::new(),
            caller_numbers: Vec::new(),
            identity: Identity::From,
            codecs: default_codecs(),
            srtp: Srtp::Off,
            inbound: true,
            calls_per_second: default_rate(),
            concurrent_calls: default_concurrency(),
        }
    }

    /// The far side's host, IPv6 without brackets, and its port where one is written.
    pub fn host_and_port(&self) -> (String, Option<u16>) {
        host_and_port(self.address.as_deref().unwrap_or_default())
    }

    /// Encryption is required, and whoever reads the signalling reads its keys.
    pub fn shows_its_keys(&self) -> bool {
        let in_the_open = match self.transport {
            Transport::Udp | Transport::Tcp | Transport::Auto => true,
            Transport::Tls => false,
        };
        in_the_open && self.kind == TrunkKind::Sip && self.srtp == Srtp::Required
    }

    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let name_is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.0.is_empty() || !self.name.0.chars().all(name_is_plain) {
            return Err(("name", "must be letters, digits, `-`, `_` or `.`".into()));
        }
        match (self.kind, &self.address) {
            (TrunkKind::Sip, None) => {
                return Err(("address", "is missing: write \"sip.example.com:5060\"".into()));
            }
            (TrunkKind::Sim, Some(_)) => {
                return Err(("address", "has no meaning for a trunk of kind \"sim\"".into()));
            }
            (TrunkKind::Sip, Some(address)) if !is_host_port(address) => {
                return Err(("address", format!("`{address}` is no host or host:port")));
            }
            (TrunkKind::Sip, Some(_)) | (TrunkKind::Sim, None) => {}
        }
        if self.register && (self.username.is_none() || self.password.is_none()) {
            return Err((
                "register",
                "needs `username` and `password` (or `password_file`)".into(),
            ));
        }
        self.check_tls()?;
        if self.session_expires.is_some_and(|seconds| !(90..=86_400).contains(&seconds)) {
            return Err(("session_expires", "must be 90 to 86400 seconds".into()));
        }
        if !(60..=86_400).contains(&self.expires) {
            return Err(("expires", "must be 60 to 86400 seconds".into()));
        }
        if self.keepalive != 0 && !(5..=3_600).contains(&self.keepalive) {
            return Err(("keepalive", "must be 5 to 3600 seconds, or 0 for never".into()));
        }
        for (key, rules) in
            [("called_numbers", &self.called_numbers), ("caller_numbers", &self.caller_numbers)]
        {
            let plain = |text: &str| {
                let digits = text.strip_prefix('+').unwrap_or(text);
                digits.len() <= 32 && digits.bytes().all(|byte| byte.is_ascii_digit())
            };
            if let Some(rule) = rules.iter().find(|r| !plain(&r.prefix) || !plain(&r.replace)) {
                let NumberRule { prefix, replace } = rule;
                return Err((
                    key,
                    format!("`{prefix}` to `{replace}`: both must be digits, `+` first"),
                ));
            }
        }
        if self.codecs.is_empty() {
            return Err(("codecs", format!("is empty: write some of {}", CODECS.join(", "))));
        }
        for codec in &self.codecs {
            if !CODECS.iter().any(|known| known.eq_ignore_ascii_case(codec)) {
                return Err(("codecs", format!("`{codec}` is not one of {}", CODECS.join(", "))));
            }
        }
        if self.calls_per_second == 0 || self.concurrent_calls == 0 {
            let zero =
                if self.calls_per_second == 0 { "calls_per_second" } else { "concurrent_calls" };
            return Err((zero, "must be 1 or more".into()));
        }
        Ok(())
    }
}

impl Trunk {
    fn check_tls(&self) -> Result<(), (&'static str, String)> {
        let set = [
            ("tls_ca", self.tls_ca.is_some()),
            ("tls_name", self.tls_name.is_some()),
            ("tls_certificate", self.tls_certificate.is_some()),
            ("tls_key", self.tls_key.is_some()),
        ];
        let may_use_tls = matches!(self.transport, Transport::Auto | Transport::Tls);
        if let Some((key, _)) = set.iter().find(|(_, set)| *set && !may_use_tls) {
            return Err((key, "has a meaning only with transport = \"tls\" (or \"auto\")".into()));
        }
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => {
                Err(("tls_key", "is missing: it goes with `tls_certificate`".into()))
            }
            (None, Some(_)) => {
                Err(("tls_certificate", "is missing: it goes with `tls_key`".into()))
            }
            (Some(_), Some(_)) | (None, None) => Ok(()),
        }
    }
}

/// A name or address, with a port or without.
fn is_host_port(text: &str) -> bool {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => return false,
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port_is_good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    port_is_good && url::Host::parse(host).is_ok() || host.parse::<std::net::Ipv6Addr>().is_ok()
}

/// `host`, `host:port` or `[v6]:port`.
fn host_and_port(address: &str) -> (String, Option<u16>) {
    if let Ok(address) = address.parse::<SocketAddr>() {
        return (address.ip().to_string(), Some(address.port()));
    }
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        return (bare.to_owned(), None);
    }
    match address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host.to_owned(), Some(port)),
        None => (address.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trunk_addresses_are_read_in_every_usual_form() {
        let table = [
            ("sip.example.com", ("sip.example.com", None)),
            ("sip.example.com:5070", ("sip.example.com", Some(5070))),
            ("192.0.2.7", ("192.0.2.7", None)),
            ("192.0.2.7:5080", ("192.0.2.7", Some(5080))),
            ("[2001:db8::7]:5080", ("2001:db8::7", Some(5080))),
            ("[2001:db8::7]", ("2001:db8::7", None)),
        ];
        for (text, (host, port)) in table {
            assert_eq!(host_and_port(text), (host.to_owned(), port), "{text}");
        }
    }
}
