//! Heads of HTTP/2 that would be other requests as HTTP/1: refused, or framed anew. Complaint 8 about other proxies.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use windlass_ingress::Limits;

use super::frames::{DATA, END_STREAM, Field, Frames, GET};
use super::smuggling::told;
use super::world::*;

const POST: [Field<'static>; 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "web.example")];

/// The head of a good request with `changes`: a field of the same name is replaced, others are added.
fn with<'a>(changes: &[Field<'a>]) -> Vec<Field<'a>> {
    let kept = GET.into_iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    kept.chain(changes.iter().copied()).collect()
}

/// The same, with the pseudo-headers at its beginning, where they belong.
fn sorted(mut fields: Vec<Field<'_>>) -> Vec<Field<'_>> {
    fields.sort_by_key(|(name, _)| !name.starts_with(':'));
    fields
}

#[tokio::test]
async fn a_head_of_http2_that_http1_would_read_otherwise_is_refused() {
    let mut tasks = JoinSet::new();
    let (web, mut seen) = told(&mut tasks).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let added: &[(&str, &[Field<'_>])] = &[
        ("a coding", &[("transfer-encoding", "chunked")]),
        ("a connection", &[("connection", "x-forwarded-for")]),
        ("an upgrade", &[("upgrade", "h2c")]),
        ("a keep-alive", &[("keep-alive", "timeout=5")]),
        ("a connection of a proxy", &[("proxy-connection", "keep-alive")]),
        ("other TE than trailers", &[("te", "gzip")]),
        ("CR and LF in a value", &[("x-a", "1\r\nx-evil: 1")]),
        ("LF in a value", &[("x-a", "1\nx-evil: 1")]),
        ("CR in a value", &[("x-a", "1\rx-evil: 1")]),
        ("NUL in a value", &[("x-a", "1\0")]),
        ("CR and LF in a name", &[("x-a: 1\r\nx-evil", "1")]),
        ("a colon in a name", &[("x-evil:", "1")]),
        ("a space in a name", &[("x-evil ", "1")]),
        ("capitals in a name", &[("X-Evil", "1")]),
        ("an empty name", &[("", "1")]),
        ("a request in the path", &[(":path", "/ HTTP/1.1\r\nx-evil: 1")]),
        ("a space in the path", &[(":path", "/ HTTP/1.1")]),
        ("NUL in the path", &[(":path", "/\0")]),
        ("a request in the method", &[(":method", "GET /evil HTTP/1.1\r\nx-evil: 1\r\n\r\nGET")]),
        ("CONNECT", &[(":method", "CONNECT")]),
        ("a request in the authority", &[(":authority", "web.example\r\nx-evil: 1")]),
        ("a user", &[(":authority", "evil@web.example")]),
        ("another Host", &[("host", "other.example")]),
        ("two Hosts", &[("host", "web.example"), ("host", "other.example")]),
        ("another authority", &[(":authority", "other.example"), ("host", "web.example")]),
        ("two authorities", &[(":authority", "web.example"), (":authority", "other.example")]),
        ("two paths", &[(":path", "/"), (":path", "/evil")]),
        ("a pseudo-header of nobody", &[(":evil", "1")]),
        ("two lengths", &[("content-length", "0"), ("content-length", "5")]),
        ("one length twice", &[("content-length", "0"), ("content-length", "0")]),
        ("a signed length", &[("content-length", "+0")]),
        ("a length without a body", &[("content-length", "5")]),
    ];
    for (what, changes) in added {
        let mut client = Frames::connect(world.address).await;
        client.ask(1, &sorted(with(changes)), END_STREAM).await;
        let fate = client.fate(1).await;
        assert!(!fate.is_some_and(|frame| frame.is_ok()), "{what}: it is served");
        assert!(seen.try_recv().is_err(), "{what} reached the endpoint");
    }
    let mut late = GET.to_vec();
    late.insert(0, ("x-a", "1"));
    let no_name = GET.into_iter().filter(|(name, _)| *name != ":authority").collect();
    for (what, fields) in [("a pseudo-header after others", late), ("no name", no_name)] {
        let mut client = Frames::connect(world.address).await;
        client.ask(1, &fields, END_STREAM).await;
        assert!(!client.fate(1).await.is_some_and(|frame| frame.is_ok()), "{what}: it is served");
        assert!(seen.try_recv().is_err(), "{what} reached the endpoint");
    }
    // These are good, and so is how they are asked.
    for fields in [GET.to_vec(), sorted(with(&[("host", "web.example"), ("te", "trailers")]))] {
        let mut client = Frames::connect(world.address).await;
        client.ask(1, &fields, END_STREAM).await;
        assert!(client.fate(1).await.is_some_and(|frame| frame.is_ok()), "{fields:?}");
        let got = seen.recv().await.unwrap().to_ascii_lowercase();
        assert!(
            got.starts_with("get / http/1.1\r\n") && got.matches("host: web.example\r\n").count() == 2,
            "{got}"
        );
        assert!(!got.contains("\r\nte:"), "{got}");
    }
}

/// An endpoint that tells every byte that it got with the number of its connection, and answers each piece with 200.
async fn numbered(tasks: &mut JoinSet<()>) -> (SocketAddr, mpsc::UnboundedReceiver<(usize, String)>) {
    let (tell, told) = mpsc::unbounded_channel();
    let count = AtomicUsize::new(0);
    let each = move |mut stream: TcpStream| {
        let (tell, number) = (tell.clone(), count.fetch_add(1, Relaxed));
        async move {
            let mut buffer = [0; 16 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                let _ = tell.send((number, String::from_utf8_lossy(&buffer[..count]).into_owned()));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    };
    (raw_server(tasks, each).await, told)
}

/// A body that is longer or shorter than its length says is never a part of another request at its endpoint.
#[tokio::test]
async fn a_body_of_another_length_than_its_head_says_is_cut() {
    let mut tasks = JoinSet::new();
    let (web, mut seen) = numbered(&mut tasks).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: web.example\r\n\r\n";
    for (length, body) in
        [("2", format!("ab{smuggled}")), ("0", smuggled.to_owned()), ("900", smuggled.to_owned())]
    {
        let mut client = Frames::connect(world.address).await;
        client.ask(1, &[&POST[..], &[("content-length", length)]].concat(), 0).await;
        client.send(DATA, END_STREAM, 1, body.as_bytes()).await;
        let _ = client.fate(1).await; // an endpoint may have answered its head
        let (head, _) = world.get("/good").await;
        assert!(head.starts_with("http/1.1 200"), "{length}: {head}");
        let pieces: Vec<(usize, String)> = std::iter::from_fn(|| seen.try_recv().ok()).collect();
        let good = pieces.iter().find(|(_, got)| got.starts_with("GET /good HTTP/1.1\r\n"));
        let (at, _) = good.unwrap_or_else(|| panic!("{length}: the next request is another one: {pieces:?}"));
        // Its connection had nothing before that is only a part.
        let before = pieces.iter().filter(|(number, got)| number == at && !got.starts_with("GET /good"));
        let half = before.filter(|(_, got)| !got.contains("content-length: 0\r\n")).count();
        assert_eq!(half, 0, "{length}: {pieces:?}");
        let beyond = pieces.iter().any(|(_, got)| got.contains("smuggled"));
        assert!(!beyond || length == "900", "{length}: {pieces:?}");
    }
}
