//! TLS against a real server: whose certificate is taken, and by whom it has to be signed.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use windlass_core::Span;
use windlass_core::release::{Expect, HostAsk, HostCheck, UrlRequest};

use super::*;
use crate::clock;
use crate::runtime::fake::FakeEngine;

const BODY: &str = r#"{"gpu":false}"#;

/// A CA, and a server on the loopback address with a certificate of it for `names`.
async fn serve(tasks: &mut JoinSet<()>, names: &[&str]) -> (u16, String) {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &Issuer::new(params, ca_key)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        loop {
            let Ok(mut stream) = acceptor.accept(listener.accept().await.unwrap().0).await else { continue };
            let mut request = [0; 2048];
            let read = stream.read(&mut request).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..read]).to_lowercase();
            let status =
                if text.contains("host: api.internal") { "200 OK" } else { "421 Misdirected Request" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
            drop(stream.write_all(answer.as_bytes()).await);
            drop(stream.shutdown().await);
        }
    });
    (port, ca.pem())
}

async fn get(port: u16, tls: Option<&Tls>) -> Result<u16, String> {
    let headers = BTreeMap::from([("Host".to_owned(), "api.internal".to_owned())]);
    let (host, authority, method, path, body) = ("127.0.0.1", "127.0.0.1", "GET", "/", "");
    let ask =
        Ask { host, port, own: false, authority, method, path, headers: &headers, body, tls, most: 100 };
    ask_in_time(&ask).await.map(|answer| answer.status)
}

async fn ask_in_time(what: &Ask<'_>) -> Result<Answer, String> {
    let limit = std::time::Duration::from_secs(20);
    let asked = tokio::time::timeout(limit, ask(what)).await.expect("it is answered");
    asked.map_err(|(why, _)| why)
}

#[tokio::test]
async fn a_certificate_is_verified_unless_the_release_says_off() {
    let mut tasks = JoinSet::new();
    let (port, ca) = serve(&mut tasks, &["api.internal", "127.0.0.1"]).await;
    let (_, other) = serve(&mut tasks, &["api.internal"]).await;
    let tls = |name: Option<&str>, ca: Option<&String>, unverified| Tls {
        name: name.map(str::to_owned),
        ca: ca.cloned(),
        unverified,
    };
    #[rustfmt::skip]
    let table = [
        ("its CA, its name",       tls(Some("api.internal"), Some(&ca), false), ""),
        ("its address",            tls(None, Some(&ca), false),                 ""),
        ("another name",           tls(Some("web.internal"), Some(&ca), false), "not valid for name"),
        ("another CA",             tls(Some("api.internal"), Some(&other), false), "TLS: invalid peer certificate"),
        ("the CAs of the host",    tls(Some("api.internal"), None, false),      "TLS: "),
        ("nobody verifies it",     tls(None, None, true),                       ""),
        ("no certificate at all",  tls(Some("a"), Some(&"-----BEGIN CERTIFICATE-----\n".to_owned()), false), "`tls.ca` of the release"),
    ];
    for (case, tls, want) in table {
        match get(port, Some(&tls)).await {
            Ok(status) => assert_eq!((status, want), (200, ""), "{case}"),
            Err(why) => assert!(!want.is_empty() && why.contains(want), "{case}: {why}"),
        }
    }
    get(port, None).await.unwrap_err();
}

#[tokio::test]
async fn a_check_of_the_host_speaks_tls_and_reads_the_answer() {
    let mut tasks = JoinSet::new();
    let (port, ca) = serve(&mut tasks, &["127.0.0.1"]).await;
    let check = |name: &str, tls: Option<Tls>, json: &str| {
        let expect = Expect { json: serde_json::from_str(json).unwrap(), ..Expect::default() };
        let request = UrlRequest {
            url: format!("https://127.0.0.1:{port}/x"),
            method: "POST".to_owned(),
            headers: BTreeMap::from([("host".to_owned(), "api.internal".to_owned())]),
            body: "y".to_owned(),
            tls,
            expect,
        };
        HostCheck {
            name: name.to_owned(),
            ask: HostAsk::Request(Box::new(request)),
            timeout: Span::from_secs(20),
        }
    };
    let with_ca = || Some(Tls { ca: Some(ca.clone()), ..Tls::default() });
    let mut release = crate::fixture::release(1);
    release.spec.checks = vec![
        check("good", with_ca(), r#"{"/gpu": false}"#),
        check("fallback", with_ca(), r#"{"/gpu": true}"#),
        check("strange", None, "{}"),
    ];
    let failed = crate::hostcheck::failures(&release, &FakeEngine::new(clock::now)).await;
    assert_eq!(failed.len(), 2, "{failed:?}");
    let want = format!("fallback (POST https://127.0.0.1:{port}/x): wanted /gpu = true, got false");
    assert_eq!(failed[0], want);
    assert!(failed[1].starts_with("strange (POST https://") && failed[1].contains("TLS: "), "{failed:?}");
}

#[test]
fn a_host_of_ipv6_is_named_in_brackets() {
    for (host, want) in
        [("::1", "[::1]"), ("2001:db8::5", "[2001:db8::5]"), ("10.0.0.5", "10.0.0.5"), ("web-1", "web-1")]
    {
        assert_eq!(authority(host), want);
    }
}
