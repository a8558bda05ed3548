//! The status of a GET, and nothing else of its answer: a probe asks that of every instance every few seconds, and what it costs
//! is most of what an agent at rest costs.

use std::io::ErrorKind;

use hyper::http::uri::PathAndQuery;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{authority, broken, connect_own};

/// Bytes that are read until the status is there: what fits is taken at once, so that a short answer leaves nothing unread.
const ROOM: usize = 4 * 1024;
/// Bytes of informational responses (100 to 199) that are skipped.
const MOST: usize = 16 * 1024;
/// `HTTP/1.1 200`
const STATUS_LINE: usize = 12;

/// The answer is no response of HTTP/1.
#[derive(Debug, PartialEq, Eq)]
struct NotHttp;

/// Sends a GET to a port of an instance of this host, over a connection of its own, and reads the status of the final response.
/// A failure comes in words, with whether it means that no process listens there.
pub(crate) async fn status(address: &str, port: u16, path: &str) -> Result<u16, (String, bool)> {
    let path = path.parse::<PathAndQuery>().map_err(|error| (error.to_string(), false))?;
    let host = authority(address);
    let mut stream = connect_own(address, port).await.map_err(|error| broken(&error))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: windlass-agent\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| broken(&error))?;
    let mut answer = Vec::with_capacity(ROOM);
    loop {
        let read = stream.read_buf(&mut answer).await.map_err(|error| broken(&error))?;
        match in_answer(&answer) {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if read == 0 => return Err(broken(&ErrorKind::UnexpectedEof.into())),
            Ok(None) if answer.len() < MOST => {}
            Ok(None) => return Err((format!("no status within {MOST} bytes"), false)),
            Err(NotHttp) => return Err(("the answer is not HTTP/1".to_owned(), false)),
        }
    }
}

/// The status of the final response, once its first line is whole; `None` before.
fn in_answer(mut bytes: &[u8]) -> Result<Option<u16>, NotHttp> {
    loop {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            let begins = bytes.iter().zip(b"HTTP/1.").all(|(byte, wanted)| byte == wanted);
            return if begins { Ok(None) } else { Err(NotHttp) };
        };
        let line = bytes.get(..STATUS_LINE).filter(|_| end >= STATUS_LINE).ok_or(NotHttp)?;
        let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', digits @ ..] = line else {
            return Err(NotHttp);
        };
        if !matches!(bytes.get(STATUS_LINE), Some(b' ' | b'\r' | b'\n'))
            || !digits.iter().all(u8::is_ascii_digit)
        {
            return Err(NotHttp);
        }
        let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        match status {
            ..100 => return Err(NotHttp),
            100..200 => match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => bytes = &bytes[at + 4..],
                None => return Ok(None),
            },
            200.. => return Ok(Some(status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_once_its_line_is_whole() {
        #[rustfmt::skip]
        let table = [
            ("", Ok(None)),
            ("HTTP/1.1 20", Ok(None)),
            ("HTTP/1.1 200 OK\r", Ok(None)),
            ("HTTP/1.1 200 OK\r\n", Ok(Some(200))),
            ("HTTP/1.0 503\r\nx: y\r\n", Ok(Some(503))),
            ("HTTP/1.1 204\n", Ok(Some(204))),
            ("HTTP/1.1 100 Continue\r\n", Ok(None)),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\n", Ok(Some(302))),
            ("HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 500 Oops\r\n\r\n", Ok(Some(500))),
            ("SSH-2.0-OpenSSH", Err(NotHttp)),
            ("HTTP/2 200\r\n", Err(NotHttp)),
            ("HTTP/1.1 20x OK\r\n", Err(NotHttp)),
            ("HTTP/1.1 2000 OK\r\n", Err(NotHttp)),
            ("HTTP/1.1 099 OK\r\n", Err(NotHttp)),
            ("HTTP/1.1\r\n200 OK here\r\n", Err(NotHttp)),
        ];
        for (answer, want) in table {
            assert_eq!(in_answer(answer.as_bytes()), want, "{answer:?}");
        }
    }

    async fn asked(answer: &'static [u8], path: &str) -> Result<u16, (String, bool)> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request[..count]).into_owned();
            assert!(text.starts_with("GET /up?deep=1 HTTP/1.1\r\nhost: 127.0.0.1\r\n"), "{text}");
            assert!(text.ends_with("\r\n\r\n"), "{text}");
            stream.write_all(answer).await.unwrap();
        };
        tokio::select! {
            biased;
            status = status("127.0.0.1", port, path) => status,
            () = async { serve.await; std::future::pending().await } => unreachable!("it serves for ever"),
        }
    }

    #[tokio::test]
    async fn a_failed_question_comes_in_words() {
        let path = "/up?deep=1";
        assert_eq!(asked(b"HTTP/1.1 418 Teapot\r\n\r\n", path).await, Ok(418));
        assert_eq!(asked(b"hello", path).await, Err(("the answer is not HTTP/1".to_owned(), false)));
        static LONG: [u8; MOST + 64] = {
            let mut bytes = [b'x'; MOST + 64];
            let begin = b"HTTP/1.1 200 ";
            let mut at = 0;
            while at < begin.len() {
                bytes[at] = begin[at];
                at += 1;
            }
            bytes
        };
        assert_eq!(asked(&LONG, path).await, Err((format!("no status within {MOST} bytes"), false)));
        assert!(asked(b"", "/up\r\nx: y").await.is_err(), "no header can be smuggled in by a path");
    }
}
