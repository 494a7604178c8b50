//! T-20 over real TCP: each message of RFC 4475 and RFC 5118 in one piece and byte by byte gets the same answers.

use sip::*;
use sipx_testkit::{rfc4475, rfc5118};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::*;

/// What tells that everything before it has been answered.
const LAST: &str = "OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKlast\r\n\
     Max-Forwards: 70\r\nFrom: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:x@127.0.0.1>\r\n\
     Call-ID: the-last\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

/// Two of them: one that ends without its empty line makes one message of itself and what follows.
fn last() -> Vec<u8> {
    let first = LAST.replace("the-last", "before-it").replace("z9hG4bKlast", "z9hG4bKbefore");
    [first.as_bytes(), LAST.as_bytes()].concat()
}

/// First lines of all answers, and whether the connection lasted until the last.
async fn answers(to: std::net::SocketAddr, message: &[u8], piece: usize) -> (Vec<String>, bool) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut read, mut write) = stream.split();
    let writing = async {
        for piece in message.chunks(piece).chain([&last()[..]]) {
            // It may be closed in the middle: some of these are no messages.
            if write.write_all(piece).await.is_err() {
                break;
            }
        }
        if swallows_the_last(message) {
            // The server would wait for the rest: there is none.
            let _ = write.shutdown().await;
        }
    };
    let mut got = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = read.read(&mut buffer).await {
            got.extend_from_slice(&buffer[..length]);
            let text = String::from_utf8_lossy(&got);
            if text.contains("the-last") && text.ends_with("\r\n\r\n") {
                break;
            }
        }
    };
    let both = async { tokio::join!(writing, reading) };
    let both = timeout(LIMIT, both).await;
    assert!(
        both.is_ok(),
        "neither answered nor closed, by {piece}: {}\ngot {}",
        String::from_utf8_lossy(message),
        String::from_utf8_lossy(&got)
    );
    let text = String::from_utf8_lossy(&got);
    let lines = text.split("\r\n").filter(|line| line.starts_with("SIP/2.0 "));
    (lines.map(str::to_owned).collect(), text.contains("the-last"))
}

/// Whether the message says that it is longer than it is.
fn swallows_the_last(message: &[u8]) -> bool {
    let mut framer = Framer::new(65_535);
    framer.push(message);
    framer.push(&last());
    loop {
        match framer.pop() {
            Ok(Some(_)) => {}
            Ok(None) => return framer.is_partial(),
            Err(_) => return false,
        }
    }
}

#[tokio::test]
async fn each_message_of_the_rfcs_byte_by_byte() {
    let (mut a, mut b) =
        (Party::start(Limits::default()).await, Party::start(Limits::default()).await);
    let old = rfc4475::CASES.iter().map(|case| (case.name, case.bytes.to_vec()));
    let new = rfc5118::CASES.iter().map(|case| (case.name, case.wire().to_vec()));
    let mut answered = 0;
    for (name, message) in old.chain(new) {
        // Each on a server of its own: a second copy of a message would be a retransmission.
        let whole = Party::start(Limits::default()).await;
        let pieces = Party::start(Limits::default()).await;
        let expected = answers(whole.address(Transport::Tcp), &message, message.len()).await;
        let got = answers(pieces.address(Transport::Tcp), &message, 1).await;
        if expected.1 {
            assert_eq!(got, expected, "{name}");
        } else {
            // Whoever sends what cannot be framed may lose the answer to what came before it.
            let same = got.0.iter().zip(&expected.0).all(|(got, expected)| got == expected);
            assert!(!got.1 && same, "{name}: {got:?}, in one piece {expected:?}");
        }
        answered += usize::from(got.0.len() > 2);
        answers(b.address(Transport::Tcp), &message, 1).await;
    }
    assert!(answered >= 20, "{answered} messages were answered");
    while timeout(std::time::Duration::ZERO, b.event()).await.is_ok() {}
    call(&mut a, &mut b, Transport::Tcp).await;
}
