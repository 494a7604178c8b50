//! Responses: what is copied from the request, and where they go.

use std::net::{IpAddr, SocketAddr};

use sipx_sip::{HeaderName, Headers, Via};

use crate::{
    Destination,
    message::{Source, tag, trimmed},
    writer::{Writer, reason_phrase},
};

/// The beginning of every response to one request: what must be copied from it, and whither it goes.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    head: Vec<u8>,
    to: Vec<u8>,
    has_to_tag: bool,
    pub destination: Destination,
}

impl Reply {
    /// `None` where the request lacks what a response must repeat (RFC 3261 §8.2.6.2).
    pub fn to(headers: &Headers, source: Source) -> Option<Reply> {
        let via = headers.typed::<Via>()?.ok()?;
        let mut head = Vec::with_capacity(512);
        for (index, header) in headers.get_all(&HeaderName::Via).enumerate() {
            let value = header.value();
            head.extend_from_slice(b"Via: ");
            if index == 0 {
                head.extend(stamped(&value, &via, source.remote));
            } else {
                head.extend_from_slice(&value);
            }
            head.extend_from_slice(b"\r\n");
        }
        for (label, name) in [
            ("From: ", HeaderName::From),
            ("Call-ID: ", HeaderName::CallId),
            ("CSeq: ", HeaderName::CSeq),
        ] {
            head.extend_from_slice(label.as_bytes());
            head.extend_from_slice(&headers.value(&name)?);
            head.extend_from_slice(b"\r\n");
        }
        let to = headers.value(&HeaderName::To)?.into_owned();
        let has_to_tag = tag(&trimmed(&to)).is_none_or(|tag| tag.is_some());
        Some(Reply { head, to, has_to_tag, destination: reply_destination(&via, source) })
    }

    /// The copied headers: the same for each copy of a request.
    pub fn identity(&self) -> &[u8] {
        &self.head
    }

    /// A response with `local_tag` in To where the request had none.
    pub fn start(&self, status: u16, reason: Option<&str>, local_tag: &str) -> Writer {
        let mut to = self.to.clone();
        if !self.has_to_tag && status > 100 {
            to.extend_from_slice(b";tag=");
            to.extend_from_slice(local_tag.as_bytes());
        }
        Writer::response(status, reason.unwrap_or(reason_phrase(status)))
            .raw(&self.head)
            .header("To", to)
    }
}

/// Response routing (RFC 3261 §18.2.2, RFC 3581): over the same connection, or to the address that
/// the datagram came from, at the port it came from where rport asks so.
fn reply_destination(via: &Via, source: Source) -> Destination {
    let mut destination = source.destination();
    if !source.transport.is_reliable() && via.rport().is_none() {
        destination.addr = SocketAddr::new(source.remote.ip(), via.port.unwrap_or(5060));
    }
    destination
}

/// The topmost Via with `received` and the value of `rport`.
fn stamped(value: &[u8], via: &Via, remote: SocketAddr) -> Vec<u8> {
    let end = sipx_sip::headers::via::first_hop_end(value).min(value.len());
    let (first, others) = value.split_at(end);
    let mut out = Vec::with_capacity(value.len() + 48);
    for (index, part) in first.split(|byte| *byte == b';').enumerate() {
        let name = part.split(|byte| *byte == b'=').next().unwrap_or(part);
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case(b"rport") || name.eq_ignore_ascii_case(b"received") {
            continue;
        }
        if index > 0 {
            out.push(b';');
        }
        out.extend_from_slice(part);
    }
    let sent_by = via.host.to_string();
    let same: Option<IpAddr> = sent_by.trim_matches(['[', ']']).parse().ok();
    if via.rport().is_some() {
        out.extend_from_slice(format!(";rport={}", remote.port()).as_bytes());
    }
    if via.rport().is_some() || same != Some(remote.ip()) {
        out.extend_from_slice(format!(";received={}", remote.ip()).as_bytes());
    }
    out.extend_from_slice(others);
    out
}
