//! One request over a connection of its own, and the connection: what probes, smoke tests and checks of the host have in common.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use windlass_certs::tls::lookup;
use windlass_core::release::Answer;

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

/// Sends a request and takes the answer in: its head, and at most `most` bytes of its body. A redirect is never followed.
pub(crate) async fn exchange(
    stream: TcpStream,
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
pub(crate) fn failed(error: &hyper::Error) -> (String, bool) {
    let closed = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    let io = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    match io {
        Some(io) => broken(io),
        None if closed => broken(&ErrorKind::UnexpectedEof.into()),
        None => (error.to_string(), false),
    }
}
