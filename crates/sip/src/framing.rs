//! Messages cut out of a byte stream (RFC 3261 §18.3, RFC 5626 §4.4.1).
//!
//! Ours because a framer has to hand out the messages that came before garbage, and because what
//! is not SIP should cost the peer its connection at the first line.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// Why a stream cannot be read any further: there is no telling where the next message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    #[error("the peer sent a message longer than {0} bytes")]
    TooLong(usize),
    #[error("the peer ends lines with LF alone")]
    BareLineFeed,
    #[error("the peer sent something that is not SIP")]
    NotSip,
    #[error("the peer sent a message without one readable Content-Length")]
    ContentLength,
}

/// What a stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    Message(Bytes),
    /// CRLFCRLF between messages: to be answered by CRLF.
    Ping,
}

/// Cuts a stream into messages; holds at most one that is not complete.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    limit: usize,
    /// Up to here there is no end of the headers.
    scanned: usize,
    /// Length of the headers, once their end is there.
    head: Option<usize>,
    blank_lines: usize,
    failed: Option<FrameError>,
}

impl Framer {
    /// `limit` is the longest message in bytes.
    pub fn new(limit: usize) -> Framer {
        Framer {
            buffer: BytesMut::new(),
            limit,
            scanned: 0,
            head: None,
            blank_lines: 0,
            failed: None,
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next message or ping; `None` when more bytes are needed. After an error there is
    /// nothing but that error.
    pub fn pop(&mut self) -> Result<Option<Framed>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let popped = self.advance();
        self.failed = popped.as_ref().err().copied();
        popped
    }

    /// Whether a message has begun and not ended.
    pub fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn advance(&mut self) -> Result<Option<Framed>, FrameError> {
        while self.buffer.starts_with(b"\r\n") {
            self.buffer.advance(2);
            self.blank_lines += 1;
            if self.blank_lines == 2 {
                self.blank_lines = 0;
                return Ok(Some(Framed::Ping));
            }
        }
        if self.buffer.is_empty() || self.buffer[..] == *b"\r" {
            return Ok(None);
        }
        self.blank_lines = 0;
        let Some(head) = self.find_head()? else {
            return Ok(None);
        };
        let body = content_length(&self.buffer[..head])?;
        let total = head.saturating_add(body);
        if total > self.limit {
            return Err(FrameError::TooLong(self.limit));
        }
        if self.buffer.len() < total {
            return Ok(None);
        }
        self.scanned = 0;
        self.head = None;
        let message = self.buffer.split_to(total).freeze();
        Ok(Some(Framed::Message(message)))
    }

    /// The length of the headers with their empty line, once that is there.
    fn find_head(&mut self) -> Result<Option<usize>, FrameError> {
        if self.head.is_some() {
            return Ok(self.head);
        }
        let from = self.scanned.saturating_sub(3);
        let found = self.buffer[from..]
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map(|at| from + at + 4);
        let end = found.unwrap_or(self.buffer.len());
        check_lines(&self.buffer[..end], self.scanned)?;
        self.scanned = end;
        self.head = found;
        if found.is_none() && self.buffer.len() > self.limit {
            return Err(FrameError::TooLong(self.limit));
        }
        Ok(found)
    }
}

/// Refuses what cannot become SIP as soon as it shows.
fn check_lines(head: &[u8], scanned: usize) -> Result<(), FrameError> {
    for at in scanned.saturating_sub(1)..head.len() {
        if head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r') {
            return Err(FrameError::BareLineFeed);
        }
    }
    let line_end = head.windows(2).position(|window| window == b"\r\n");
    let line = &head[..line_end.unwrap_or(head.len())];
    let is_sip = match line_end {
        Some(_) => line.windows(4).any(|window| window.eq_ignore_ascii_case(b"SIP/")),
        None => line.len() <= MAX_START_LINE,
    };
    let is_text = line.iter().all(|byte| *byte >= b' ' || matches!(byte, b'\t' | b'\r'));
    if is_sip && is_text { Ok(()) } else { Err(FrameError::NotSip) }
}

const MAX_START_LINE: usize = 8 * 1024;

fn content_length(head: &[u8]) -> Result<usize, FrameError> {
    let mut found = None;
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = line[..colon].trim_ascii();
        if !name.eq_ignore_ascii_case(b"content-length") && !name.eq_ignore_ascii_case(b"l") {
            continue;
        }
        let length = std::str::from_utf8(line[colon + 1..].trim_ascii())
            .ok()
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse::<usize>().ok())
            .ok_or(FrameError::ContentLength)?;
        if found.is_some_and(|other| other != length) {
            return Err(FrameError::ContentLength);
        }
        found = Some(length);
    }
    found.ok_or(FrameError::ContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: &str = "OPTIONS sip:a SIP/2.0\r\nl: 2\r\n\r\nhi";

    fn all(framer: &mut Framer) -> (Vec<Framed>, Option<FrameError>) {
        let mut out = Vec::new();
        loop {
            match framer.pop() {
                Ok(Some(framed)) => out.push(framed),
                Ok(None) => return (out, None),
                Err(error) => return (out, Some(error)),
            }
        }
    }

    fn check(input: &[u8], messages: usize, error: Option<FrameError>) {
        let mut framer = Framer::new(1000);
        framer.push(input);
        let (out, failed) = all(&mut framer);
        assert_eq!((out.len(), failed), (messages, error));
    }

    #[test]
    fn messages_before_garbage_are_kept() {
        let input = format!("{ONE}{ONE}\u{1}\u{2}garbage\r\n");
        check(input.as_bytes(), 2, Some(FrameError::NotSip));
        check(format!("{ONE}GET / HTTP/1.1\r\n").as_bytes(), 1, Some(FrameError::NotSip));
    }

    #[test]
    fn refuses_what_has_no_end() {
        check(b"OPTIONS sip:a SIP/2.0\nl: 0\n\n", 0, Some(FrameError::BareLineFeed));
        check(b"OPTIONS sip:a SIP/2.0\r\n\r\n", 0, Some(FrameError::ContentLength));
        check(b"A sip:a SIP/2.0\r\nl: -1\r\n\r\n", 0, Some(FrameError::ContentLength));
        check(
            b"A sip:a SIP/2.0\r\nl: 1\r\nContent-Length: 2\r\n\r\n",
            0,
            Some(FrameError::ContentLength),
        );
        check(b"A sip:a SIP/2.0\r\nl: 5000\r\n\r\n", 0, Some(FrameError::TooLong(1000)));
        check(&[b'A'; 1001], 0, Some(FrameError::TooLong(1000)));
    }

    #[test]
    fn two_line_breaks_are_a_ping_and_one_is_nothing() {
        let mut framer = Framer::new(1000);
        framer.push(b"\r\n");
        assert_eq!(framer.pop(), Ok(None));
        framer.push(b"\r\n");
        assert_eq!(framer.pop(), Ok(Some(Framed::Ping)));
        framer.push(b"\r\n");
        framer.push(ONE.as_bytes());
        assert_eq!(all(&mut framer).0, [Framed::Message(ONE.into())]);
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(count in 1usize..4, cuts in prop::collection::vec(1usize..20, 0..40)) {
            let input = ONE.repeat(count);
            let mut framer = Framer::new(1000);
            let mut out = Vec::new();
            let mut rest = input.as_bytes();
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                framer.push(head);
                out.extend(all(&mut framer).0);
                rest = tail;
            }
            framer.push(rest);
            out.extend(all(&mut framer).0);
            prop_assert_eq!(out, vec![Framed::Message(ONE.into()); count]);
            prop_assert!(!framer.is_partial());
        }

        #[test]
        fn any_bytes_end_in_messages_or_an_error(input: Vec<u8>) {
            let mut framer = Framer::new(200);
            framer.push(&input);
            let _ = all(&mut framer);
        }
    }
}
