//! A small name server of the tests' own: real DNS over UDP, answers written byte by byte
//! (RFC 1035 §4), and the misbehaviour that a test asks for.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// One record: its type, its time to live in seconds and its data.
#[derive(Clone)]
pub struct Record {
    kind: u16,
    ttl: u32,
    data: Vec<u8>,
}

/// What a name server does with a question for a name.
#[derive(Clone)]
pub enum Answer {
    Records(Vec<Record>),
    /// Nothing at all.
    Silence,
    /// Bytes that are no DNS.
    Garbage,
    /// SERVFAIL.
    Failure,
}

/// The server; it stops when dropped. Names that it does not know do not exist.
pub struct Names {
    pub address: SocketAddr,
    zone: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<(String, u16)>>>,
    task: JoinHandle<()>,
}

impl Record {
    pub fn a(address: Ipv4Addr) -> Record {
        Record { kind: 1, ttl: 60, data: address.octets().to_vec() }
    }

    pub fn cname(target: &str) -> Record {
        Record { kind: 5, ttl: 60, data: name(target) }
    }

    pub fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Record {
        let numbers = [priority, weight, port].into_iter().flat_map(u16::to_be_bytes);
        Record { kind: 33, ttl: 60, data: numbers.chain(name(target)).collect() }
    }

    pub fn naptr(order: u16, preference: u16, flags: &str, service: &str, to: &str) -> Record {
        let mut data: Vec<u8> =
            [order, preference].into_iter().flat_map(u16::to_be_bytes).collect();
        for text in [flags, service, ""] {
            data.push(u8::try_from(text.len()).expect("a short text"));
            data.extend(text.as_bytes());
        }
        data.extend(name(to));
        Record { kind: 35, ttl: 60, data }
    }

    pub fn ttl(self, seconds: u32) -> Record {
        Record { ttl: seconds, ..self }
    }
}

impl Names {
    pub async fn start() -> Names {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let zone: Arc<Mutex<BTreeMap<String, Answer>>> = Arc::default();
        let asked: Arc<Mutex<Vec<(String, u16)>>> = Arc::default();
        let (known, seen) = (zone.clone(), asked.clone());
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let Some((domain, kind, end)) = question(&buffer[..length]) else { continue };
                seen.lock().expect("no panic").push((domain.clone(), kind));
                let reply = reply(&buffer[..end], &domain, kind, &known.lock().expect("no panic"));
                if let Some(reply) = reply {
                    let _ = socket.send_to(&reply, peer).await;
                }
            }
        });
        Names { address, zone, asked, task }
    }

    /// What is said of `domain` from now on.
    pub fn say(&self, domain: &str, answer: Answer) {
        self.zone.lock().expect("no panic").insert(domain.to_owned(), answer);
    }

    pub fn records(&self, domain: &str, records: impl Into<Vec<Record>>) {
        self.say(domain, Answer::Records(records.into()));
    }

    /// How often a record of this type was asked for.
    pub fn asked(&self, domain: &str, kind: u16) -> usize {
        let asked = self.asked.lock().expect("no panic");
        asked.iter().filter(|(name, of)| name == domain && *of == kind).count()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The name in lower case, the type, and where the question ends.
fn question(message: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8(message.get(at..at + length)?.to_ascii_lowercase()).ok()?);
        at += length;
    }
    let kind = u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), kind, at + 4))
}

fn reply(
    query: &[u8],
    domain: &str,
    kind: u16,
    zone: &BTreeMap<String, Answer>,
) -> Option<Vec<u8>> {
    let (code, answers) = match zone.get(domain) {
        None => (3, Vec::new()),
        Some(Answer::Silence) => return None,
        Some(Answer::Garbage) => return Some([&query[..2], b"\xff\xff no DNS at all"].concat()),
        Some(Answer::Failure) => (2, Vec::new()),
        Some(Answer::Records(_)) => (0, chain(domain, kind, zone)),
    };
    let count = u16::try_from(answers.len()).expect("a few").to_be_bytes();
    let mut out = query.to_vec();
    // A response, recursion available, the code, one question, the answers.
    out[2..12].copy_from_slice(&[0x85, 0x80 | code, 0, 1, count[0], count[1], 0, 0, 0, 0]);
    for (owner, record) in answers {
        out.extend(name(&owner));
        out.extend(record.kind.to_be_bytes());
        out.extend(1u16.to_be_bytes());
        out.extend(record.ttl.to_be_bytes());
        out.extend(u16::try_from(record.data.len()).expect("short data").to_be_bytes());
        out.extend(record.data);
    }
    Some(out)
}

/// The records of this type, behind the CNAMEs that lead to them; a loop of those has an end.
fn chain(domain: &str, kind: u16, zone: &BTreeMap<String, Answer>) -> Vec<(String, Record)> {
    let mut out = Vec::new();
    let mut owner = domain.to_owned();
    for _ in 0..20 {
        let Some(Answer::Records(records)) = zone.get(&owner) else { break };
        out.extend(records.iter().filter(|r| r.kind == kind).map(|r| (owner.clone(), r.clone())));
        let Some(cname) = records.iter().find(|record| record.kind == 5 && kind != 5) else {
            break;
        };
        out.push((owner.clone(), cname.clone()));
        let Some((target, ..)) = question(&[&[0; 12], &cname.data[..], &[0; 4]].concat()) else {
            break;
        };
        owner = target;
    }
    out
}

fn name(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).expect("a short label"));
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}
