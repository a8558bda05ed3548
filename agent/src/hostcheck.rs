//! Checks that a host makes before it starts the first instance of a release: whether it reaches what the release needs, and
//! whether the files are there.

mod files;

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use windlass_core::release::{
    Expect, HostAsk, HostCheck, MAX_ANSWER, Release, StatusRange, Tls, UrlRequest, host_and_port, url,
};

use crate::exchange;
use crate::runtime::Runtime;

/// Checks of one release at a time.
const PARALLEL: usize = 4;
/// States that a check takes where nothing is said of them.
const ANSWERED: StatusRange = StatusRange::new(200, 399);
/// Characters of a failure.
const SHOWN: usize = 240;
/// The same where files are named.
const SHOWN_FILES: usize = 2048;
/// `PostgreSQL`'s request to speak TLS: length, then the number that stands for it. Every server answers it with a byte.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// Bytes of a Redis server's first line.
const LINE: usize = 512;

/// Makes all checks, whatever becomes of each, and answers with those that failed, in their order.
pub(crate) async fn failures<R: Runtime>(release: &Release, runtime: &R) -> Vec<String> {
    let made = release.spec.checks.clone().into_iter().map(|check| async move {
        let limit = check.timeout;
        let why = match timeout(limit.duration(), ask(&check, release, runtime)).await {
            Ok(Ok(())) => return None,
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {limit}"),
        };
        let asked = check.ask.to_string();
        let name = if check.name == asked { check.name.clone() } else { format!("{} ({asked})", check.name) };
        let text = format!("{name}: {why}");
        let most = if matches!(check.ask, HostAsk::FilesExist { .. }) { SHOWN_FILES } else { SHOWN };
        Some(text.chars().filter(|c| !c.is_control()).take(most).collect())
    });
    let made: Vec<Option<String>> = stream::iter(made).buffered(PARALLEL).collect().await;
    made.into_iter().flatten().collect()
}

async fn ask<R: Runtime>(check: &HostCheck, release: &Release, runtime: &R) -> Result<(), String> {
    match &check.ask {
        HostAsk::FilesExist { volume, paths } => {
            files::exist(volume, paths, check.timeout, release, runtime).await
        }
        HostAsk::Tcp { address } => connect(address).await.map(drop),
        HostAsk::Http { url, status } => http(url, status).await,
        HostAsk::Request(request) => answered(request).await,
        HostAsk::Postgres { address } => postgres(connect(address).await?).await,
        HostAsk::Redis { address } => redis(connect(address).await?).await,
    }
}

async fn connect(address: &str) -> Result<TcpStream, String> {
    let (host, port) = host_and_port(address).ok_or("not `host:port`")?;
    exchange::connect(host, port).await.map_err(|error| words(&error))
}

fn words(error: &std::io::Error) -> String {
    exchange::broken(error).0
}

/// A plain `GET`, of which only the status counts.
async fn http(url: &str, wanted: &[StatusRange]) -> Result<(), String> {
    let status = if wanted.is_empty() { vec![ANSWERED] } else { wanted.to_vec() };
    let expect = Expect { status, ..Expect::default() };
    let (url, method, body) = (url.to_owned(), "GET".to_owned(), String::new());
    let request = UrlRequest { url, method, headers: BTreeMap::default(), body, tls: None, expect };
    answered(&request).await
}

/// A request of any kind, with the answer that is wanted.
async fn answered(request: &UrlRequest) -> Result<(), String> {
    let url = url(&request.url).ok_or("not a URL that can be asked")?;
    let by_host = Tls::default();
    let tls = url.is_https.then(|| request.tls.as_ref().unwrap_or(&by_host));
    let ask = exchange::Ask {
        host: url.host,
        port: url.port,
        own: false,
        authority: url.authority,
        method: &request.method,
        path: url.path,
        headers: &request.headers,
        body: &request.body,
        tls,
        most: MAX_ANSWER,
    };
    let answer = exchange::ask(&ask).await.map_err(|(why, _)| why)?;
    request.expect.compare(&answer).map_err(|difference| difference.to_string())
}

/// A server that is there says whether it speaks TLS, or that it does not understand. Nobody logs in.
async fn postgres(mut stream: TcpStream) -> Result<(), String> {
    stream.write_all(&SSL_REQUEST).await.map_err(|error| words(&error))?;
    let mut byte = [0];
    stream.read_exact(&mut byte).await.map_err(|error| words(&error))?;
    match byte[0] {
        b'S' | b'N' | b'E' => Ok(()),
        _ => Err("something answers that is not PostgreSQL".to_owned()),
    }
}

/// A server that asks for a password is there all the same.
async fn redis(mut stream: TcpStream) -> Result<(), String> {
    stream.write_all(b"PING\r\n").await.map_err(|error| words(&error))?;
    let mut line = Vec::new();
    while line.len() < LINE && !line.ends_with(b"\n") {
        let mut part = [0; LINE];
        match stream.read(&mut part).await.map_err(|error| words(&error))? {
            0 => break,
            read => line.extend_from_slice(&part[..read]),
        }
    }
    let line = String::from_utf8_lossy(&line);
    let line = line.lines().next().unwrap_or_default();
    if line == "+PONG" || line.starts_with("-NOAUTH") {
        Ok(())
    } else if line.is_empty() {
        Err("connection closed".to_owned())
    } else if let Some(error) = line.strip_prefix('-') {
        Err(error.to_owned())
    } else {
        Err("something answers that is not Redis".to_owned())
    }
}

#[cfg(test)]
mod tests;
