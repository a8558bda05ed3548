//! A client of HTTP/2 that writes frames as bytes: those that no library would send, in the order of its test.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// One field of a head.
pub(crate) type Field<'a> = (&'a str, &'a str);

/// The head of a good request.
pub(crate) const GET: [Field<'static>; 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "web.example")];

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The last stream that a GOAWAY lets end.
    pub(crate) fn last_stream(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap()) & 0x7fff_ffff
    }

    /// Whether it begins a response with the status 200, which has an index of its own (RFC 7541, appendix A).
    pub(crate) fn is_ok(&self) -> bool {
        self.kind == HEADERS && self.payload.first() == Some(&0x88)
    }

    /// Whether it asks for a PING back.
    pub(crate) const fn is_ping(&self) -> bool {
        self.kind == PING && self.flags & ACK == 0
    }
}

pub(crate) struct Frames(TcpStream);

impl Frames {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut client = Self(stream);
        client.send(SETTINGS, 0, 0, &[]).await;
        client
    }

    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.0.write_all(&bytes).await.unwrap();
    }

    /// Sends a head, each field as it stands (RFC 7541, section 6.2.2, without Huffman's code).
    pub(crate) async fn ask(&mut self, stream: u32, fields: &[Field<'_>], flags: u8) {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                let length = u8::try_from(text.len()).unwrap();
                assert!(length < 127, "a length of one byte");
                block.push(length);
                block.extend(text.bytes());
            }
        }
        self.send(HEADERS, flags | END_HEADERS, stream, &block).await;
    }

    /// Answers a PING.
    pub(crate) async fn pong(&mut self, ping: &Frame) {
        self.send(PING, ACK, 0, &ping.payload).await;
    }

    /// The next frame; `None` at the end of the connection. Settings are acknowledged.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            let read = timeout(Duration::from_secs(20), self.read()).await;
            let frame = read.expect("a frame or the end comes within 20 s").ok()?;
            if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                self.send(SETTINGS, ACK, 0, &[]).await;
            }
            if frame.kind != SETTINGS {
                return Some(frame);
            }
        }
    }

    async fn read(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The frame that ends `stream` or begins its response; `None` if the connection ends or is ended instead.
    pub(crate) async fn fate(&mut self, stream: u32) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == GOAWAY {
                return None;
            }
            if frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM) {
                return Some(frame);
            }
        }
    }
}
