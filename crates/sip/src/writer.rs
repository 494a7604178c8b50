//! Messages that we write: a start line, headers in order, a body.

use bytes::Bytes;

use crate::Body;

/// What we understand, in every dialog.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK";

#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub fn request(method: &str, uri: &str) -> Writer {
        let mut out = Vec::with_capacity(1024);
        for part in [method, " ", uri, " SIP/2.0\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        Writer(out)
    }

    pub fn response(status: u16, reason: &str) -> Writer {
        let mut out = Vec::with_capacity(1024);
        let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
        out.extend_from_slice(format!("SIP/2.0 {status} {reason}\r\n").as_bytes());
        Writer(out)
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Writer {
        self.push(name, value.as_ref());
        self
    }

    pub fn headers(mut self, headers: &[(String, String)]) -> Writer {
        for (name, value) in headers {
            self.push(name, value.as_bytes());
        }
        self
    }

    pub fn maybe(self, name: &str, value: Option<impl AsRef<[u8]>>) -> Writer {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// Header lines that are written already.
    pub fn raw(mut self, lines: &[u8]) -> Writer {
        self.0.extend_from_slice(lines);
        self
    }

    pub fn finish(self, body: Option<&Body>) -> Bytes {
        let writer = match body {
            None => self.header("Content-Length", "0"),
            Some(body) => self
                .header("Content-Type", &body.content_type)
                .header("Content-Length", body.bytes.len().to_string()),
        };
        let mut out = writer.0;
        out.extend_from_slice(b"\r\n");
        if let Some(body) = body {
            out.extend_from_slice(&body.bytes);
        }
        out.into()
    }

    fn push(&mut self, name: &str, value: &[u8]) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
    }
}

/// Whether a header of the caller's may be written: a token for a name, no line break in the
/// value, and none that this crate writes itself.
pub(crate) fn check_headers(headers: &[(String, String)]) -> Result<(), String> {
    const OURS: [&str; 14] = [
        "via",
        "v",
        "from",
        "f",
        "to",
        "t",
        "call-id",
        "i",
        "cseq",
        "contact",
        "m",
        "content-length",
        "l",
        "max-forwards",
    ];
    for (name, value) in headers {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(format!("{name:?} is not a header name"));
        }
        if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
            return Err(format!("the header {name} is written by the SIP core itself"));
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(format!("the header {name} contains a control character"));
        }
    }
    Ok(())
}

/// The usual phrase of a status (RFC 3261 §21 and later).
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        302 => "Moved Temporarily",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        415 => "Unsupported Media Type",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        101..=199 => "Progress",
        201..=299 => "OK",
        300..=399 => "Redirection",
        402..=499 => "Request Failure",
        502..=599 => "Server Failure",
        _ => "Global Failure",
    }
}
