//! The little HTTP that a scenario needs: one request per connection, over TCP or a Unix socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Status and body of an answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// Whether something accepts connections there.
pub fn connects(address: &str) -> Result<()> {
    let target: SocketAddr = address.parse().with_context(|| format!("`{address}` is no address"))?;
    TcpStream::connect_timeout(&target, Duration::from_secs(1)).map(drop).map_err(Into::into)
}

/// `GET http://address path`.
pub fn get(address: &str, path: &str, limit: Duration) -> Result<Answer> {
    get_of(address, address, path, limit)
}

/// The same, of a host by that name.
pub fn get_of(address: &str, name: &str, path: &str, limit: Duration) -> Result<Answer> {
    let target: SocketAddr = address.parse().with_context(|| format!("`{address}` is no address"))?;
    let stream = TcpStream::connect_timeout(&target, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    exchange(stream, "GET", name, path, "")
}

/// A request to an engine's socket, with a JSON body unless it is empty.
pub fn ask_socket(socket: &Path, method: &str, path: &str, body: &str) -> Result<Answer> {
    let stream = UnixStream::connect(socket).with_context(|| format!("no engine at {}", socket.display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    exchange(stream, method, "engine", path, body)
}

/// HTTP/1.0, so that the answer ends with the connection and is never chunked.
fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    host: &str,
    path: &str,
    body: &str,
) -> Result<Answer> {
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { bail!("the answer has no end of headers") };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Answer { status: status.context("the answer has no status")?, body: body.to_owned() })
}
