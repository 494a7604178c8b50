//! SIP URIs and name-addrs that are ours: parsed once, correct from then on.

use std::fmt;

use bytes::Bytes;
use sipx_sip::{Host, Scheme};
use thiserror::Error;

/// Why a value cannot be an address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    #[error("the host {0:?} is neither a host name nor an IP address")]
    Host(String),
    #[error("the URI parameter {0:?} contains characters that a parameter cannot have")]
    Param(String),
    #[error("the display name contains a control character")]
    Display,
    #[error("not a SIP address: {0}")]
    Syntax(String),
}

/// `sip:user@host:port;params`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uri {
    user: String,
    host: String,
    port: Option<u16>,
    params: Vec<(String, Option<String>)>,
}

impl Uri {
    /// `user` is plain text and may be empty; it is escaped on the wire. `host` is a name or an IP
    /// address, IPv6 with or without brackets.
    pub fn new(user: impl Into<String>, host: impl Into<String>) -> Result<Uri, AddressError> {
        Ok(Uri {
            user: user.into(),
            host: checked_host(host.into())?,
            port: None,
            params: Vec::new(),
        })
    }

    pub fn with_port(mut self, port: u16) -> Uri {
        self.port = Some(port);
        self
    }

    /// For example `user=phone`, or a flag such as `lr` without a value.
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Result<Uri, AddressError> {
        let plain = |text: &str| !text.is_empty() && text.bytes().all(is_param_char);
        if !plain(name) || value.is_some_and(|value| !plain(value)) {
            return Err(AddressError::Param(name.to_owned()));
        }
        self.params.push((name.to_owned(), value.map(str::to_owned)));
        Ok(self)
    }

    /// Parses a `sip:` or `sips:` URI.
    pub fn parse(text: &str) -> Result<Uri, AddressError> {
        let parsed = sipx_sip::Uri::parse(Bytes::copy_from_slice(text.as_bytes()))
            .map_err(|error| AddressError::Syntax(error.to_string()))?;
        Uri::from_parsed(&parsed)
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    /// Without brackets, also for IPv6.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> Option<u16> {
        self.port
    }

    pub fn params(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.params.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    pub(crate) fn from_parsed(parsed: &sipx_sip::Uri) -> Result<Uri, AddressError> {
        if matches!(parsed.scheme(), Scheme::Tel) {
            return Ok(Uri::from_tel(parsed));
        }
        let host = match parsed.host() {
            Some(Host::Name(name)) => String::from_utf8_lossy(name.as_bytes()).into_owned(),
            Some(host) => host.to_string(),
            None => return Err(AddressError::Syntax("no host".to_owned())),
        };
        let params = parsed.params().into_iter().flatten().map(|param| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (text(param.name()), param.value().map(text))
        });
        Ok(Uri {
            user: parsed
                .decoded_user()
                .map(|user| String::from_utf8_lossy(&user).into_owned())
                .unwrap_or_default(),
            host: checked_host(host)?,
            port: parsed.port(),
            params: params.collect(),
        })
    }

    /// `tel:+1234` has no host; it is read as a user of nowhere, which is what callers need of it.
    fn from_tel(parsed: &sipx_sip::Uri) -> Uri {
        let user = parsed
            .tel_parts()
            .map(|parts| String::from_utf8_lossy(parts.subscriber()).into_owned());
        Uri {
            user: user.unwrap_or_default(),
            host: "invalid".to_owned(),
            port: None,
            params: Vec::new(),
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sip:")?;
        if !self.user.is_empty() {
            write!(f, "{}@", EscapedUser(&self.user))?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        for (name, value) in &self.params {
            write!(f, ";{name}")?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

/// `"Display" <sip:…>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    display: Option<String>,
    uri: Uri,
}

impl Address {
    pub fn new(uri: Uri) -> Address {
        Address { display: None, uri }
    }

    pub fn with_display(mut self, display: impl Into<String>) -> Result<Address, AddressError> {
        let display = display.into();
        if display.chars().any(char::is_control) {
            return Err(AddressError::Display);
        }
        self.display = Some(display);
        Ok(self)
    }

    /// Parses a name-addr or addr-spec; header parameters such as `tag` are left out.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let parsed = sipx_sip::Address::parse(text.as_bytes(), "address")
            .map_err(|error| AddressError::Syntax(error.to_string()))?;
        let display = parsed
            .display_name
            .map(|name| String::from_utf8_lossy(&name).replace(char::is_control, ""));
        Ok(Address {
            display: display.filter(|name| !name.is_empty()),
            uri: Uri::from_parsed(&parsed.uri)?,
        })
    }

    pub fn display(&self) -> Option<&str> {
        self.display.as_deref()
    }

    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    pub fn user(&self) -> &str {
        self.uri.user()
    }

    pub fn host(&self) -> &str {
        self.uri.host()
    }
}

impl From<Uri> for Address {
    fn from(uri: Uri) -> Address {
        Address::new(uri)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            let escaped = display.replace('\\', r"\\").replace('"', "\\\"");
            write!(f, "\"{escaped}\" ")?;
        }
        write!(f, "<{}>", self.uri)
    }
}

/// The user part with everything escaped that RFC 3261 §25.1 does not allow in it.
struct EscapedUser<'a>(&'a str);

impl fmt::Display for EscapedUser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

fn checked_host(host: String) -> Result<String, AddressError> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&host);
    let is_name = !bare.is_empty()
        && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_');
    if is_name || bare.parse::<std::net::Ipv6Addr>().is_ok() {
        Ok(bare.to_owned())
    } else {
        Err(AddressError::Host(host))
    }
}

fn is_param_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_once_and_reads_back_the_same() {
        let uri = Uri::new("+1 23%@x", "::1").unwrap().with_port(5070);
        assert_eq!(uri.to_string(), "sip:+1%2023%25%40x@[::1]:5070");
        assert_eq!(Uri::parse(&uri.to_string()).unwrap(), uri);
    }

    #[test]
    fn refuses_what_would_end_the_line() {
        assert!(Uri::new("a", "host\r\nVia: x").is_err());
        let uri = Uri::new("a", "h").unwrap();
        assert!(uri.clone().with_param("x", Some("a;b")).is_err());
        assert!(Address::new(uri).with_display("a\r\nb").is_err());
        assert_eq!(Uri::new("a\r\nb", "h").unwrap().to_string(), "sip:a%0D%0Ab@h");
    }

    proptest! {
        #[test]
        fn any_user_survives_the_wire(user in "\\PC{1,20}", display in "\\PC{0,20}") {
            let uri = Uri::new(user, "example.com").unwrap();
            let address = Address::new(uri).with_display(display).unwrap();
            let read = Address::parse(&address.to_string()).unwrap();
            prop_assert_eq!(read.uri(), address.uri());
        }

        #[test]
        fn any_text_is_an_address_or_an_error(text in ".*") {
            let _ = Uri::parse(&text);
            let _ = Address::parse(&text);
        }
    }

    #[test]
    fn reads_a_name_addr_with_a_quoted_name() {
        let address = Address::parse(r#""Bob \"B\"" <sip:bob@host;user=phone>;tag=1"#).unwrap();
        assert_eq!(address.user(), "bob");
        assert_eq!(address.uri().params().collect::<Vec<_>>(), [("user", Some("phone"))]);
        assert_eq!(Address::parse(&address.to_string()).unwrap(), address);
    }
}
