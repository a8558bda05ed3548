//! Requests whose meaning could differ between two readers: refused, or framed anew. Complaint 8 about other proxies
//! (CVE-2026-2833, CVE-2026-2835, CVE-2026-2836).

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use windlass_ingress::Limits;

use super::world::*;

/// An endpoint that tells every byte that it got, and answers each piece with 200.
pub(super) async fn told(tasks: &mut JoinSet<()>) -> (std::net::SocketAddr, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let each = move |mut stream: TcpStream| {
        let tell = tell.clone();
        async move {
            let mut buffer = [0; 16 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                let _ = tell.send(String::from_utf8_lossy(&buffer[..count]).into_owned());
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    };
    (raw_server(tasks, each).await, told)
}

#[tokio::test]
async fn ambiguous_requests_never_reach_an_endpoint_as_they_are() {
    let mut tasks = JoinSet::new();
    let (web, mut seen) = told(&mut tasks).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let refused = [
        ("duplicate Host", "GET / HTTP/1.1\r\nHost: web.example\r\nHost: web.example\r\n\r\n"),
        ("other Host", "GET http://other.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n"),
        ("no Host", "GET / HTTP/1.1\r\n\r\n"),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        ),
        ("signed length", "POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: +2\r\n\r\nab"),
        (
            "TE.TE",
            "POST / HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        ),
        (
            "two TEs",
            "POST / HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        ),
        (
            "hidden TE",
            "POST / HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding:\x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        ),
        ("NUL in the target", "GET /a\0b HTTP/1.1\r\nHost: web.example\r\n\r\n"),
        ("NUL in Host", "GET / HTTP/1.1\r\nHost: web.example\0\r\n\r\n"),
        ("Host of another port", "GET http://web.example:81/ HTTP/1.1\r\nHost: web.example\r\n\r\n"),
        (
            "unknown TE",
            "POST / HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        ("TE in 1.0", "POST / HTTP/1.0\r\nHost: web.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("obs-fold", "GET / HTTP/1.1\r\nHost: web.example\r\nX-A: 1\r\n folded\r\n\r\n"),
        ("NUL", "GET / HTTP/1.1\r\nHost: web.example\r\nX-A: a\0b\r\n\r\n"),
        ("space before colon", "GET / HTTP/1.1\r\nHost: web.example\r\nContent-Length : 2\r\n\r\nab"),
        (
            "upgrade with body",
            "GET / HTTP/1.1\r\nHost: web.example\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nab",
        ),
        (
            "upgrade to h2c",
            "GET / HTTP/1.1\r\nHost: web.example\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        ),
        ("CONNECT", "CONNECT web.example:80 HTTP/1.1\r\nHost: web.example\r\n\r\n"),
    ];
    for (what, request) in refused {
        let (head, _) = world.ask(request).await;
        assert!(head.starts_with("http/1.1 40"), "{what}: {head}");
        assert!(seen.try_recv().is_err(), "{what} reached the endpoint");
    }
    let count = u64::try_from(refused.len()).unwrap();
    until("each is counted", || world.ingress.bad_requests() == count).await;
    let coded = "POST / HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let (head, _) = world.ask(coded).await;
    assert!(head.starts_with("http/1.1 501") && head.contains("connection: close"), "{head}");
    assert!(seen.try_recv().is_err(), "a coding that nobody here knows reached the endpoint");
}

/// The coding alone counts, and the connection ends, as RFC 9112, section 6.1 asks of whoever does not refuse.
#[tokio::test]
async fn both_framings_at_once_are_framed_anew() {
    let mut tasks = JoinSet::new();
    let (web, mut seen) = told(&mut tasks).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    for lengths in
        ["Content-Length: 6\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 6"]
    {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: web.example\r\n{lengths}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: web.example\r\n\r\n"
        );
        let mut client = RawClient::connect(world.address).await;
        client.write(&request).await;
        let (head, _) = client.response().await;
        assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head}");
        assert!(!client.more().await && client.pending().is_empty(), "the connection goes on");
        let mut got = String::new();
        while let Ok(piece) = seen.try_recv() {
            got.push_str(&piece.to_ascii_lowercase());
        }
        assert!(got.contains("chunked") && !got.contains("content-length"), "{got}");
        assert!(!got.contains("smuggled"), "{got}");
    }
}

#[tokio::test]
async fn bytes_after_an_upgrade_that_is_refused_are_no_request() {
    let mut tasks = JoinSet::new();
    let (web, mut seen) = told(&mut tasks).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let mut client = RawClient::connect(world.address).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: web.example\r\n\r\n";
    let request = "GET / HTTP/1.1\r\nHost: web.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    client.write(&format!("{request}{smuggled}")).await;
    let (head, _) = client.response().await;
    assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head}");
    assert!(!client.more().await, "the connection goes on");
    while let Ok(got) = seen.try_recv() {
        assert!(!got.contains("smuggled"), "{got}");
    }
}

/// Bytes that the client took for its tunnel are no request, whoever answers.
#[tokio::test]
async fn an_upgrade_that_we_answer_ends_the_connection() {
    let world = World::start(Limits::default()).await;
    world.ingress.take(routes(1, &[(1, Some(1000))], Vec::new())).unwrap();
    let upgrade = "Connection: upgrade\r\nUpgrade: echo\r\n\r\n";
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: web.example\r\n\r\n";
    for (status, request) in [
        ("503", format!("GET / HTTP/1.1\r\nHost: web.example\r\n{upgrade}")),
        ("404", format!("GET / HTTP/1.1\r\nHost: other.example\r\n{upgrade}")),
        ("405", "CONNECT web.example:80 HTTP/1.1\r\nHost: web.example:80\r\n\r\n".to_owned()),
    ] {
        let mut client = RawClient::connect(world.address).await;
        client.write(&format!("{request}{smuggled}")).await;
        let (head, _) = client.response().await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
        assert!(head.contains("connection: close"), "{head}");
        assert!(!client.more().await && client.pending().is_empty(), "{status}: the connection goes on");
    }
}

/// A tunnel is for the protocol that was asked for, and never for HTTP/2, which could hide any request.
#[tokio::test]
async fn a_tunnel_is_only_for_what_was_asked() {
    let mut tasks = JoinSet::new();
    let (tell, mut seen) = mpsc::unbounded_channel();
    let web = raw_server(&mut tasks, move |mut stream: TcpStream| {
        let tell = tell.clone();
        async move {
            let mut head = [0; 4096];
            let count = stream.read(&mut head).await.unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..count]).to_ascii_lowercase();
            let protocol = if head.contains("get /other") { "other" } else { "echo" };
            let _ = tell.send(head);
            let answer =
                format!("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.read(&mut [0; 16]).await;
        }
    })
    .await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    for (path, upgrade, status) in [
        ("/", "Upgrade: echo", "101"),
        ("/", "Upgrade: Echo, more/2", "101"),
        ("/", "Upgrade: more/2\r\nUpgrade: echo", "101"),
        ("/other", "Upgrade: echo", "502"),
        ("/other", "Upgrade: echo, another", "502"),
        ("/", "Upgrade: echo, h2c", "400"),
        ("/", "Upgrade: echo\r\nUpgrade: H2C", "400"),
        ("/", "Upgrade: echo,\th2c ", "400"),
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: web.example\r\nConnection: upgrade\r\n{upgrade}\r\n\r\n");
        let (head, _) = world.ask(&request).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{upgrade}: {head}");
        if status == "400" {
            assert!(seen.try_recv().is_err(), "{upgrade} reached the endpoint");
        } else {
            let got = seen.recv().await.unwrap();
            assert!(!got.contains("h2c") && got.contains("echo"), "{got}");
        }
    }
}

#[tokio::test]
async fn bare_line_feeds_are_refused_or_framed_anew() {
    let mut tasks = JoinSet::new();
    let (web, mut seen) = told(&mut tasks).await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let chunked = "POST / HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (what, request) in [
        ("head", "POST / HTTP/1.1\nHost: web.example\nContent-Length: 2\n\nab".to_owned()),
        (
            "one header",
            "POST / HTTP/1.1\r\nHost: web.example\r\nX-A: 1\nContent-Length: 2\r\n\r\nab".to_owned(),
        ),
        ("size of a chunk", format!("{chunked}2\nab\r\n0\r\n\r\n")),
        ("end of a chunk", format!("{chunked}2\r\nab\n0\r\n\r\n")),
        ("extension of a chunk", format!("{chunked}2;x=\ny\r\nab\r\n0\r\n\r\n")),
    ] {
        let (head, _) = world.ask(&request).await;
        let mut got = String::new();
        while let Ok(more) = seen.try_recv() {
            got.push_str(&more);
        }
        if head.starts_with("http/1.1 200") {
            assert!(!got.replace("\r\n", "").contains('\n'), "{what}: {got:?}");
        } else {
            // A body that breaks off after its head cannot be answered otherwise than by an end.
            assert!(
                head.is_empty() || head.starts_with("http/1.1 4") || head.starts_with("http/1.1 5"),
                "{what}: {head}"
            );
            assert!(!got.contains(";x=") && !got.replace("\r\n", "").contains('\n'), "{what}: {got:?}");
        }
    }
}
