//! Bytes of a client on their way through the ingress: what leaves it towards an endpoint is one request after another, each with
//! one meaning, whatever came in. The endpoint here reads closely, and was written without the library that the ingress uses.
#![no_main]

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;
use windlass_core::traffic::Routes;
use windlass_ingress::{Ingress, Limits};

/// The request that ends a connection which would go on.
const LAST: &[u8] = b"\r\n\r\nGET /last HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n";
/// Nothing comes for so long: the client leaves.
const QUIET: Duration = Duration::from_millis(30);
const RELEASE: &str = "sha256:0101010101010101010101010101010101010101010101010101010101010101";
const CLIENT: ([u8; 4], u16) = ([192, 0, 2, 7], 4711);

struct World {
    runtime: Runtime,
    ingress: Ingress,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    WORLD.with_borrow_mut(|world| {
        let World { runtime, ingress } = world.get_or_insert_with(begin);
        runtime.block_on(async {
            let (client, server) = tokio::io::duplex(64 * 1024);
            let serving = ingress.serve_connection(server, SocketAddr::from(CLIENT));
            tokio::select! {
                () = serving => {}
                () = ask(client, data) => {}
            }
        });
    });
});

fn begin() -> World {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let short = Duration::from_millis(20);
    let limits = Limits {
        head: short,
        detect: short,
        response: short * 10,
        body_idle: short,
        tunnel_idle: short,
        ..Limits::default()
    };
    let ingress = Ingress::new(limits, 1);
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    runtime.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(endpoint(stream));
            while connections.try_join_next().is_some() {}
        }
    });
    ingress.take(table(port)).expect("the table can be followed");
    World { runtime, ingress }
}

fn table(port: u16) -> Routes {
    let json = format!(
        r#"{{"version":1,"fleet":"fleet","environment":"production","epoch":1,"seq":1,"issued_at":"2026-01-01T00:00:00Z",
        "names":[{{"host":"web.example","path":"/","service":"web","port":"http"}},
                 {{"host":"*.wild.example","path":"/a/","service":"web","port":"http"}}],
        "services":[{{"service":"web","ports":{{"http":{{"container":80}}}},"releases":[{{"release":"{RELEASE}","counter":"r1"}}],
        "endpoints":[{{"host":"h1","address":"127.0.0.1","port":"http","number":{port},"side":"a","release":"{RELEASE}"}}],
        "drain":"1s"}}]}}"#
    );
    serde_json::from_str(&json).expect("it is a table")
}

/// Sends the bytes, and reads until nothing more comes.
async fn ask(client: DuplexStream, data: &[u8]) {
    let (mut read, mut write) = tokio::io::split(client);
    let send = async {
        let _ = write.write_all(data).await;
        let _ = write.write_all(LAST).await;
        std::future::pending::<()>().await;
    };
    let receive = async {
        let mut buffer = [0; 4096];
        while let Ok(Ok(1..)) = timeout(QUIET, read.read(&mut buffer)).await {}
    };
    tokio::select! {
        () = send => {}
        () = receive => {}
    }
}

/// An endpoint that ends the process when it reads what could mean something else to another reader.
async fn endpoint(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    while let Some(head) = head(&mut stream).await {
        let request = Head::read(&head);
        if !request.body(&mut stream).await {
            return;
        }
        let answer = if request.keeps { "keep-alive" } else { "close" };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: {answer}\r\n\r\nok");
        if stream.get_mut().write_all(answer.as_bytes()).await.is_err() || !request.keeps {
            return;
        }
    }
}

/// The bytes of a head up to its empty line; `None` at the end.
async fn head(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
        demand(head.len() <= 128 * 1024, "a head has a bound", &head);
    }
    Some(head)
}

struct Head {
    length: Option<u64>,
    chunked: bool,
    keeps: bool,
}

impl Head {
    fn read(head: &[u8]) -> Self {
        let text = &head[..head.len() - 4];
        demand(!text.contains(&0), "no NUL", head);
        let mut lines = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
            lines.push(&rest[..at]);
            rest = &rest[at + 2..];
        }
        lines.push(rest);
        demand(
            lines.iter().all(|line| !line.contains(&b'\r') && !line.contains(&b'\n')),
            "no bare CR or LF",
            head,
        );
        let words: Vec<&[u8]> = lines[0].split(|byte| *byte == b' ').collect();
        demand(words.len() == 3 && words[2] == b"HTTP/1.1", "a request line has three words", head);
        demand(words[1].starts_with(b"/") || words[1] == b"*", "the target is a path", head);
        demand(
            words[1].iter().all(u8::is_ascii_graphic) || words[1].iter().all(|b| *b > b' '),
            "no blanks",
            head,
        );
        let headers: Vec<(String, &[u8])> = lines[1..].iter().map(|line| Self::header(line, head)).collect();
        let all = |name: &str| -> Vec<&[u8]> {
            headers.iter().filter(|(found, _)| found == name).map(|(_, value)| *value).collect()
        };
        demand(all("host").len() == 1, "one Host", head);
        let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
        demand(lengths.len() + codings.len() <= 1, "one framing", head);
        demand(codings.iter().all(|coding| *coding == b"chunked"), "chunked is the only coding", head);
        demand(all("x-forwarded-for") == [b"192.0.2.7"], "nobody says who he is", head);
        demand(all("forwarded").is_empty() && all("te").is_empty(), "what ends at the ingress", head);
        demand(all("cookie").len() <= 1, "one line of cookies", head);
        let upgrade = all("upgrade").len();
        let connection = all("connection");
        demand(upgrade <= 1 && (upgrade == 1) == (connection == [b"upgrade"]), "an upgrade is whole", head);
        let length = lengths.first().map(|value| {
            let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            demand(digits, "a length is a number", head);
            std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
        });
        // After an upgrade that is not met, the client decides by itself what becomes of its connection.
        Self { length, chunked: !codings.is_empty(), keeps: upgrade == 0 }
    }

    fn header<'h>(line: &'h [u8], head: &[u8]) -> (String, &'h [u8]) {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        let (name, value) = (&line[..at], line.get(at + 1..).unwrap_or_default());
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        demand(!name.is_empty() && name.iter().all(token), "a name is a token", head);
        demand(
            value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f)),
            "no controls",
            head,
        );
        (String::from_utf8_lossy(name).to_ascii_lowercase(), value.trim_ascii())
    }

    /// Reads the body. Answers with false if it breaks off.
    async fn body(&self, stream: &mut BufReader<TcpStream>) -> bool {
        if let Some(length) = self.length {
            return skip(stream, length).await;
        }
        if !self.chunked {
            return true;
        }
        loop {
            let Some(line) = line(stream).await else { return false };
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(digits).ok().and_then(|hex| u64::from_str_radix(hex, 16).ok());
            demand(size.is_some() && digits.iter().all(u8::is_ascii_hexdigit), "a chunk has a size", &line);
            let size = size.unwrap_or_default();
            if size == 0 {
                break;
            }
            if !skip(stream, size).await {
                return false;
            }
            let mut end = [0; 2];
            if stream.read_exact(&mut end).await.is_err() {
                return false;
            }
            demand(&end == b"\r\n", "a chunk ends with its line", &end);
        }
        loop {
            match line(stream).await {
                Some(line) if line.is_empty() => return true,
                Some(trailer) => drop(Self::header(&trailer, &trailer)),
                None => return false,
            }
        }
    }
}

async fn skip(stream: &mut BufReader<TcpStream>, length: u64) -> bool {
    tokio::io::copy(&mut stream.take(length), &mut tokio::io::sink()).await.is_ok_and(|read| read == length)
}

/// A line without its end; `None` if it breaks off.
async fn line(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.ok()?);
        demand(line.len() <= 128 * 1024, "a line has a bound", &line);
    }
    line.truncate(line.len() - 2);
    Some(line)
}

/// Ends the process if it does not hold: a panic in a task would pass.
fn demand(holds: bool, what: &str, seen: &[u8]) {
    if !holds {
        eprintln!("an endpoint got something ambiguous ({what}): {:?}", String::from_utf8_lossy(seen));
        std::process::abort();
    }
}
