//! The little HTTP/1.1 that the sample needs: keep-alive, bounded heads and bodies, nothing else.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const MAX_HEAD: u64 = 16 * 1024;
const MAX_BODY: u64 = 1024 * 1024;
/// A body that is only counted, so that it may be large.
const UPLOAD: &str = "/upload";
const MAX_UPLOAD: u64 = 1024 * 1024 * 1024;

pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// Reads one request; `None` when the client closed between two requests.
    pub fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = stream.by_ref().take(MAX_HEAD);
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::Error::other("no request line"));
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
        let mut headers = Vec::new();
        loop {
            line.clear();
            if head.read_line(&mut line)? == 0 {
                return Err(io::Error::other("head too long or cut off"));
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.push((name.to_lowercase(), value.trim().to_owned())),
                None => break,
            }
        }
        let mut request = Self { method, path, query, headers, body: Vec::new() };
        let length = request.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
        if request.path == UPLOAD && length <= MAX_UPLOAD {
            let read = io::copy(&mut stream.take(length), &mut io::sink())?;
            request.body = read.to_string().into_bytes();
            return Ok(Some(request));
        }
        if length > MAX_BODY || request.header("transfer-encoding").is_some() {
            return Err(io::Error::other("body too long, or chunked"));
        }
        stream.take(length).read_to_end(&mut request.body)?;
        Ok(Some(request))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn wants_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// A query parameter, as written: tests need no escapes.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

pub fn respond(stream: &mut impl Write, status: u16, body: &str, close: bool) -> io::Result<()> {
    let kind = if body.starts_with(['{', '[']) { "application/json" } else { "text/plain" };
    let connection = if close { "close" } else { "keep-alive" };
    let reason = if status < 400 { "OK" } else { "Error" };
    // One write, so that a response is one segment.
    let text = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: {connection}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes())
}

/// GETs `http://host[:port]/path`; returns status and body.
pub fn get(url: &str, timeout: Duration) -> io::Result<(u16, String)> {
    let rest = url.strip_prefix("http://").ok_or_else(|| io::Error::other("only http://"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let target = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let address = target.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    BufReader::new(stream).take(MAX_BODY).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_str(), ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok((status.ok_or_else(|| io::Error::other("no status line"))?, body.to_owned()))
}

/// `text` as a JSON string, with its quotes.
pub fn json(text: &str) -> String {
    let escape = |c: char| match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_follow_each_other_on_one_connection() {
        let mut wire: &[u8] =
            b"POST /a?x=1&path=/b HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\n\r\n";
        let first = Request::read(&mut wire).expect("valid").expect("present");
        assert_eq!((first.path.as_str(), first.body.as_slice()), ("/a", b"hi".as_slice()));
        assert_eq!(first.parameter("path"), Some("/b"));
        let second = Request::read(&mut wire).expect("valid").expect("present");
        assert_eq!(second.path, "/");
        assert!(Request::read(&mut wire).expect("valid").is_none());
    }

    #[test]
    fn an_upload_is_counted() {
        let wire = format!("PUT /upload HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n{}", "x".repeat(2_000_000));
        let request = Request::read(&mut wire.as_bytes()).expect("valid").expect("present");
        assert_eq!(request.body, b"2000000");
        let elsewhere = wire.replacen("/upload", "/echo", 1);
        assert!(Request::read(&mut elsewhere.as_bytes()).is_err());
    }

    #[test]
    fn an_endless_head_is_refused() {
        let wire = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000));
        assert!(Request::read(&mut wire.as_bytes()).is_err());
    }

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(json("a\"b\\\n"), r#""a\"b\\\u000a""#);
    }
}
