//! Received messages, read once: what transactions and dialogs ask of them.

use std::net::SocketAddr;

use bytes::Bytes;
use sipx_sip::{HeaderName, Headers, Method, TypedHeader, Via};

use crate::{Body, Destination, Transport, Uri, core::Received};

/// Where a message came from and on which socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub transport: Transport,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub flow: Option<crate::FlowId>,
}

impl Source {
    pub fn of(received: &Received) -> Source {
        Source {
            transport: received.transport,
            local: received.local,
            remote: received.remote,
            flow: received.flow,
        }
    }

    /// Back to where it came from.
    pub fn destination(&self) -> Destination {
        Destination {
            addr: self.remote,
            transport: self.transport,
            local: Some(self.local),
            flow: self.flow,
            tls: None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Request {
    pub method: Method,
    pub uri: sipx_sip::Uri,
    pub via: Via,
    pub from: String,
    pub from_tag: Option<String>,
    pub to: String,
    pub to_tag: Option<String>,
    pub call_id: String,
    pub cseq: u32,
    pub headers: Headers,
    pub body: Option<Body>,
    pub source: Source,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub status: u16,
    pub reason: String,
    pub branch: Option<u64>,
    pub is_cancel: bool,
    pub to: String,
    pub to_tag: Option<String>,
    pub headers: Headers,
    pub body: Option<Body>,
    pub source: Source,
}

impl Request {
    /// `None` where a header that everything hangs on is missing or broken.
    pub fn read(request: sipx_sip::Request, source: Source) -> Option<Request> {
        let headers = &request.headers;
        let from = text(headers, &HeaderName::From)?;
        let to = text(headers, &HeaderName::To)?;
        Some(Request {
            via: headers.typed::<Via>()?.ok()?,
            from_tag: tag(&from)?,
            to_tag: tag(&to)?,
            call_id: text(headers, &HeaderName::CallId)?,
            cseq: headers.typed::<sipx_sip::CSeq>()?.ok()?.sequence,
            body: body(headers, request.body()),
            from,
            to,
            method: request.method,
            uri: request.uri,
            headers: request.headers,
            source,
        })
    }
}

impl Response {
    /// `None` where a header that everything hangs on is missing or broken.
    pub fn read(response: sipx_sip::Response, source: Source) -> Option<Response> {
        let headers = &response.headers;
        let via = headers.typed::<Via>()?.ok()?;
        let cseq = headers.typed::<sipx_sip::CSeq>()?.ok()?;
        let to = text(headers, &HeaderName::To)?;
        Some(Response {
            status: response.status.code(),
            reason: String::from_utf8_lossy(&response.reason).into_owned(),
            branch: via.branch().and_then(parse_branch),
            is_cancel: cseq.method == Method::Cancel,
            to_tag: tag(&to)?,
            to,
            body: body(headers, response.body()),
            headers: response.headers,
            source,
        })
    }
}

/// Our branches are random numbers: the number itself is the transaction's key, so a peer that
/// rewrites the rest of our Via still matches.
pub(crate) fn branch(number: u64) -> String {
    format!("z9hG4bK{number:016x}")
}

pub(crate) fn parse_branch(branch: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(branch).ok()?.strip_prefix("z9hG4bK")?;
    if digits.len() != 16 {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

/// The value of a header as text, unfolded; invalid UTF-8 is replaced.
pub(crate) fn text(headers: &Headers, name: &HeaderName) -> Option<String> {
    headers.value(name).map(|value| trimmed(&value))
}

/// All values of a header, one per line of the message.
pub(crate) fn texts(headers: &Headers, name: &HeaderName) -> Vec<String> {
    headers.get_all(name).map(|header| trimmed(&header.value())).collect()
}

/// Whether `token` stands in a comma-separated header such as Require.
pub(crate) fn lists(headers: &Headers, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).any(|header| {
        let value = trimmed(&header.value());
        value.split(',').any(|item| item.trim().eq_ignore_ascii_case(token))
    })
}

pub(crate) fn typed<H: TypedHeader>(headers: &Headers) -> Option<H> {
    headers.typed::<H>()?.ok()
}

/// Header values that may hold several, split at the commas between them.
pub(crate) fn split_values(values: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    for value in values {
        let mut start = 0;
        let (mut quoted, mut angle, mut escaped) = (false, false, false);
        for (at, byte) in value.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'<' if !quoted => angle = true,
                b'>' if !quoted => angle = false,
                b',' if !quoted && !angle => {
                    out.push(value[start..at].trim().to_owned());
                    start = at + 1;
                }
                _ => {}
            }
        }
        out.push(value[start..].trim().to_owned());
    }
    out.retain(|value| !value.is_empty());
    out
}

/// The URI inside a name-addr or addr-spec, as it is written.
pub(crate) fn uri_of(value: &str) -> Option<String> {
    let parsed = sipx_sip::Address::parse(value.as_bytes(), "address").ok()?;
    Some(String::from_utf8_lossy(&parsed.uri.to_bytes()).into_owned())
}

/// Q.850 cause from Reason headers (RFC 3326): `Q.850;cause=16;text="…"`.
pub(crate) fn q850(headers: &Headers) -> Option<u16> {
    let values = split_values(&texts(headers, &HeaderName::Reason));
    values.iter().find_map(|value| q850_of(value))
}

fn q850_of(value: &str) -> Option<u16> {
    let mut parts = value.split(';');
    if !parts.next()?.trim().eq_ignore_ascii_case("Q.850") {
        return None;
    }
    parts.find_map(|part| {
        let (name, cause) = part.split_once('=')?;
        let is_cause = name.trim().eq_ignore_ascii_case("cause");
        is_cause.then(|| cause.trim().parse().ok()).flatten()
    })
}

/// Seconds of Retry-After, without comment and parameters.
pub(crate) fn retry_after(headers: &Headers) -> Option<u32> {
    let value = text(headers, &HeaderName::RetryAfter)?;
    let digits = value.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Where a redirection leads, by falling `q` (1 where it is missing, RFC 3261 §20.10), in the order
/// of the message where that is the same. Contacts that are no SIP or tel address are left out.
pub(crate) fn contacts(headers: &Headers) -> Vec<Uri> {
    let values = split_values(&texts(headers, &HeaderName::Contact));
    let mut found: Vec<(u16, Uri)> = values
        .iter()
        .filter_map(|value| {
            let address = sipx_sip::Address::parse(value.as_bytes(), "contact").ok()?;
            Some((preference(value), Uri::from_parsed(&address.uri).ok()?))
        })
        .collect();
    found.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
    found.into_iter().take(MAX_CONTACTS).map(|(_, uri)| uri).collect()
}

/// Contacts of a redirection that are reported.
const MAX_CONTACTS: usize = 8;

/// The `q` parameter of a Contact in thousandths.
pub(crate) fn preference(contact: &str) -> u16 {
    let params = contact.rsplit_once('>').map_or(contact, |(_, params)| params);
    let q = params.split(';').find_map(|param| {
        let (name, value) = param.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().ok())?
    });
    q.map_or(1000, |q| (q.clamp(0.0, 1.0) * 1000.0) as u16)
}

/// Every header except credentials, for callers that want to look at one.
pub(crate) fn plain_headers(headers: &Headers) -> Vec<(String, String)> {
    let secret = |name: &HeaderName| {
        matches!(name, HeaderName::Authorization | HeaderName::ProxyAuthorization)
    };
    headers
        .iter()
        .filter(|header| !secret(header.name()))
        .map(|header| (header.name().to_string(), trimmed(&header.value())))
        .collect()
}

/// Outer `None`: not an address. Inner: whether it has a tag.
pub(crate) fn tag(value: &str) -> Option<Option<String>> {
    let address = sipx_sip::Address::parse(value.as_bytes(), "address").ok()?;
    let tag = address.tag();
    Some(tag.map(|tag| String::from_utf8_lossy(tag).into_owned()))
}

fn body(headers: &Headers, bytes: &Bytes) -> Option<Body> {
    (!bytes.is_empty()).then(|| Body {
        content_type: text(headers, &HeaderName::ContentType)
            .unwrap_or_else(|| "application/octet-stream".to_owned()),
        bytes: bytes.clone(),
    })
}

pub(crate) fn trimmed(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_q850_cause() {
        assert_eq!(q850_of("Q.850;cause=17;text=\"busy\""), Some(17));
        assert_eq!(q850_of("q.850 ; text=x ; cause = 31"), Some(31));
        assert_eq!(q850_of("SIP;cause=200"), None);
        assert_eq!(q850_of("Q.850;cause=99999999"), None);
    }

    #[test]
    fn splits_at_commas_between_values_only() {
        let values = ["\"a,\\\"b\" <sip:x@h;p=1,2>;q=1, <sip:y@h>".to_owned()];
        assert_eq!(split_values(&values), ["\"a,\\\"b\" <sip:x@h;p=1,2>;q=1", "<sip:y@h>"]);
    }

    proptest! {
        #[test]
        fn header_value_parsers_never_panic(value in ".*") {
            let _ = q850_of(&value);
            let _ = split_values(std::slice::from_ref(&value));
            let _ = uri_of(&value);
            let _ = tag(&value);
        }

        #[test]
        fn branches_read_back(number: u64) {
            prop_assert_eq!(parse_branch(branch(number).as_bytes()), Some(number));
        }
    }
}
