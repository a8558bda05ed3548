//! Requests that outlast a switch of releases: a large body on its way, up or down, and a connection that was upgraded.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

const LIMIT: Duration = Duration::from_secs(30);
const PIECE: usize = 64 << 10;
/// Between two pieces while nobody has said that it may end.
const PACE: Duration = Duration::from_millis(100);

/// The hold-up of a body in its middle, until somebody says that it may end.
#[derive(Debug)]
struct Pace {
    told: Receiver<()>,
    ends: bool,
}

impl Pace {
    fn before_next(&mut self, done: usize, bytes: usize) {
        // Somebody who never says so holds up nobody: the last quarter passes in any case.
        if !self.ends && done >= bytes / 2 && done < bytes / 4 * 3 {
            self.ends = self.told.recv_timeout(PACE) != Err(RecvTimeoutError::Timeout);
        }
    }
}

/// A body on its way: most of it is sent at once, some of it piece by piece, the rest when somebody says so.
#[derive(Debug)]
pub struct Upload {
    end: Sender<()>,
    client: JoinHandle<Result<(u16, String)>>,
}

impl Upload {
    /// Begins to send `bytes` bytes for `name` to the ingress at `address`.
    pub fn begin(address: &str, name: &str, bytes: usize) -> Self {
        let (end, told) = channel();
        let address: SocketAddr = address.parse().expect("an address and a port");
        let head = format!("PUT /upload HTTP/1.1\r\nHost: {name}\r\nContent-Length: {bytes}\r\n\r\n");
        let pace = Pace { told, ends: false };
        Self { end, client: std::thread::spawn(move || send(address, &head, bytes, pace)) }
    }

    /// Sends the rest; answers with status and body.
    pub fn end(self) -> Result<(u16, String)> {
        let _ = self.end.send(()); // it may have failed already, and says so
        self.client.join().expect("a client does not panic")
    }
}

fn send(address: SocketAddr, head: &str, bytes: usize, mut pace: Pace) -> Result<(u16, String)> {
    let mut stream = connect(address)?;
    stream.get_mut().write_all(head.as_bytes()).context("send the head")?;
    let (piece, mut sent) = (vec![b'x'; PIECE], 0);
    while sent < bytes {
        pace.before_next(sent, bytes);
        let next = PIECE.min(bytes - sent);
        stream.get_mut().write_all(&piece[..next]).with_context(|| format!("send after {sent} bytes"))?;
        sent += next;
    }
    let (status, length) = answer(&mut stream)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).context("the answer was cut")?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// A body on its way to us: half of it is read at once, some of it piece by piece, the rest when somebody says so.
#[derive(Debug)]
pub struct Download {
    end: Sender<()>,
    client: JoinHandle<Result<()>>,
}

impl Download {
    /// Begins to read `bytes` bytes of `name` from the ingress at `address`.
    pub fn begin(address: &str, name: &str, bytes: usize) -> Self {
        let (end, told) = channel();
        let address: SocketAddr = address.parse().expect("an address and a port");
        let head = format!("GET /download?bytes={bytes} HTTP/1.1\r\nHost: {name}\r\n\r\n");
        let pace = Pace { told, ends: false };
        Self { end, client: std::thread::spawn(move || receive(address, &head, bytes, pace)) }
    }

    /// Reads the rest; fails unless every byte came as it was sent.
    pub fn end(self) -> Result<()> {
        let _ = self.end.send(()); // it may have failed already, and says so
        self.client.join().expect("a client does not panic")
    }
}

fn receive(address: SocketAddr, head: &str, bytes: usize, mut pace: Pace) -> Result<()> {
    let mut stream = connect(address)?;
    stream.get_mut().write_all(head.as_bytes()).context("send the request")?;
    let said = answer(&mut stream)?;
    ensure!(said == (200, bytes), "the answer has status and length {said:?}, not {bytes} bytes");
    let (mut piece, mut received) = (vec![0; PIECE], 0);
    while received < bytes {
        pace.before_next(received, bytes);
        let next = &mut piece[..PIECE.min(bytes - received)];
        stream.read_exact(next).with_context(|| format!("cut after {received} bytes"))?;
        // Each eight bytes say their own number.
        let numbers = (received as u64 / 8..).flat_map(u64::to_be_bytes);
        ensure!(numbers.zip(&*next).all(|(sent, came)| sent == *came), "other bytes came after {received}");
        received += next.len();
    }
    Ok(())
}

/// A connection that was upgraded, as for a WebSocket. Every line comes back.
#[derive(Debug)]
pub struct Tunnel(BufReader<TcpStream>);

impl Tunnel {
    /// Asks for an upgrade for `name` at the ingress at `address`.
    pub fn open(address: &str, name: &str) -> Result<Self> {
        let mut stream = connect(address.parse()?)?;
        let head = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
        stream.get_mut().write_all(head.as_bytes())?;
        let (status, _) = answer(&mut stream)?;
        ensure!(status == 101, "the answer to the upgrade is {status}");
        Ok(Self(stream))
    }

    /// Sends a line and reads it again.
    pub fn echo(&mut self) -> Result<()> {
        self.0.get_mut().write_all(b"still there\n").context("send a line")?;
        let mut line = String::new();
        self.0.read_line(&mut line).context("read a line")?;
        ensure!(line == "still there\n", "another line came back: `{line}`");
        Ok(())
    }
}

fn connect(address: SocketAddr) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&address, LIMIT).context("connect")?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(BufReader::new(stream))
}

/// Status and length of the body.
fn answer(stream: &mut BufReader<TcpStream>) -> Result<(u16, usize)> {
    let mut line = String::new();
    ensure!(stream.read_line(&mut line)? > 0, "the connection was closed without an answer");
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).context("no status")?;
    let mut length = 0;
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            bail!("the headers were cut");
        }
        match line.trim().to_ascii_lowercase().split_once(':') {
            None => return Ok((status, length)),
            Some(("content-length", value)) => length = value.trim().parse()?,
            Some(_) => {}
        }
    }
}
