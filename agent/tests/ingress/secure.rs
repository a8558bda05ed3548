//! HTTPS: certificates from a folder, read again when they change.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;

use crate::http::{Answer, Client, Endpoint, get};
use crate::world::{LONG, World};

const WEB: &str = "web.example.com";

/// Lays a fresh certificate for these names into the folder.
pub(crate) fn lay_down(folder: &Path, names: &[&str]) -> CertificateDer<'static> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    // A reader between the two files finds a pair that does not belong together, and keeps the one before.
    std::fs::write(folder.join("web.key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("web.crt"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// Settings of a client that believes only this certificate, and offers these protocols.
pub(crate) fn settings(believed: &CertificateDer<'static>, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(believed.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// Asks over a connection on which only this certificate is believed.
async fn ask(address: SocketAddr, believed: &CertificateDer<'static>) -> std::io::Result<Answer> {
    let stream = TcpStream::connect(address).await?;
    let name = WEB.try_into().unwrap();
    let stream = TlsConnector::from(settings(believed, &[])).connect(name, stream).await?;
    Client::over(stream).get(WEB, "/").await
}

#[tokio::test]
async fn https_follows_its_folder_and_http_leads_there() {
    let world = World::new();
    let one = Endpoint::listen("one").await;
    let certs = world.folder.join("certs");
    std::fs::create_dir(&certs).unwrap();
    let first = lay_down(&certs, &[WEB]);
    let mut agent = world.agent(vec![world.keys.table(5, &[one.address])]);
    let folder = certs.to_str().unwrap();
    let http = ["--http", "127.0.0.1:0", "--redirect", "8443"];
    let _ingress = world.start(&[&http[..], &["--https", "127.0.0.1:0", "--certs", folder]].concat());
    agent.report("a table", |report| !report.tables.is_empty()).await;
    let (http, https) = (agent.http().await, agent.at("https").await);
    let redirected = get(http, WEB, "/cart?x=1").await.unwrap();
    assert_eq!(redirected.status, 308);
    assert_eq!(redirected.location.as_deref(), Some("https://web.example.com:8443/cart?x=1"));
    assert_eq!(ask(https, &first).await.unwrap().body, "one");

    let second = lay_down(&certs, &[WEB]);
    let end = Instant::now() + LONG;
    while !ask(https, &second).await.is_ok_and(|answer| answer.body == "one") {
        assert!(Instant::now() < end, "the new certificate is never served");
        sleep(Duration::from_millis(200)).await;
    }
    assert!(ask(https, &first).await.is_err());
}
