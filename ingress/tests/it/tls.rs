//! HTTPS by name, and what plain clients are told.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use windlass_core::traffic::Name;
use windlass_ingress::{Certificates, Limits};

use super::world::*;

/// Writes a certificate for these names, and trusts it.
pub(super) fn certificate(folder: &std::path::Path, roots: &mut RootCertStore, file: &str, names: &[&str]) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    fs::write(folder.join(format!("{file}.crt")), made.pem()).unwrap();
    fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    roots.add(made.der().clone()).unwrap();
}

/// A client's settings.
pub(super) fn client(
    roots: &RootCertStore,
    version: &'static rustls::SupportedProtocolVersion,
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    config.with_root_certificates(roots.clone()).with_no_client_auth()
}

/// A connection over TLS to `name`.
pub(super) async fn connect(
    address: std::net::SocketAddr,
    config: Arc<ClientConfig>,
    name: &str,
) -> Result<TlsStream<TcpStream>, std::io::Error> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(config).connect(name, stream).await
}

/// Asks over TLS; answers with everything that comes.
async fn ask(
    address: std::net::SocketAddr,
    roots: &RootCertStore,
    version: &'static rustls::SupportedProtocolVersion,
    name: &str,
    host: &str,
) -> Result<String, std::io::Error> {
    let mut stream = connect(address, Arc::new(client(roots, version)), name).await?;
    stream
        .write_all(format!("GET /echo HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Complaint 17 about other proxies (sozu 2.0): 421 to browsers that share a connection among names of one certificate.
#[tokio::test]
async fn names_of_one_certificate_share_a_connection() {
    let mut tasks = JoinSet::new();
    let world = World::start(Limits::default()).await;
    let mut table = pool(1, &[server(&mut tasks, "one").await]);
    for host in ["api.web.example", "other.example"] {
        table.names.push(Name { host: host.to_owned(), ..table.names[0].clone() });
    }
    world.ingress.take(table).unwrap();
    let (folder, mut roots) = (tempfile::tempdir().unwrap(), RootCertStore::empty());
    certificate(folder.path(), &mut roots, "a", &["web.example", "*.web.example"]);
    certificate(folder.path(), &mut roots, "b", &["other.example"]);
    let certificates = Certificates::open(folder.path()).unwrap();
    let (listener, address) = listener().await;
    let ingress = world.ingress.clone();
    tasks.spawn(
        async move { ingress.serve_tls(listener, certificates, CancellationToken::new()).await.unwrap() },
    );
    let mut config = client(&roots, &rustls::version::TLS13);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = connect(address, Arc::new(config), "web.example").await.unwrap();
    let http2 = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = http2.handshake(TokioIo::new(stream)).await.unwrap();
    tasks.spawn(async move { drop(connection.await) });
    for (host, status) in [("web.example", 200_u16), ("api.web.example", 200), ("other.example", 421)] {
        let request = Request::builder().uri(format!("https://{host}/")).body(Empty::<Bytes>::new()).unwrap();
        sender.ready().await.unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), status, "{host}");
    }
}

#[tokio::test]
async fn https_serves_the_certificate_of_the_name_asked_for() {
    let mut tasks = JoinSet::new();
    let web = server(&mut tasks, "one").await;
    let world = World::start(Limits::default()).await;
    world.ingress.take(pool(1, &[web])).unwrap();
    let (folder, mut roots) = (tempfile::tempdir().unwrap(), RootCertStore::empty());
    certificate(folder.path(), &mut roots, "a", &["web.example"]);
    certificate(folder.path(), &mut roots, "b", &["other.example"]);
    let certificates = Certificates::open(folder.path()).unwrap();
    let (listener, address) = listener().await;
    let ingress = world.ingress.clone();
    tasks.spawn(
        async move { ingress.serve_tls(listener, certificates, CancellationToken::new()).await.unwrap() },
    );
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let answer = ask(address, &roots, version, "web.example", "web.example").await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("\"x-forwarded-proto\": \"https\""),
            "{answer}"
        );
    }
    let tls13 = &rustls::version::TLS13;
    let answer = ask(address, &roots, tls13, "other.example", "web.example").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    assert!(ask(address, &roots, tls13, "unknown.example", "web.example").await.is_err());
}

#[tokio::test]
async fn a_plain_request_is_redirected_where_that_is_wanted() {
    let world = World::start(Limits::default()).await;
    let mut tasks = JoinSet::new();
    let (listener, address) = listener().await;
    let ingress = world.ingress.clone();
    tasks.spawn(async move { ingress.serve_redirect(listener, 8443, CancellationToken::new()).await });
    let mut client = RawClient::connect(address).await;
    client.write("GET /a?b=1 HTTP/1.1\r\nHost: web.example:80\r\n\r\n").await;
    let (head, _) = client.response().await;
    assert!(head.starts_with("http/1.1 308"), "{head}");
    assert!(head.contains("location: https://web.example:8443/a?b=1\r\n"), "{head}");
    // curl --http2 asks so.
    let mut client = RawClient::connect(address).await;
    let upgrade =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA";
    client.write(&format!("GET / HTTP/1.1\r\nHost: web.example\r\n{upgrade}\r\n\r\n")).await;
    let (head, _) = client.response().await;
    assert!(head.starts_with("http/1.1 308"), "{head}");
}
