//! What the tests talk to: a receiver that answers with any bytes, and a DNS server that answers with a list.
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
};

/// What a receiver does with each request.
#[derive(Clone)]
pub enum Manners {
    /// Writes this and waits for the next request.
    Reply(Vec<u8>),
    /// Writes this and closes.
    ReplyAndClose(Vec<u8>),
    /// Writes this and never goes on, nor closes.
    ReplyAndHang(Vec<u8>),
    /// Writes the first, and then the second for ever.
    Flood(Vec<u8>, Vec<u8>),
}

pub fn reply(status: &str, headers: &str, body: &str) -> Manners {
    Manners::Reply(
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
            .into(),
    )
}

/// A receiver on all loopback addresses of a port.
pub struct Receiver {
    pub port: u16,
    /// Each request, with the address that it was sent to.
    pub requests: mpsc::Receiver<(SocketAddr, String)>,
    pub connections: Arc<AtomicUsize>,
}

impl Receiver {
    pub async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (told, requests) = mpsc::channel(64);
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, manners.clone(), told.clone()));
            }
        });
        Self { port, requests, connections }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(stream: TcpStream, manners: Manners, told: mpsc::Sender<(SocketAddr, String)>) {
    let local = stream.local_addr().unwrap();
    behave(stream, local, manners, told).await;
}

/// Any stream, so that it also stands behind TLS.
pub async fn behave(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    local: SocketAddr,
    manners: Manners,
    told: mpsc::Sender<(SocketAddr, String)>,
) {
    while let Some(request) = read_request(&mut stream).await {
        let _test_is_over = told.try_send((local, request));
        // The client may have left, which is its right.
        let written = match &manners {
            Manners::Reply(bytes) => stream.write_all(bytes).await,
            Manners::ReplyAndClose(bytes) => {
                let _gone = stream.write_all(bytes).await;
                return;
            }
            Manners::ReplyAndHang(bytes) => {
                let _gone = stream.write_all(bytes).await;
                std::future::pending().await
            }
            Manners::Flood(start, more) => {
                let mut written = stream.write_all(start).await;
                while written.is_ok() {
                    written = stream.write_all(more).await;
                }
                written
            }
        };
        if written.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap()
                .parse::<usize>();
            if body.len() >= length.unwrap() {
                return Some(text);
            }
        }
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

type Answers = HashMap<&'static str, Vec<Vec<IpAddr>>>;

/// Answers each name with its lists of addresses in turn, the last one for ever; TTL 0.
pub struct DnsServer {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl DnsServer {
    pub async fn start(names: &[(&'static str, &[&[&str]])]) -> Self {
        let parse = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        let answers: Answers =
            names.iter().map(|(name, lists)| (*name, lists.iter().map(parse).collect())).collect();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut packet = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
                let answer = answer(&packet[..length], &answers, &log);
                socket.send_to(&answer, peer).await.unwrap();
            }
        });
        Self { address, asked }
    }

    /// The names asked for by A queries, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(query: &[u8], names: &Answers, asked: &Mutex<Vec<String>>) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    let name = labels.join(".");
    let question = &query[12..at + 5];
    let wants_v6 = query[at + 2] == 28;
    let mut asked = asked.lock().unwrap();
    let before = asked.iter().filter(|earlier| **earlier == name).count();
    // A and AAAA of one lookup come together, A first or second: the turn is counted by A, so AAAA never advances it.
    if !wants_v6 {
        asked.push(name.clone());
    }
    let lists = names.get(name.as_str());
    let turn = if wants_v6 { before.saturating_sub(1) } else { before };
    let list = lists.map(|lists| lists[turn.min(lists.len() - 1)].as_slice()).unwrap_or_default();
    let records: Vec<Vec<u8>> = list
        .iter()
        .filter(|ip| ip.is_ipv6() == wants_v6)
        .map(|ip| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        })
        .collect();
    let rcode = if lists.is_some() { 0 } else { 3 };
    let mut packet = vec![query[0], query[1], 0x84 | query[2] & 1, 0x80 | rcode];
    packet.extend([0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    packet.extend(question);
    for record in records {
        packet.extend([
            0xc0,
            12,
            0,
            if wants_v6 { 28 } else { 1 },
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            record.len() as u8,
        ]);
        packet.extend(record);
    }
    packet
}
