//! As much of a WebSocket client (RFC 6455) as a control interface on this machine wants: text messages of one frame,
//! pings answered.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The longest message that is read.
const LONGEST: u64 = 1024 * 1024;

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

#[derive(Debug, thiserror::Error)]
pub enum WebSocketError {
    #[error("the control connection: {0}")]
    Io(#[from] std::io::Error),
    #[error("the control interface does not open a WebSocket: {0}")]
    NotUpgraded(String),
    #[error("the control interface sent a frame that is not expected: its first byte is {0:#04x}")]
    Unexpected(u8),
    #[error("the control interface sent a message of {0} bytes")]
    TooLong(u64),
}

pub struct Reader {
    from: BufReader<OwnedReadHalf>,
}

pub struct Writer {
    to: OwnedWriteHalf,
}

/// What the far side sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Text(String),
    /// To be answered by [`Writer::pong`] with the same bytes.
    Ping(Vec<u8>),
    Closed,
}

/// `path` with its query.
pub async fn connect(to: SocketAddr, path: &str) -> Result<(Reader, Writer), WebSocketError> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (from, mut to_server) = stream.into_split();
    // Nobody in between could mistake it for anything else, so neither the key nor what is made of it matters.
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: b2ZmaG9vaywgYSBiZW5jaA==\r\n\r\n"
    );
    to_server.write_all(request.as_bytes()).await?;
    let mut from = BufReader::new(from);
    let mut status = String::new();
    from.read_line(&mut status).await?;
    if !status.starts_with("HTTP/1.1 101") {
        return Err(WebSocketError::NotUpgraded(status.trim().to_owned()));
    }
    let mut header = String::new();
    while from.read_line(&mut header).await? > 2 {
        header.clear();
    }
    Ok((Reader { from }, Writer { to: to_server }))
}

impl Reader {
    pub async fn next(&mut self) -> Result<Message, WebSocketError> {
        let first = match self.from.read_u8().await {
            Ok(first) => first,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Ok(Message::Closed);
            }
            Err(error) => return Err(error.into()),
        };
        let length = match self.from.read_u8().await? {
            126 => u64::from(self.from.read_u16().await?),
            127 => self.from.read_u64().await?,
            // A server masks nothing (section 5.1).
            masked @ 128.. => return Err(WebSocketError::Unexpected(masked)),
            length => u64::from(length),
        };
        if length > LONGEST {
            return Err(WebSocketError::TooLong(length));
        }
        let mut payload = vec![0; length as usize];
        self.from.read_exact(&mut payload).await?;
        match first {
            TEXT => Ok(Message::Text(String::from_utf8_lossy(&payload).into_owned())),
            PING => Ok(Message::Ping(payload)),
            CLOSE => Ok(Message::Closed),
            other => Err(WebSocketError::Unexpected(other)),
        }
    }
}

impl Writer {
    pub async fn text(&mut self, text: &str) -> Result<(), WebSocketError> {
        self.frame(TEXT, text.as_bytes()).await
    }

    pub async fn pong(&mut self, payload: &[u8]) -> Result<(), WebSocketError> {
        self.frame(PONG, payload).await
    }

    async fn frame(&mut self, first: u8, payload: &[u8]) -> Result<(), WebSocketError> {
        let mut frame = vec![first];
        match u16::try_from(payload.len()) {
            Ok(short @ ..126) => frame.push(0x80 | short as u8),
            Ok(long) => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&long.to_be_bytes());
            }
            Err(_) => return Err(WebSocketError::TooLong(payload.len() as u64)),
        }
        // The mask guards proxies, of which there are none: four zeros leave the payload as it is.
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        Ok(self.to.write_all(&frame).await?)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Bytes;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;

    /// A server of bare frames: what it answers to the request, then it repeats the first frame's payload unmasked.
    async fn server(status: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).await.expect("a request") > 2 {
                line.clear();
            }
            let reply = format!("HTTP/1.1 {status}\r\nUpgrade: websocket\r\n\r\n");
            stream.write_all(reply.as_bytes()).await.expect("it listens");
            stream.write_all(&[PING, 2, b'h', b'i']).await.expect("it listens");
            let mut head = [0; 8];
            stream.read_exact(&mut head).await.expect("a frame");
            assert_eq!(head[..4], [TEXT, 0x80 | 126, 0x01, 0x2C]);
            let mut payload = vec![0; 300];
            stream.read_exact(&mut payload).await.expect("its payload");
            stream.write_all(&[TEXT, 126, 0x01, 0x2C]).await.expect("it listens");
            stream.write_all(&payload).await.expect("it listens");
        });
        address
    }

    #[tokio::test]
    async fn a_text_goes_and_comes_back_and_a_ping_is_seen() {
        let address = server("101 Switching Protocols").await;
        let (mut reader, mut writer) = connect(address, "/").await.expect("it upgrades");
        let text = "x".repeat(300);
        writer.text(&text).await.expect("it goes");
        assert_eq!(reader.next().await.expect("a frame"), Message::Ping(b"hi".to_vec()));
        assert_eq!(reader.next().await.expect("a frame"), Message::Text(text));
        assert_eq!(reader.next().await.expect("the end"), Message::Closed);
    }

    #[tokio::test]
    async fn a_refusal_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("bound");
        let routes = Router::new().route("/", get(async || Bytes::from_static(b"no")));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let refused = connect(address, "/").await.map(drop);
        assert!(
            matches!(&refused, Err(WebSocketError::NotUpgraded(status)) if status == "HTTP/1.1 200 OK"),
            "{refused:?}"
        );
    }
}
