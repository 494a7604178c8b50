//! S-6 and S-8 against a running server, over real UDP: passwords, extensions and codes are guessed.
//!
//! Limits and their times are proved in virtual time (`crates/sip/tests/behaviour/guessing.rs`, the engine's `guesses`); here
//! it is shown that the server as it runs has them. `cargo xtask guesses` is the form in full size.

mod codes;
mod extensions;
mod passwords;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};

use crate::support::PATIENCE;

/// A peer at an address of loopback that nobody else in the test has.
struct Attacker {
    socket: UdpSocket,
    server: SocketAddr,
    sent: u64,
}

/// The messages of one exchange, by the Call-ID that is answered.
type Asked = (String, String);

/// After so long a datagram is taken as lost, and sent again.
const AGAIN: Duration = Duration::from_secs(2);
/// Requests that are out at a time; more would be lost in the kernel's buffer and not in the server.
const AT_A_TIME: usize = 32;

impl Attacker {
    fn at(ip: Ipv4Addr, server: SocketAddr) -> Attacker {
        let socket = UdpSocket::bind((ip, 0)).expect("an address of loopback");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time");
        Attacker { socket, server, sent: 0 }
    }

    /// Sends one request and waits for its final answer.
    fn ask(&mut self, request: Asked) -> String {
        self.ask_all(vec![request]).remove(0)
    }

    /// The final answers to all of them, in their order. What is not answered is sent again, as phones do.
    fn ask_all(&mut self, requests: Vec<Asked>) -> Vec<String> {
        let mut answers = Vec::with_capacity(requests.len());
        for some in requests.chunks(AT_A_TIME) {
            let mut got: BTreeMap<&str, String> = BTreeMap::new();
            let begun = Instant::now();
            let mut again_at = begun;
            while got.len() < some.len() {
                assert!(begun.elapsed() < PATIENCE, "the server does not answer");
                if Instant::now() >= again_at {
                    let open = some.iter().filter(|(call, _)| !got.contains_key(call.as_str()));
                    for (_, message) in open {
                        self.socket.send_to(message.as_bytes(), self.server).expect("sent");
                    }
                    again_at = Instant::now() + AGAIN;
                }
                let Some(answer) = self.hear() else { continue };
                let of = header(&answer, "Call-ID").to_owned();
                if status(&answer) >= 200
                    && let Some((call, _)) = some.iter().find(|(call, _)| *call == of)
                {
                    got.insert(call, answer);
                }
            }
            answers.extend(some.iter().filter_map(|(call, _)| got.remove(call.as_str())));
        }
        answers
    }

    fn hear(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// A request of its own transaction; `head` ends each of its lines.
    fn request(&mut self, method: &str, uri: &str, to: &str, head: &str) -> Asked {
        self.sent += 1;
        let (number, from) = (self.sent, self.socket.local_addr().expect("it is bound"));
        let call = format!("{number}-{}", from.to_string().replace(':', "-"));
        let message = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{call};rport\r\nMax-Forwards: 70\r\n\
             From: <{to}>;tag=f{number}\r\nTo: <{to}>\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n\
             Contact: <sip:x@{from}>\r\n{head}Content-Length: 0\r\n\r\n"
        );
        (call, message)
    }

    /// A REGISTER that asks for a challenge.
    fn plain(&mut self, user: &str) -> Asked {
        let server = self.server;
        self.request("REGISTER", &format!("sip:{server}"), &format!("sip:{user}@{server}"), "")
    }

    fn challenge(&mut self, user: &str) -> Challenge {
        let request = self.plain(user);
        let answer = self.ask(request);
        assert_eq!(status(&answer), 401, "{answer}");
        Challenge { realm: quoted(&answer, "realm"), nonce: quoted(&answer, "nonce"), count: 0 }
    }

    /// A REGISTER with a password, as RFC 7616 §3.4 has it, under SHA-256.
    fn login(&mut self, challenge: &mut Challenge, user: &str, password: &str) -> Asked {
        challenge.count += 1;
        let Challenge { realm, nonce, count } = challenge;
        let server = self.server;
        let uri = format!("sip:{server}");
        let ha1 = sha256(&format!("{user}:{realm}:{password}"));
        let ha2 = sha256(&format!("REGISTER:{uri}"));
        let response = sha256(&format!("{ha1}:{nonce}:{count:08x}:c:auth:{ha2}"));
        let head = format!(
            "Authorization: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             algorithm=SHA-256, qop=auth, nc={count:08x}, cnonce=\"c\", response=\"{response}\"\r\n"
        );
        self.request("REGISTER", &uri, &format!("sip:{user}@{server}"), &head)
    }

    fn invite(&mut self, number: &str) -> Asked {
        let uri = format!("sip:{number}@{}", self.server);
        self.request("INVITE", &uri, &uri, "")
    }

    /// The ACK of a refusal, so that it is not sent again.
    fn acknowledge(&self, invite: &Asked, refusal: &str) {
        let own = header(&invite.1, "To");
        let ack = invite.1.replace("INVITE ", "ACK ").replace(" INVITE", " ACK");
        let ack = ack.replace(&format!("To: {own}"), &format!("To: {}", header(refusal, "To")));
        self.socket.send_to(ack.as_bytes(), self.server).expect("sent");
    }
}

struct Challenge {
    realm: String,
    nonce: String,
    count: u32,
}

fn sha256(text: &str) -> String {
    use std::fmt::Write as _;
    digest(&SHA256, text.as_bytes()).as_ref().iter().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "{byte:02x}");
        all
    })
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let lines = message.split("\r\n").filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(of, _)| *of == name).map_or("", |(_, value)| value)
}

fn quoted(answer: &str, name: &str) -> String {
    let rest = answer.split_once(&format!("{name}=\"")).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// An answer without what is different in each: nonces, tags, and what is copied from the request.
fn shape(answer: &str) -> String {
    let varies = ["Via", "From", "To", "Call-ID", "CSeq"];
    let lines = answer
        .split("\r\n")
        .filter(|line| line.split_once(": ").is_none_or(|(name, _)| !varies.contains(&name)));
    let lines = lines.map(|line| match line.split_once("nonce=\"") {
        Some((before, rest)) => {
            format!("{before}{}", rest.split_once('"').map_or("", |(_, after)| after))
        }
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What blocks, beside the world of the test.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}
