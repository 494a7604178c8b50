//! The bytes of an INVITE of ours: the first one, and the one with credentials.

use bytes::Bytes;

use crate::{
    Destination, Invite,
    stack::Stack,
    writer::{ALLOW, Writer, check_headers},
};

/// Builds the first INVITE; the error says what the caller gave that cannot be written.
pub(super) fn first(
    stack: &Stack,
    invite: &Invite,
    to: Destination,
    branch: u64,
) -> Result<Bytes, String> {
    check_headers(&invite.headers)?;
    check_word("Call-ID", &invite.call_id, b"-.!%*_+`'~()<>:\\\"/[]?{}@")?;
    check_word("From tag", &invite.from_tag, b"-.!%*_+`'~")?;
    if let Some(body) = &invite.body
        && body.content_type.chars().any(char::is_control)
    {
        return Err("the content type contains a control character".to_owned());
    }
    let supported = match invite.body {
        Some(_) => "timer, 100rel",
        // Without an offer a reliable provisional would bring one that only a PRACK could answer.
        None => "timer",
    };
    let session = invite.session_expires.map(|seconds| seconds.to_string());
    let writer = Writer::request("INVITE", &invite.request_uri.to_string())
        .header("Via", stack.via(to, branch))
        .header("Max-Forwards", "70")
        .header("From", format!("{};tag={}", invite.from, invite.from_tag))
        .header("To", invite.to.to_string())
        .header("Call-ID", &invite.call_id)
        .header("CSeq", "1 INVITE")
        .header("Contact", stack.contact(invite.from.user(), to))
        .header("Allow", ALLOW)
        .header("Supported", supported)
        .maybe("Session-Expires", session)
        .maybe("User-Agent", stack.config.user_agent.as_ref())
        .maybe("P-Asserted-Identity", invite.p_asserted_identity.as_ref().map(ToString::to_string))
        .headers(&invite.headers);
    Ok(writer.finish(invite.body.as_ref()))
}

/// The same INVITE as a new request (RFC 3261 §22.2, RFC 3263 §4.3): what differs from the one
/// before it. Credentials are never taken over.
pub(super) struct Again<'a> {
    pub via: String,
    pub cseq: u32,
    /// Where it leaves from another listener.
    pub contact: Option<String>,
    pub credentials: &'a [(String, String)],
    /// Session-Expires and Min-SE in seconds, after a 422.
    pub session: Option<(u32, u32)>,
}

impl Again<'_> {
    pub fn new(via: String, cseq: u32) -> Self {
        Again { via, cseq, contact: None, credentials: &[], session: None }
    }

    pub fn written(&self, invite: &[u8]) -> Bytes {
        let head_end = head_end(invite);
        let head = String::from_utf8_lossy(&invite[..head_end]);
        let mut out = Vec::with_capacity(invite.len() + 512);
        let mut put = |line: &str| {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        };
        for line in head.split("\r\n") {
            match (line.split(':').next().unwrap_or_default(), &self.contact) {
                ("Via", _) => put(&format!("Via: {}", self.via)),
                ("Contact", Some(contact)) => put(&format!("Contact: {contact}")),
                ("CSeq", _) => {
                    put(&format!("CSeq: {} INVITE", self.cseq));
                    for (name, value) in self.credentials {
                        put(&format!("{name}: {value}"));
                    }
                    if let Some((interval, min)) = self.session {
                        put(&format!("Session-Expires: {interval}"));
                        put(&format!("Min-SE: {min}"));
                    }
                }
                ("Authorization" | "Proxy-Authorization", _) => {}
                ("Session-Expires" | "Min-SE", _) if self.session.is_some() => {}
                _ => put(line),
            }
        }
        out.extend_from_slice(&invite[(head_end + 2).min(invite.len())..]);
        out.into()
    }
}

/// The start of the empty line that ends the headers.
fn head_end(message: &[u8]) -> usize {
    let end = message.windows(4).position(|window| window == b"\r\n\r\n");
    end.unwrap_or(message.len())
}

fn check_word(what: &str, value: &str, extra: &[u8]) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || extra.contains(&b);
    if value.is_empty() || !value.bytes().all(allowed) {
        return Err(format!("{what}: {value:?} cannot be written in a SIP message"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_replace_what_changes_and_keep_the_rest() {
        let invite = b"INVITE sip:x@h SIP/2.0\r\nVia: old\r\nCSeq: 1 INVITE\r\nAuthorization: a\r\nContent-Length: 2\r\n\r\nab";
        let login = [("Authorization".to_owned(), "b".to_owned())];
        let again = Again { credentials: &login, ..Again::new("new".to_owned(), 2) };
        assert_eq!(
            again.written(invite),
            "INVITE sip:x@h SIP/2.0\r\nVia: new\r\nCSeq: 2 INVITE\r\nAuthorization: b\r\nContent-Length: 2\r\n\r\nab"
        );
    }
}
