//! Requests for calls, asked as cheaply as it can be: prepared bytes over kept connections, so
//! that the far end's core goes to phones.
//!
//! The loop is open: each request leaves at its own time, whatever became of the earlier ones, over
//! a connection of its own where all others wait. A server that stalls is seen to stall.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sim::Moment;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::far_end::{APP_KEY, FarEnd};
use crate::serve::ServeError;

/// A reply that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a reply that are read; the longest of this interface is far shorter.
const REPLY: usize = 8 * 1024;

/// createVoiceNotification v2.
pub const NOTIFY: &str = "/apiaccess/rest/voiceNotification/v2/createVoiceNotification";
/// createCall v3 of the bidirectional call.
pub const CREATE_CALL: &str = "/apiaccess/CC-Management/v3/mobileAgent/createCall";

#[derive(Clone)]
pub struct Requests {
    address: SocketAddr,
    bytes: Arc<[u8]>,
    idle: Arc<Mutex<Vec<TcpStream>>>,
}

/// A request and what came back.
pub struct Asked {
    /// Just before its first byte left.
    pub sent_at: Moment,
    pub took: Duration,
    pub answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// With its serial number.
    Accepted(String),
    /// Code 3 and `Retry-After`: the documented refusal of a server that has too much to do.
    Refused,
    /// Anything else: status and body, or why there is none.
    Other(String),
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Requests {
    /// Of a body, with a token that the server has just issued.
    pub async fn new(far_end: &FarEnd, path: &str, body: &str) -> Result<Requests, ServeError> {
        let issued = far_end.client.token_by_ak_sk(Some(3600)).await?;
        let issued: serde_json::Value = issued.ok()?.parse()?;
        let token = issued["AccessToken"].as_str().ok_or("no token was issued")?;
        let bytes = format!(
            "POST {path} HTTP/1.1\r\n\
             Host: {}\r\nAuthorization: Bearer {token}\r\nX-APP-Key: {APP_KEY}\r\n\
             Content-Type: application/json;charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
            far_end.http,
            body.len()
        );
        Ok(Requests {
            address: far_end.http.parse()?,
            bytes: bytes.into_bytes().into(),
            idle: Arc::default(),
        })
    }

    /// `count` requests, `rate` of them per second.
    pub async fn offer(&self, rate: f64, count: u32) -> Vec<Asked> {
        let began = tokio::time::Instant::now();
        let mut requests = JoinSet::new();
        for request in 0..count {
            let due = Duration::from_secs_f64(f64::from(request) / rate.max(0.1));
            tokio::time::sleep_until(began + due).await;
            let requesting = self.clone();
            requests.spawn(async move { requesting.ask().await });
        }
        requests.join_all().await
    }

    async fn ask(&self) -> Asked {
        let sent_at = Moment::now();
        let answer = match tokio::time::timeout(PATIENCE, self.exchange()).await {
            Ok(Ok(reply)) => reply.answer(),
            Ok(Err(error)) => Answer::Other(error.to_string()),
            Err(_) => Answer::Other(format!("no reply within {PATIENCE:?}")),
        };
        Asked { sent_at, took: Moment::now().since(sent_at), answer }
    }

    /// Over a kept connection; over a new one where the server has closed that one meanwhile.
    async fn exchange(&self) -> std::io::Result<Reply> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(stream) = kept
            && let Ok(reply) = self.exchange_over(stream).await
        {
            return Ok(reply);
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        self.exchange_over(stream).await
    }

    async fn exchange_over(&self, mut stream: TcpStream) -> std::io::Result<Reply> {
        stream.write_all(&self.bytes).await?;
        let mut read = Vec::with_capacity(1024);
        loop {
            if stream.read_buf(&mut read).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(reply) = Reply::parse(&read) {
                if !reply.head.contains("connection: close") {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
                }
                return Ok(reply);
            }
            if read.len() > REPLY {
                return Err(std::io::Error::other("the reply is too long"));
            }
        }
    }
}

impl Reply {
    /// `None` while it is not complete.
    fn parse(bytes: &[u8]) -> Option<Reply> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?;
        let length: usize = length.trim().parse().ok()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        (body.len() >= length).then(|| Reply { status, body: body[..length].to_owned(), head })
    }

    fn answer(self) -> Answer {
        let serial = self.body.split_once(r#""callSerialNo":""#).map(|(_, rest)| rest);
        if let Some((serial, _)) = serial.and_then(|rest| rest.split_once('"')) {
            return Answer::Accepted(serial.to_owned());
        }
        let retry_after = self.head.lines().any(|line| line.starts_with("retry-after:"));
        if self.status == 200 && self.body.contains(r#""retCode":"3""#) && retry_after {
            return Answer::Refused;
        }
        Answer::Other(format!("{} {}", self.status, self.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        for cut in 0..text.len() {
            assert!(Reply::parse(&text.as_bytes()[..cut]).is_none(), "whole at {cut}");
        }
        Reply::parse(text.as_bytes()).expect("it is whole").answer()
    }

    #[test]
    fn an_answer_is_accepted_or_the_documented_refusal_or_wrong() {
        let accepted = r#"{"retMsg":"ok","retCode":"0","result":{"callSerialNo":"17"}}"#;
        assert_eq!(answer("200 OK", "", accepted), Answer::Accepted("17".into()));
        let refused = r#"{"retMsg":"later","retCode":"3"}"#;
        assert_eq!(answer("200 OK", "Retry-After: 1\r\n", refused), Answer::Refused);
        assert!(matches!(answer("200 OK", "", refused), Answer::Other(_)), "no Retry-After");
        assert!(matches!(answer("500 No", "Retry-After: 1\r\n", refused), Answer::Other(_)));
    }
}
