//! A registry that cannot serve just now, and one that is not reached.

use std::time::{Duration, Instant};

use super::super::again::{Patience, Tell};
use super::super::error::Kind;
use super::*;

/// Short pauses, told by `tell`.
pub(super) fn short(tell: impl Fn(&str) + Send + Sync + 'static) -> Patience {
    let tell: Tell = Arc::new(tell);
    Patience::short(Duration::from_millis(5), Duration::from_secs(2), tell)
}

/// Answers `first` with the given head so many times, then as the registry does; counts its requests.
struct Unwell {
    address: String,
    requests: Arc<Mutex<usize>>,
    _server: JoinSet<()>,
}

impl Unwell {
    async fn start(times: usize, head: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(0));
        let (seen, host, files) = (requests.clone(), address.clone(), files());
        let mut server = JoinSet::new();
        server.spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.windows(4).any(|end| end == b"\r\n\r\n")
                    && socket.read_buf(&mut request).await.unwrap_or(0) > 0
                {}
                let request = String::from_utf8_lossy(&request).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                let count = {
                    let mut count = seen.lock().unwrap();
                    *count += 1;
                    *count
                };
                let answer = if count <= times {
                    format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
                } else {
                    answer(&files, Login::None, &host, &path, "-")
                };
                drop(socket.write_all(&answer).await);
            }
        });
        Self { address, requests, _server: server }
    }

    /// The result, and the lines that were told.
    async fn resolve(&self) -> (Result<Image, ResolveError>, Vec<String>) {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = told.clone();
        let mut http = Http::new(Vec::new(), Credentials::default(), TIMEOUT).unwrap();
        http.patience = short(move |line| lines.lock().unwrap().push(line.to_owned()));
        let mut resolver = Resolver { http, platform: "linux/amd64".to_owned() };
        let result = resolver.resolve(&format!("{}/team/web:1", self.address).parse().unwrap()).await;
        let told = told.lock().unwrap().clone();
        (result, told)
    }

    fn requests(&self) -> usize {
        *self.requests.lock().unwrap()
    }
}

#[tokio::test]
async fn a_registry_that_is_unwell_is_asked_again() {
    for head in ["429 Too Many Requests", "500 Oops", "502 Bad Gateway", "503 Unavailable", "504 Late"] {
        let registry = Unwell::start(2, head).await;
        let (result, told) = registry.resolve().await;
        assert_eq!(result.unwrap().digest, Digest::of(&files()["team/web/manifests/1"]), "{head}");
        assert_eq!(registry.requests(), 4, "two that failed, the manifest and its configuration: {head}");
        let want = format!("the registry `{}` answered {}; trying again in", registry.address, &head[..3]);
        assert!(told.len() == 2 && told.iter().all(|line| line.starts_with(&want)), "{told:?}");
    }
}

#[tokio::test]
async fn a_registry_that_stays_unwell_is_given_up() {
    let registry = Unwell::start(usize::MAX, "503 Unavailable").await;
    let (result, told) = registry.resolve().await;
    assert!(matches!(result, Err(ResolveError::Status { status: 503, .. })), "{result:?}");
    assert_eq!((registry.requests(), told.len()), (4, 3));
    let registry = Unwell::start(usize::MAX, "404 Not Found").await;
    assert!(matches!(registry.resolve().await.0, Err(ResolveError::NotFound(_))));
    assert_eq!(registry.requests(), 1, "an answer that is one is not asked for again");
}

#[tokio::test]
async fn the_time_that_a_registry_names_is_heeded() {
    let registry = Unwell::start(1, "429 Too Many Requests\r\nretry-after: 1").await;
    let begun = Instant::now();
    let (result, told) = registry.resolve().await;
    result.unwrap();
    assert!(
        begun.elapsed() >= Duration::from_secs(1) && told[0].ends_with("trying again in 1 s"),
        "{told:?}"
    );
    // A time beyond the bound is not waited for, nor is the registry asked before it.
    let registry = Unwell::start(usize::MAX, "429 Too Many Requests\r\nretry-after: 3600").await;
    let (result, told) = registry.resolve().await;
    assert!(matches!(result, Err(ResolveError::Status { status: 429, .. })), "{result:?}");
    assert_eq!((registry.requests(), told.len()), (1, 0));
}

#[tokio::test]
async fn a_connection_that_is_refused_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let lines = told.clone();
    let mut http = Http::new(Vec::new(), Credentials::default(), TIMEOUT).unwrap();
    http.patience = short(move |line| lines.lock().unwrap().push(line.to_owned()));
    let mut resolver = Resolver { http, platform: "linux/amd64".to_owned() };
    let error = resolver.resolve(&format!("{address}/web:1").parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, ResolveError::Unreachable { kind: Kind::Refused, .. }), "{error:?}");
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("refused the connection; trying again in"), "{told:?}");
}

/// The error of a resolver that speaks TLS to a registry.
async fn over_tls(registry: &str, timeout: Duration) -> ResolveError {
    let mut http = Http::new(Vec::new(), Credentials::default(), timeout).unwrap();
    http.patience = short(|_| {});
    let mut resolver = Resolver { http, platform: "linux/amd64".to_owned() };
    resolver.resolve(&format!("{registry}/web:1").parse().unwrap()).await.unwrap_err()
}

#[tokio::test]
async fn each_failure_of_the_way_has_its_own_hint() {
    // A name under `.invalid` never has an address.
    let dns = over_tls("registry.invalid", TIMEOUT).await;
    assert!(matches!(dns, ResolveError::Unreachable { kind: Kind::Dns, .. }), "{dns:?}");
    let hint = dns.hint().unwrap();
    assert!(hint.contains("`getent hosts registry.invalid`") && !hint.contains("--insecure"), "{hint}");

    // Every address of 127/8 is plain unasked; this host's own address is not. 0.0.0.0 leads to this machine too.
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let registry = format!("0.0.0.0:{port}");
    let mut server = JoinSet::new();
    server.spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            drop(socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await);
        }
    });
    let plain = over_tls(&registry, TIMEOUT).await;
    assert!(matches!(plain, ResolveError::Unreachable { kind: Kind::Plain, .. }), "{plain:?}");
    assert!(plain.hint().unwrap().contains(&format!("`--insecure-registry {registry}`")), "{plain:?}");
    server.shutdown().await;

    let refused = over_tls(&registry, TIMEOUT).await;
    assert!(matches!(refused, ResolveError::Unreachable { kind: Kind::Refused, .. }), "{refused:?}");
    assert_eq!(refused.hint().unwrap(), "is the registry running, and is the port right?");

    // A server that takes the connection and says nothing.
    let silent = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let registry = format!("0.0.0.0:{}", silent.local_addr().unwrap().port());
    let late = over_tls(&registry, Duration::from_millis(300)).await;
    assert!(matches!(late, ResolveError::Unreachable { kind: Kind::Timeout, .. }), "{late:?}");
    let hint = late.hint().unwrap();
    assert!(hint.contains("firewall") && !hint.contains("--insecure"), "{hint}");
}

#[tokio::test]
async fn a_handshake_that_fails_is_told_as_such() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let registry = format!("0.0.0.0:{}", listener.local_addr().unwrap().port());
    let mut server = JoinSet::new();
    server.spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            // A fatal alert, `handshake failure`.
            drop(socket.write_all(&[21, 3, 3, 0, 2, 2, 40]).await);
        }
    });
    let error = over_tls(&registry, TIMEOUT).await;
    assert!(matches!(error, ResolveError::Unreachable { kind: Kind::Tls, .. }), "{error:?}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("CA") && hint.contains("--insecure-registry"), "{hint}");
}
