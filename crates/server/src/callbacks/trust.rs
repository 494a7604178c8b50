//! Who may be called back: the address that a request names, and the list of addresses that a tenant trusts.
use super::addresses::{Reach, canonical, reach};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};
use thiserror::Error;
use url::{Host, Url};

/// The longest `callBackUrl` in bytes, as it stands in the request.
pub const MAX_URL: usize = 256;

/// Parses the `callBackUrl` of a request: `http://…` or `https://…` in clear, else the Base64 of that in UTF-8. At most
/// [`MAX_URL`] bytes; after decoding only `a-z A-Z 0-9 - : . / _ # ? &`. Whether it may be called is
/// [`TrustList::permits`]'s to say.
pub fn parse_callback_url(given: &str) -> Result<Url, UrlError> {
    if given.len() > MAX_URL {
        return Err(UrlError::TooLong(given.len()));
    }
    let clear = if has_web_scheme(given) { given.to_owned() } else { decode(given)? };
    if !has_web_scheme(&clear) {
        return Err(UrlError::Scheme);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-:./_#?&".contains(c);
    if let Some(found) = clear.chars().find(|c| !allowed(*c)) {
        return Err(UrlError::Character(found));
    }
    let url = Url::parse(&clear)?;
    if url.port_or_known_default() == Some(0) {
        return Err(UrlError::PortZero);
    }
    Ok(url)
}

/// Why a `callBackUrl` is not an address at all; the caller is at fault.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum UrlError {
    #[error("callBackUrl has {0} bytes, the limit is {MAX_URL}")]
    TooLong(usize),
    #[error("callBackUrl is neither http:// or https:// in clear nor Base64")]
    Base64,
    #[error("callBackUrl must be http:// or https://, in clear or as Base64 of UTF-8")]
    Scheme,
    #[error("callBackUrl contains {0:?}; allowed are a-z A-Z 0-9 - : . / _ # ? &")]
    Character(char),
    #[error("callBackUrl names port 0, to which nothing can connect")]
    PortZero,
    #[error("callBackUrl is malformed: {0}")]
    Malformed(#[from] url::ParseError),
}

fn has_web_scheme(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

fn decode(given: &str) -> Result<String, UrlError> {
    let bytes = BASE64_STANDARD.decode(given.trim()).map_err(|_| UrlError::Base64)?;
    String::from_utf8(bytes).map_err(|_| UrlError::Base64)
}

/// One trusted receiver, written `[scheme://]host[:port][ private]`: an IP address with its port, or a domain name with
/// any port unless one is given. `private` after a blank allows addresses of [`Reach::Private`] for this entry; without
/// it a name that resolves to one is refused when it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustEntry {
    scheme: Option<Scheme>,
    receiver: Receiver,
    reach: Reach,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Receiver {
    Address(SocketAddr),
    Domain { name: String, port: Option<u16> },
}

/// Why a text is not a trust-list entry; the operator who wrote it is at fault.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EntryError {
    #[error(
        "trust-list entry {0:?}: expected ip:port or a domain name, e.g. 203.0.113.7:8800 or hooks.example.com"
    )]
    Syntax(String),
    #[error(
        "trust-list entry {0:?}: an IP address needs its port, e.g. 203.0.113.7:8800 or [2001:db8::7]:8800"
    )]
    PortMissing(String),
    #[error("trust-list entry {0:?}: only http:// and https:// can be called")]
    Scheme(String),
    #[error(
        "trust-list entry {0:?} is a private address: write \"{0} private\" if it is meant to be called"
    )]
    PrivateUnmarked(String),
    #[error(
        "trust-list entry {0:?}: nothing can be called at an unspecified, multicast or reserved address"
    )]
    NeverCallable(String),
}

impl FromStr for TrustEntry {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        let text = text.trim();
        let syntax = || EntryError::Syntax(text.to_owned());
        let (address, reach_allowed) = match text.split_once(char::is_whitespace) {
            None => (text, Reach::Public),
            Some((address, flag)) if flag.trim() == "private" => (address, Reach::Private),
            Some(_) => return Err(syntax()),
        };
        let (scheme, authority) = match address.split_once("://") {
            None => (None, address),
            Some((scheme, rest)) => (
                Some(Scheme::parse(scheme).ok_or_else(|| EntryError::Scheme(text.to_owned()))?),
                rest,
            ),
        };
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', '\\']) {
            return Err(syntax());
        }
        let receiver = Receiver::parse(authority).ok_or_else(syntax)?;
        if let Receiver::Address(address) = receiver {
            if address.port() == 0 {
                return Err(EntryError::PortMissing(text.to_owned()));
            }
            match reach(address.ip()) {
                Reach::Never => return Err(EntryError::NeverCallable(text.to_owned())),
                needed if needed > reach_allowed => {
                    return Err(EntryError::PrivateUnmarked(text.to_owned()));
                }
                Reach::Public | Reach::Private => {}
            }
        }
        Ok(TrustEntry { scheme, receiver, reach: reach_allowed })
    }
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        [("http", Scheme::Http), ("https", Scheme::Https)]
            .into_iter()
            .find_map(|(name, scheme)| text.eq_ignore_ascii_case(name).then_some(scheme))
    }
}

impl Receiver {
    /// Hosts pass through the URL parser so that they are normalised as those of callback addresses are. It drops a
    /// scheme's default port; parsing under both schemes tells `:80` from no port. Port 0 stands for none with an IP.
    fn parse(authority: &str) -> Option<Self> {
        let urls =
            ["http", "https"].map(|scheme| Url::parse(&format!("{scheme}://{authority}/")).ok());
        let [Some(http), Some(https)] = urls else { return None };
        let port = http.port().or(https.port());
        match http.host()? {
            Host::Ipv4(ip) => {
                Some(Receiver::Address(SocketAddr::new(ip.into(), port.unwrap_or(0))))
            }
            Host::Ipv6(ip) => {
                Some(Receiver::Address(SocketAddr::new(canonical(ip.into()), port.unwrap_or(0))))
            }
            Host::Domain(name) => Some(Receiver::Domain { name: domain(name)?, port }),
        }
    }
}

/// The name that is compared: lower case and punycode already (the URL parser's work), without the root's dot. None if
/// it cannot be a name of the DNS.
fn domain(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let labels_fit = name.split('.').all(|label| (1..=63).contains(&label.len()));
    (labels_fit && name.len() <= 253 && !name.contains(['*', '%'])).then(|| name.to_owned())
}

impl fmt::Display for TrustEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Some(Scheme::Http) => f.write_str("http://")?,
            Some(Scheme::Https) => f.write_str("https://")?,
            None => {}
        }
        match &self.receiver {
            Receiver::Address(address) => write!(f, "{address}")?,
            Receiver::Domain { name, port: Some(port) } => write!(f, "{name}:{port}")?,
            Receiver::Domain { name, port: None } => f.write_str(name)?,
        }
        if self.reach == Reach::Private { f.write_str(" private") } else { Ok(()) }
    }
}

impl TryFrom<String> for TrustEntry {
    type Error = EntryError;
    fn try_from(text: String) -> Result<Self, EntryError> {
        text.parse()
    }
}

impl From<TrustEntry> for String {
    fn from(entry: TrustEntry) -> String {
        entry.to_string()
    }
}

/// The receivers that one tenant trusts. Empty: no callback leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrustList(pub Vec<TrustEntry>);

/// A URL that an entry of the trust list covers, with how far it may reach. Only this can be posted to, so that nothing
/// is sent to an address that nobody has judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    url: Url,
    host: PermittedHost,
    port: u16,
    reach: Reach,
}

/// The host of a permitted URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PermittedHost {
    Address(IpAddr),
    /// Normalised: lower case, punycode, no trailing dot.
    Domain(String),
}

/// Why the trust list does not cover a URL. None of them names the host: they may be logged.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub enum Refused {
    #[error("only http:// and https:// can be called back")]
    Scheme,
    #[error("a callback address must not carry a user name or password")]
    Credentials,
    #[error("the callback address names no host")]
    NoHost,
    #[error(
        "the callback address is not in the tenant's trust list: add its ip:port or domain name there"
    )]
    NotTrusted,
}

impl TrustList {
    /// Judges a callback address by its text. Where it is a name, what the name resolves to is judged at each try, by
    /// the [`Permit`]'s [`reach`](Permit::reach).
    pub fn permits(&self, url: &Url) -> Result<Permit, Refused> {
        let scheme = Scheme::parse(url.scheme()).ok_or(Refused::Scheme)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        let host = match url.host().ok_or(Refused::NoHost)? {
            Host::Ipv4(ip) => PermittedHost::Address(ip.into()),
            Host::Ipv6(ip) => PermittedHost::Address(canonical(ip.into())),
            Host::Domain(name) => PermittedHost::Domain(domain(name).ok_or(Refused::NoHost)?),
        };
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or(Refused::NoHost)?;
        let covering = self.0.iter().filter(|entry| entry.covers(scheme, &host, port));
        let reach_allowed = covering.map(|entry| entry.reach).max().ok_or(Refused::NotTrusted)?;
        Ok(Permit { url: host.written_into(url)?, host, port, reach: reach_allowed })
    }
}

impl PermittedHost {
    /// The URL that is called has the host that was judged: no root dot for SNI to stumble over, no mapped address.
    fn written_into(&self, url: &Url) -> Result<Url, Refused> {
        let mut url = url.clone();
        match self {
            PermittedHost::Address(ip) => url.set_ip_host(*ip).map_err(|()| Refused::NoHost)?,
            PermittedHost::Domain(name) => url.set_host(Some(name)).map_err(|_| Refused::NoHost)?,
        }
        Ok(url)
    }
}

impl TrustEntry {
    fn covers(&self, scheme: Scheme, host: &PermittedHost, port: u16) -> bool {
        let receiver = match (&self.receiver, host) {
            (Receiver::Address(address), PermittedHost::Address(ip)) => {
                *address == SocketAddr::new(*ip, port)
            }
            (Receiver::Domain { name, port: only }, PermittedHost::Domain(asked)) => {
                name == asked && only.is_none_or(|only| only == port)
            }
            (Receiver::Address(_), PermittedHost::Domain(_))
            | (Receiver::Domain { .. }, PermittedHost::Address(_)) => false,
        };
        receiver && self.scheme.is_none_or(|only| only == scheme)
    }
}

impl Permit {
    pub fn url(&self) -> &Url {
        &self.url
    }

    pub fn host(&self) -> &PermittedHost {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The widest reach that an address of this host may have.
    pub fn reach(&self) -> Reach {
        self.reach
    }
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
