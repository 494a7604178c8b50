//! How rtpengine is controlled: the protocol "ng", a bencoded dictionary in a datagram, behind a cookie that the reply
//! repeats. A question that comes twice with one cookie is answered twice alike, so it may be asked again.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UdpSocket;

/// How long a reply may take before the question is asked again, and how often that is done.
const PATIENCE: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 5;
/// The longest datagram there is.
const LONGEST: usize = 65_535;
/// Lists in lists that are read; replies to what is asked here have four.
const DEPTH: u32 = 32;

#[derive(Debug, thiserror::Error)]
pub enum NgError {
    #[error("rtpengine's control socket: {0}")]
    Socket(#[from] std::io::Error),
    #[error("rtpengine did not answer `{0}` within five seconds; does it run?")]
    Silent(&'static str),
    #[error("rtpengine refused `{command}`: {why}")]
    Refused { command: &'static str, why: String },
    #[error("rtpengine's answer to `{0}` is not bencoded as its protocol says")]
    Malformed(&'static str),
}

/// A connection to the control port of one rtpengine.
pub struct Ng {
    socket: UdpSocket,
    asked: u64,
}

impl Ng {
    pub async fn connect(to: SocketAddr) -> Result<Ng, NgError> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(to).await?;
        Ok(Ng { socket, asked: 0 })
    }

    /// Whether it is there.
    pub async fn ping(&mut self) -> Result<(), NgError> {
        self.ask("ping", &[]).await.map(drop)
    }

    /// The caller's description, as the called party shall see it.
    pub async fn offer(&mut self, call: &str, sdp: &[u8]) -> Result<Bytes, NgError> {
        self.describe("offer", call, &[("from-tag", b"caller")], sdp).await
    }

    /// The called party's description, as the caller shall see it.
    pub async fn answer(&mut self, call: &str, sdp: &[u8]) -> Result<Bytes, NgError> {
        let tags: [(&str, &[u8]); 2] = [("from-tag", b"caller"), ("to-tag", b"called")];
        self.describe("answer", call, &tags, sdp).await
    }

    /// Ends a call and gives its ports back.
    pub async fn delete(&mut self, call: &str) -> Result<(), NgError> {
        // Without a pause of 30 s in which the ports would stay.
        self.ask("delete", &[("call-id", call.as_bytes()), ("delete-delay", b"0")]).await.map(drop)
    }

    async fn describe(
        &mut self,
        command: &'static str,
        call: &str,
        tags: &[(&str, &[u8])],
        sdp: &[u8],
    ) -> Result<Bytes, NgError> {
        let mut fields = vec![("call-id", call.as_bytes()), ("sdp", sdp), ("ICE", b"remove")];
        fields.extend(tags);
        match self.ask(command, &fields).await?.remove(b"sdp".as_slice()) {
            Some(Value::Bytes(sdp)) => Ok(sdp.into()),
            Some(Value::Integer(_) | Value::List(_) | Value::Dictionary(_)) | None => {
                Err(NgError::Malformed(command))
            }
        }
    }

    async fn ask(
        &mut self,
        command: &'static str,
        fields: &[(&str, &[u8])],
    ) -> Result<Dictionary, NgError> {
        self.asked += 1;
        let cookie = self.asked.to_string();
        let fields = [("command", command.as_bytes())].into_iter().chain(fields.iter().copied());
        let pair =
            |(name, value): (&str, &[u8])| (name.as_bytes().to_vec(), Value::Bytes(value.to_vec()));
        let mut question = format!("{cookie} ").into_bytes();
        Value::Dictionary(fields.map(pair).collect()).encode(&mut question);
        for _ in 0..ATTEMPTS {
            self.socket.send(&question).await?;
            let reply = tokio::time::timeout(PATIENCE, self.reply(cookie.as_bytes())).await;
            let Ok(reply) = reply else { continue };
            return judged(command, &reply?);
        }
        Err(NgError::Silent(command))
    }

    /// The next one that repeats the cookie, without it; those to earlier attempts are passed over.
    async fn reply(&self, cookie: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut buffer = vec![0; LONGEST];
        loop {
            let length = self.socket.recv(&mut buffer).await?;
            let reply = buffer[..length].strip_prefix(cookie);
            if let Some(reply) = reply.and_then(|rest| rest.strip_prefix(b" ")) {
                return Ok(reply.to_vec());
            }
        }
    }
}

fn judged(command: &'static str, reply: &[u8]) -> Result<Dictionary, NgError> {
    let Some(Value::Dictionary(reply)) = Value::parse(reply) else {
        return Err(NgError::Malformed(command));
    };
    let text = |name: &str| match reply.get(name.as_bytes()) {
        Some(Value::Bytes(text)) => Some(String::from_utf8_lossy(text).into_owned()),
        Some(Value::Integer(_) | Value::List(_) | Value::Dictionary(_)) | None => None,
    };
    match text("result").as_deref() {
        Some("ok" | "pong") => Ok(reply),
        Some(_) => Err(NgError::Refused { command, why: text("error-reason").unwrap_or_default() }),
        None => Err(NgError::Malformed(command)),
    }
}

type Dictionary = BTreeMap<Vec<u8>, Value>;

/// What bencoding knows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Integer(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Dictionary(Dictionary),
}

impl Value {
    fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Value::Integer(number) => to.extend_from_slice(format!("i{number}e").as_bytes()),
            Value::Bytes(bytes) => encode_bytes(bytes, to),
            Value::List(list) => {
                to.push(b'l');
                list.iter().for_each(|value| value.encode(to));
                to.push(b'e');
            }
            Value::Dictionary(dictionary) => {
                to.push(b'd');
                for (name, value) in dictionary {
                    encode_bytes(name, to);
                    value.encode(to);
                }
                to.push(b'e');
            }
        }
    }

    /// `None` where these are not the bytes of exactly one value.
    fn parse(mut bytes: &[u8]) -> Option<Value> {
        let value = parse_next(&mut bytes, DEPTH)?;
        bytes.is_empty().then_some(value)
    }
}

fn encode_bytes(bytes: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    to.extend_from_slice(bytes);
}

fn parse_next(rest: &mut &[u8], depth: u32) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    match *rest.first()? {
        b'i' => {
            *rest = &rest[1..];
            Some(Value::Integer(number(rest, b'e')?))
        }
        b'l' => {
            *rest = &rest[1..];
            let mut list = Vec::new();
            while !ended(rest) {
                list.push(parse_next(rest, depth)?);
            }
            Some(Value::List(list))
        }
        b'd' => {
            *rest = &rest[1..];
            let mut dictionary = Dictionary::new();
            while !ended(rest) {
                let name = parse_bytes(rest)?;
                dictionary.insert(name, parse_next(rest, depth)?);
            }
            Some(Value::Dictionary(dictionary))
        }
        _ => parse_bytes(rest).map(Value::Bytes),
    }
}

/// Whether a list or dictionary ends here; its end is taken.
fn ended(rest: &mut &[u8]) -> bool {
    let after = rest.strip_prefix(b"e");
    *rest = after.unwrap_or(rest);
    after.is_some()
}

fn parse_bytes(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(number(rest, b':')?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes.to_vec())
}

fn number(rest: &mut &[u8], end: u8) -> Option<i64> {
    let at = rest.iter().position(|byte| *byte == end)?;
    let number = std::str::from_utf8(&rest[..at]).ok()?.parse().ok()?;
    *rest = &rest[at + 1..];
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As rtpengine 10.5 writes it.
    const REPLY: &[u8] = b"d3:sdp5:v=0\r\n7:createdi1795284308e5:flagsl3:RTP6:fillede6:result2:oke";

    #[test]
    fn what_rtpengine_writes_is_read_and_written_alike() {
        let value = Value::parse(REPLY).expect("it is bencoded");
        let Value::Dictionary(reply) = &value else { panic!("a dictionary: {value:?}") };
        assert_eq!(reply[b"created".as_slice()], Value::Integer(1_795_284_308));
        let flags = [b"RTP".to_vec(), b"filled".to_vec()].map(Value::Bytes);
        assert_eq!(reply[b"flags".as_slice()], Value::List(flags.into()));
        let mut sorted = Vec::new();
        value.encode(&mut sorted);
        assert_eq!(Value::parse(&sorted), Some(value));
        assert_eq!(sorted.len(), REPLY.len());
    }

    #[test]
    fn what_is_cut_deep_or_followed_by_more_is_not_read() {
        for cut in 0..REPLY.len() {
            assert_eq!(Value::parse(&REPLY[..cut]), None, "{cut}");
        }
        assert_eq!(Value::parse(&[REPLY, b"e"].concat()), None);
        assert_eq!(Value::parse(&[b'l'; 5_000]), None);
        for wrong in ["-1:a", "9999999999999999999:a", "i1", "ie", "x", "di1ei2ee"] {
            assert_eq!(Value::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let refused = judged("answer", b"d6:result5:error12:error-reason15:Unknown call-ide");
        assert!(matches!(refused, Err(NgError::Refused { why, .. }) if why == "Unknown call-id"));
        assert!(judged("ping", b"d6:result4:ponge").is_ok());
        assert!(matches!(judged("ping", b"4:pong"), Err(NgError::Malformed("ping"))));
    }

    /// The first datagram is lost, the second answered, behind an answer to something else.
    #[tokio::test]
    async fn a_question_is_asked_again_with_its_cookie() {
        let engine = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
        let mut ng = Ng::connect(engine.local_addr().expect("bound")).await.expect("it connects");
        let answering = async {
            let mut buffer = [0; 2_048];
            let (first, _) = engine.recv_from(&mut buffer).await.expect("asked");
            let first = buffer[..first].to_vec();
            let (second, from) = engine.recv_from(&mut buffer).await.expect("asked again");
            assert_eq!(first, buffer[..second]);
            assert!(
                first.starts_with(b"1 d3:ICE6:remove7:call-id1:c7:command5:offer"),
                "{first:?}"
            );
            for reply in ["0 d6:result5:errore", "1 d6:result2:ok3:sdp3:v=0e"] {
                engine.send_to(reply.as_bytes(), from).await.expect("it is sent");
            }
        };
        let (sdp, ()) = tokio::join!(ng.offer("c", b"v=0"), answering);
        assert_eq!(sdp.expect("an answer"), "v=0");
    }
}
