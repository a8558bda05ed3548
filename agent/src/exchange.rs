//! One request over a connection of its own, and the connection: what probes, smoke tests and checks of the host have in common.

mod secure;
mod status;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use windlass_certs::tls::lookup;
use windlass_core::release::{Answer, Tls};

use crate::runtime::reached_at;

pub(crate) use status::status;

/// Bytes that are held of an answer's head at once.
const BUFFER: usize = 64 * 1024;

/// A connection to a name or an address. Names are looked up aside, within a deadline.
pub(crate) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let found = match host.parse::<IpAddr>() {
        Ok(address) => vec![(address, port).into()],
        Err(_) => lookup(&format!("{host}:{port}")).await?,
    };
    TcpStream::connect(found.as_slice()).await
}

/// A connection to a port that an instance of this host has published.
pub(crate) async fn connect_own(address: &str, port: u16) -> io::Result<TcpStream> {
    connect(reached_at(address), port).await
}

/// A request to somebody, as it is sent.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    /// Name or address.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// It is an instance of this host, and `host` the address under which others reach the host.
    pub(crate) own: bool,
    /// Its name in the request, if no header gives one.
    pub(crate) authority: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) body: &'a str,
    pub(crate) tls: Option<&'a Tls>,
    /// Bytes of the answer's body that are read.
    pub(crate) most: usize,
}

/// The name of a host in a request: an address of IPv6 stands in brackets.
pub(crate) fn authority(host: &str) -> Cow<'_, str> {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => Cow::Owned(format!("[{address}]")),
        Err(_) => Cow::Borrowed(host),
    }
}

/// Asks over a connection of its own. A failure comes in words, with whether it means that no process listens there.
pub(crate) async fn ask(ask: &Ask<'_>) -> Result<Answer, (String, bool)> {
    let named = |name: &str| ask.headers.keys().any(|known| known.eq_ignore_ascii_case(name));
    let mut message = hyper::Request::builder().method(ask.method).uri(ask.path);
    let authority = authority(ask.authority);
    for (name, value) in [("host", authority.as_ref()), ("user-agent", "windlass-agent")] {
        if !named(name) {
            message = message.header(name, value);
        }
    }
    message = message.header("connection", "close");
    for (name, value) in ask.headers {
        message = message.header(name, value);
    }
    let body = Full::new(Bytes::copy_from_slice(ask.body.as_bytes()));
    let message = message.body(body).map_err(|error| (error.to_string(), false))?;
    let host = if ask.own { reached_at(ask.host) } else { ask.host };
    let stream = connect(host, ask.port).await.map_err(|error| broken(&error))?;
    let Some(tls) = ask.tls else {
        return exchange(stream, message, ask.most).await.map_err(|error| failed(&error));
    };
    let stream = secure::secure(stream, ask.host, tls).await.map_err(|error| {
        let (why, nobody) = broken(&error);
        (format!("TLS: {why}"), nobody)
    })?;
    exchange(stream, message, ask.most).await.map_err(|error| failed(&error))
}

/// Sends a request and takes the answer in: its head, and at most `most` bytes of its body. A redirect is never followed.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: hyper::Request<Full<Bytes>>,
    most: usize,
) -> Result<Answer, hyper::Error> {
    let begun = Instant::now();
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await?;
    let reading = async {
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let (body, cut) = if most == 0 { (Vec::new(), false) } else { read(body, most).await? };
        let text =
            |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok(Answer { status: head.status.as_u16(), headers, body, cut, took: begun.elapsed() })
    };
    let (mut connection, mut reading) = (std::pin::pin!(connection), std::pin::pin!(reading));
    // The connection drives the exchange; when it ends first, the answer is there or never comes.
    tokio::select! {
        biased;
        answer = &mut reading => answer,
        _ = &mut connection => reading.await,
    }
}

async fn read(mut body: hyper::body::Incoming, most: usize) -> Result<(Vec<u8>, bool), hyper::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = most.saturating_sub(bytes.len());
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok((bytes, true));
        }
    }
    Ok((bytes, false))
}

/// A failure in words, and whether it means that no process listens there.
pub(crate) fn broken(error: &io::Error) -> (String, bool) {
    match error.kind() {
        ErrorKind::ConnectionRefused => ("connection refused".to_owned(), true),
        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
            ("connection closed".to_owned(), true)
        }
        _ => (error.to_string(), false),
    }
}

/// The same for an exchange.
fn failed(error: &hyper::Error) -> (String, bool) {
    let closed = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    let io = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    match io {
        Some(io) => broken(io),
        None if closed => broken(&ErrorKind::UnexpectedEof.into()),
        None => (error.to_string(), false),
    }
}

#[cfg(test)]
mod tests;
