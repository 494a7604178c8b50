//! `[http]`, `[https]`, `[sip]`, `[media]`: what the process listens on and what it says it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};

/// The most that a client may ask a request to wait, in seconds.
pub const LONGEST_WAIT_S: u32 = 30;

/// `[http]`: the interfaces in clear text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// `OFFHOOK__HTTP__BIND`; default `127.0.0.1:8088`. Port 0 takes a free one.
    #[serde(deserialize_with = "socket_address")]
    pub bind: SocketAddr,
    /// `OFFHOOK__HTTP__PUBLIC_URL`: what links that the server hands out begin with, such as
    /// `https://calls.example.com`. Default: the `Host` of the request.
    pub public_url: Option<String>,
    /// `OFFHOOK__HTTP__CONNECTIONS`: connections at the same time, per listener; default 8192.
    pub connections: usize,
    /// `OFFHOOK__HTTP__LONGEST_WAIT_S`: a request that waits for events is answered after so many seconds at the latest,
    /// 0 to 30; default 30. Shorter where a proxy in front gives up earlier.
    pub longest_wait_s: u32,
}

impl Http {
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let longest_wait_s = self.longest_wait_s;
        if longest_wait_s <= LONGEST_WAIT_S {
            return Ok(());
        }
        let what = format!("is {longest_wait_s}, must be 0 to {LONGEST_WAIT_S}");
        Err(("http.longest_wait_s".into(), what))
    }
}

impl Default for Http {
    fn default() -> Self {
        Http {
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8088),
            public_url: None,
            connections: 8192,
            longest_wait_s: LONGEST_WAIT_S,
        }
    }
}

/// `[https]`: the same interfaces over TLS 1.2 and 1.3.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Https {
    /// `OFFHOOK__HTTPS__BIND`.
    #[serde(deserialize_with = "socket_address")]
    pub bind: SocketAddr,
    /// `OFFHOOK__HTTPS__CERTIFICATE`: PEM file, the server's certificate first, then its chain.
    pub certificate: PathBuf,
    /// `OFFHOOK__HTTPS__KEY`: PEM file, the private key.
    pub key: PathBuf,
}

/// `[sip]`: the listeners towards trunks. Nothing is open to the network that is not needed: where
/// every trunk is simulated the default is a free port of the loopback interface.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sip {
    /// `OFFHOOK__SIP__UDP`; default `0.0.0.0:5060`, or `127.0.0.1:0` (see above).
    #[serde(deserialize_with = "some_socket_address")]
    pub udp: Option<SocketAddr>,
    /// `OFFHOOK__SIP__TCP`; default as for `udp`.
    #[serde(deserialize_with = "some_socket_address")]
    pub tcp: Option<SocketAddr>,
    /// `OFFHOOK__SIP__TLS`: needs `certificate` and `key`; default: nobody can connect over TLS, and
    /// trunks that are reached so are called from here all the same.
    #[serde(deserialize_with = "some_socket_address")]
    pub tls: Option<SocketAddr>,
    /// `OFFHOOK__SIP__CERTIFICATE`: PEM file, the server's certificate first, then its chain.
    pub certificate: Option<PathBuf>,
    /// `OFFHOOK__SIP__KEY`: PEM file, the private key.
    pub key: Option<PathBuf>,
    /// `OFFHOOK__SIP__PUBLIC_ADDRESS`: goes into Via and Contact in place of the bound address.
    #[serde(deserialize_with = "some_ip_address")]
    pub public_address: Option<IpAddr>,
    /// `OFFHOOK__SIP__REALM`: what softphones are challenged with; default `offhook`. Where it changes, phones that
    /// keep a hash in place of the password have to be told it anew.
    pub realm: String,
}

impl Default for Sip {
    fn default() -> Self {
        Sip {
            udp: None,
            tcp: None,
            tls: None,
            certificate: None,
            key: None,
            public_address: None,
            realm: "offhook".to_owned(),
        }
    }
}

impl Sip {
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let quotable = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
        if self.realm.is_empty() || self.realm.len() > 128 || !self.realm.chars().all(quotable) {
            let what = "must be 1 to 128 ASCII characters without blanks, quotes and backslashes";
            return Err(("sip.realm".into(), what.into()));
        }
        let missing = match (&self.tls, &self.certificate, &self.key) {
            (None, None, None) | (Some(_), Some(_), Some(_)) => return Ok(()),
            (None, ..) => "tls",
            (Some(_), None, _) => "certificate",
            (Some(_), Some(_), None) => "key",
        };
        let what = "is missing: `tls`, `certificate` and `key` go together";
        Err((format!("sip.{missing}"), what.into()))
    }
}

/// `[media]`: RTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// `OFFHOOK__MEDIA__BIND`; default `0.0.0.0`, or `127.0.0.1` where every trunk is simulated.
    #[serde(deserialize_with = "some_ip_address")]
    pub bind: Option<IpAddr>,
    /// `OFFHOOK__MEDIA__PORTS`: `"20000-29999"`, both included. Default: the system's free ports.
    pub ports: Option<PortRange>,
    /// `OFFHOOK__MEDIA__PUBLIC_ADDRESS`: goes into SDP in place of the bound address.
    #[serde(deserialize_with = "some_ip_address")]
    pub public_address: Option<IpAddr>,
    /// `OFFHOOK__MEDIA__THREADS`: media threads, 1 to 64; default one per core.
    pub threads: Option<usize>,
    /// `OFFHOOK__MEDIA__LATCHING`: take a far end's address from its first packets where NAT hides
    /// it; default true. False: only the address of its SDP is heard.
    pub latching: bool,
}

impl Default for Media {
    fn default() -> Self {
        Media { bind: None, ports: None, public_address: None, threads: None, latching: true }
    }
}

/// A range of UDP ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.split_once('-').and_then(|(first, last)| {
            Some(PortRange { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? })
        });
        match parsed {
            // A leg takes a pair of ports (RTP and RTCP), so one port alone carries no call.
            Some(range) if range.first >= 1024 && range.last > range.first => Ok(range),
            _ => Err(de::Error::custom(format!(
                "`{text}` is no range of ports: write \"20000-29999\", 1024 or higher, two or more ports"
            ))),
        }
    }
}

/// The parser's own message does not tell what to write.
fn socket_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        de::Error::custom(format!(
            "`{text}` is no IP address with a port: write \"127.0.0.1:8088\" or \"[::1]:8088\""
        ))
    })
}

fn some_socket_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    socket_address(deserializer).map(Some)
}

fn ip_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        de::Error::custom(format!(
            "`{text}` is no IP address: write \"192.0.2.1\" or \"2001:db8::1\""
        ))
    })
}

fn some_ip_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    ip_address(deserializer).map(Some)
}
