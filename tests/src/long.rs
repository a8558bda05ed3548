//! Requests that outlast a switch of releases: a large body on its way, and a connection that was upgraded.

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
        Self { end, client: std::thread::spawn(move || send(address, &head, bytes, &told)) }
    }

    /// Sends the rest; answers with status and body.
    pub fn end(self) -> Result<(u16, String)> {
        let _ = self.end.send(()); // it may have failed already, and says so
        self.client.join().expect("a client does not panic")
    }
}

fn send(address: SocketAddr, head: &str, bytes: usize, told: &Receiver<()>) -> Result<(u16, String)> {
    let mut stream = connect(address)?;
    stream.get_mut().write_all(head.as_bytes()).context("send the head")?;
    let (piece, mut sent) = (vec![b'x'; PIECE], 0);
    let mut ends = false;
    while sent < bytes {
        // Somebody who never says so holds up nobody: the last quarter is sent in any case.
        if !ends && sent >= bytes / 2 && sent < bytes / 4 * 3 {
            ends = told.recv_timeout(PACE) != Err(RecvTimeoutError::Timeout);
        }
        let next = PIECE.min(bytes - sent);
        stream.get_mut().write_all(&piece[..next]).with_context(|| format!("send after {sent} bytes"))?;
        sent += next;
    }
    let (status, length) = answer(&mut stream)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).context("the answer was cut")?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
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
