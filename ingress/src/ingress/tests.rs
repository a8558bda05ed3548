use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use windlass_core::Digest;

use super::*;

/// A table with one service at `web.example`, and one endpoint of it.
fn table(seq: u64, port: u16) -> Routes {
    let json = format!(
        r#"{{"version":1,"fleet":"fleet","environment":"production","epoch":1,"seq":{seq},
            "issued_at":"2026-01-01T00:00:00Z",
            "names":[{{"host":"web.example","path":"/","service":"web","port":"http"}}],"services":[{{"service":"web",
            "ports":{{"http":{{"container":80}}}},"releases":[{{"release":"{release}","counter":"r1"}}],
            "endpoints":[{{"host":"h1","address":"127.0.0.1","port":"http","number":{port},"side":"a",
            "release":"{release}"}}],"drain":"60s"}}]}}"#,
        release = Digest::of(b"web"),
    );
    serde_json::from_str(&json).unwrap()
}

/// Reads to the end of a head.
async fn head(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(from.read_u8().await.unwrap());
    }
    String::from_utf8(got).unwrap()
}

/// A client of `ingress` with a tunnel.
async fn tunnel(ingress: &Ingress, tasks: &mut JoinSet<()>) -> DuplexStream {
    let (mut client, server) = tokio::io::duplex(4096);
    let ingress = ingress.clone();
    tasks.spawn(async move { ingress.serve_connection(server, "192.0.2.1:1024".parse().unwrap()).await });
    let request = b"GET / HTTP/1.1\r\nHost: web.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    client.write_all(request).await.unwrap();
    let answer = head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    client
}

/// Complaint 4 about other proxies (caddyserver/caddy#7222, PR 5637): what stands keeps each table that was in force since.
#[tokio::test]
async fn a_tunnel_holds_no_table() {
    let mut tasks = JoinSet::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        let answer = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        loop {
            let byte = stream.read_u8().await.unwrap();
            stream.write_u8(byte).await.unwrap();
        }
    });
    let ingress = Ingress::new(Limits::default(), 0);
    ingress.take(table(1, port)).unwrap();
    let mut client = tunnel(&ingress, &mut tasks).await;
    let mut old = Vec::new();
    for seq in 2..10 {
        old.push(Arc::downgrade(&ingress.0.table.load_full()));
        // Its endpoint leaves, and comes back.
        ingress.take(table(seq, if seq % 2 == 0 { 9 } else { port })).unwrap();
    }
    assert!(old.iter().all(|table| table.upgrade().is_none()), "an old table is kept");
    client.write_all(b"x").await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'x', "the tunnel stands");
}
