//! A registry that means harm: other bytes, answers without end, redirects, and logins that lead elsewhere.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use windlass_core::Digest;

use super::super::credentials::Credentials;
use super::super::http::Http;
use super::super::{Image, ResolveError, Resolver};
use super::{files, text};

/// So long a test waits for an answer that never ends.
const SHORT: Duration = Duration::from_millis(700);

/// The answer.
enum Answer {
    /// This, and the connection is closed.
    Is(Vec<u8>),
    /// This, and then this for ever.
    Endless(Vec<u8>, Vec<u8>),
    /// This, one byte at a time.
    Drip(Vec<u8>),
}

struct Rogue {
    address: String,
    /// Requests, head by head.
    seen: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

impl Rogue {
    /// `answer` is asked with the path of each request.
    async fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1", answer).await
    }

    async fn start_at(ip: &str, answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (requests, answer) = (seen.clone(), Arc::new(answer));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (requests, answer) = (requests.clone(), answer.clone());
                connections.spawn(async move { drop(serve(socket, &requests, &*answer).await) });
            }
        });
        Self { address, seen, _server: server }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    async fn resolve(&self, image: &str, docker: &serde_json::Value) -> Result<Image, ResolveError> {
        resolve(&format!("{}/{image}", self.address), docker).await
    }

    /// Whether anything that a request carried is secret.
    fn got(&self, secret: &str) -> bool {
        self.seen().iter().any(|head| head.contains(secret))
    }
}

async fn resolve(image: &str, docker: &serde_json::Value) -> Result<Image, ResolveError> {
    let credentials = Credentials::read(docker.to_string().as_bytes()).unwrap();
    let http = Http::new(Vec::new(), credentials, SHORT).unwrap();
    let mut resolver = Resolver { http, platform: "linux/amd64".to_owned() };
    resolver.resolve(&image.parse().unwrap()).await
}

/// The length of a request, whose head is there, with its body.
fn whole(request: &[u8]) -> usize {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let head = text.split_once("\r\n\r\n").map_or(text.as_str(), |(head, _)| head);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    head.len() + 4 + length.and_then(|length| length.trim().parse::<usize>().ok()).unwrap_or(0)
}

async fn serve(
    mut socket: TcpStream,
    requests: &Mutex<Vec<String>>,
    answer: &(impl Fn(&str) -> Answer + ?Sized),
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    // A form may follow in packets of its own.
    while head.len() < whole(&head) {
        if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    requests.lock().unwrap().push(head);
    match answer(&path) {
        Answer::Is(bytes) => socket.write_all(&bytes).await,
        Answer::Endless(first, then) => {
            socket.write_all(&first).await?;
            loop {
                socket.write_all(&then).await?;
            }
        }
        Answer::Drip(bytes) => {
            for byte in bytes {
                socket.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        }
    }
}

fn http(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// A chunked answer without a length, so that nothing says how long it will be.
fn chunked() -> Answer {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    Answer::Endless(head, [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat())
}

fn nobody() -> serde_json::Value {
    json!({})
}

#[tokio::test]
async fn answers_without_end_and_giant_headers_are_cut() {
    type Script = fn(&str) -> Answer;
    #[rustfmt::skip]
    let table: [(&str, Script, &str); 5] = [
        ("a manifest in chunks", |_| chunked(), "more than 4194304 bytes"),
        ("a manifest that says it has 1 TiB", |_| Answer::Endless(b"HTTP/1.1 200 OK\r\ncontent-length: 1099511627776\r\n\r\n".to_vec(), vec![b' '; 1 << 16]), "more than 4194304 bytes"),
        ("a header without end", |_| Answer::Endless(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'y'; 1 << 16]), "failed to reach"),
        ("headers without end", |_| Answer::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"x-y: z\r\n".repeat(1000)), "failed to reach"),
        ("a drip", |_| Answer::Drip(http("200 OK", "", &[b' '; 4000])), "failed to reach"),
    ];
    for (case, script, want) in table {
        let rogue = Rogue::start(script).await;
        let begun = Instant::now();
        let error = rogue.resolve("team/web:1", &nobody()).await.unwrap_err();
        assert!(text(&error).contains(want), "{case}: {}", text(&error));
        assert!(begun.elapsed() < 10 * SHORT, "{case}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_token_without_end_is_cut() {
    let own = Arc::new(Mutex::new(String::new()));
    let address = own.clone();
    let rogue = Rogue::start(move |path| {
        if path.starts_with("/token") {
            return chunked();
        }
        let realm =
            format!("www-authenticate: Bearer realm=\"http://{}/token\"\r\n", address.lock().unwrap());
        Answer::Is(http("401 Unauthorized", &realm, b""))
    })
    .await;
    own.lock().unwrap().clone_from(&rogue.address);
    let error = rogue.resolve("team/web:1", &nobody()).await.unwrap_err();
    assert!(text(&error).contains("more than 65536 bytes"), "{}", text(&error));
}

#[tokio::test]
async fn bytes_with_another_digest_are_refused_everywhere() {
    let good = files();
    let single = good["team/web/manifests/1"].clone();
    let index = good["team/web/manifests/multi"].clone();
    let config = good.keys().find(|path| path.contains("/blobs/")).unwrap().clone();
    let pinned = format!("team/web@{}", Digest::of(&single));
    // One byte of the manifest, of the configuration, and of what the index points at.
    let cases = [
        ("the manifest", pinned.as_str(), format!("team/web/manifests/{}", Digest::of(&single))),
        ("the configuration", "team/web:1", config),
        ("what the index points at", "team/web:multi", format!("team/web/manifests/{}", Digest::of(&single))),
    ];
    assert!(!index.is_empty());
    for (case, image, bent) in cases {
        let (files, bent) = (good.clone(), bent);
        let rogue = Rogue::start(move |path| {
            let path = path.trim_start_matches("/v2/");
            let Some(mut body) = files.get(path).cloned() else {
                return Answer::Is(http("404 Not Found", "", b""));
            };
            if path == bent {
                *body.last_mut().unwrap() = b' ';
            }
            Answer::Is(http("200 OK", "", &body))
        })
        .await;
        let error = rogue.resolve(image, &nobody()).await.unwrap_err();
        assert!(matches!(error, ResolveError::WrongDigest { .. }), "{case}: {error}");
    }
}

#[tokio::test]
async fn redirects_end_and_lead_neither_inside_nor_with_a_login() {
    // Round and round.
    let rogue =
        Rogue::start(|path| Answer::Is(http("302 Found", &format!("location: {path}x\r\n"), b""))).await;
    let error = rogue.resolve("team/web:1", &nobody()).await.unwrap_err();
    assert!(text(&error).contains("redirects without end"), "{}", text(&error));
    assert!(rogue.seen().len() <= 7, "{}", rogue.seen().len());

    // To what only this machine should reach. The one that is asked is at 127.0.0.1, all others are elsewhere.
    let inside = Rogue::start_at("127.0.0.2", |_| Answer::Is(http("200 OK", "", b"{}"))).await;
    let port = inside.address.rsplit_once(':').unwrap().1.to_owned();
    for to in [
        format!("http://{}/latest/meta-data", inside.address),
        format!("http://localhost:{port}/"),
        format!("http://[::ffff:127.0.0.2]:{port}/"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
    ] {
        let location = to.clone();
        let rogue = Rogue::start(move |_| {
            Answer::Is(http("307 Temporary Redirect", &format!("location: {location}\r\n"), b""))
        })
        .await;
        let error = rogue.resolve("team/web:1", &nobody()).await.unwrap_err();
        assert!(text(&error).contains("an address of this machine"), "{to}: {}", text(&error));
    }
    assert!(inside.seen().is_empty());

    // To the same host at another port, which is somebody else: without the login.
    let other = Rogue::start(|_| Answer::Is(http("404 Not Found", "", b""))).await;
    let to = other.address.clone();
    let rogue = Rogue::start(move |path| {
        Answer::Is(match path {
            "/v2/team/web/manifests/1" => {
                http("401 Unauthorized", "www-authenticate: Basic realm=\"x\"\r\n", b"")
            }
            _ => http("404 Not Found", "", b""),
        })
    })
    .await;
    let docker = json!({ "auths": { &rogue.address: { "auth": "dTpw" } } });
    rogue.resolve("team/web:1", &docker).await.unwrap_err();
    assert!(rogue.got("dTpw"), "it asked for the login that is its own, and got it");
    let leads = Rogue::start(move |_| {
        Answer::Is(http("307 Temporary Redirect", &format!("location: http://{to}/x\r\n"), b""))
    })
    .await;
    let docker = json!({ "auths": { &leads.address: { "auth": "dTpw" } } });
    leads.resolve("team/web:1", &docker).await.unwrap_err();
    assert!(!other.got("dTpw") && !other.got("uthorization"), "{:?}", other.seen());
}

#[tokio::test]
async fn a_login_is_shown_to_its_registry_and_to_nobody_it_points_at() {
    // The thief listens at another address; the registry says that its users log in there.
    let thief = Rogue::start_at("127.0.0.3", |_| Answer::Is(http("200 OK", "", br#"{"token":"x"}"#))).await;
    let realm = format!("http://{}/token", thief.address);
    let headers = format!("www-authenticate: Bearer realm=\"{realm}\",service=\"s\"\r\n");
    let rogue = Rogue::start(move |_| Answer::Is(http("401 Unauthorized", &headers, b""))).await;
    for login in [json!({ "auth": "dTpw" }), json!({ "identitytoken": "dTpw" })] {
        let docker = json!({ "auths": { &rogue.address: login } });
        let error = rogue.resolve("team/web:1", &docker).await.unwrap_err();
        assert!(matches!(error, ResolveError::ForeignRealm { .. }), "{error}");
        assert!(text(&error).contains("docker login 127.0.0.3"), "{}", text(&error));
    }
    assert!(thief.seen().is_empty(), "{:?}", thief.seen());
    // Nobody's login is nobody's loss: without one it is asked, as public registries want it.
    rogue.resolve("team/web:1", &nobody()).await.unwrap_err();
    assert_eq!(thief.seen().len(), 1);
    // A login that was made for that place is its own.
    let docker = json!({ "auths": { &rogue.address: { "auth": "dTpw" }, "127.0.0.3": { "auth": "YTpi" } } });
    rogue.resolve("team/web:1", &docker).await.unwrap_err();
    assert!(thief.got("Basic YTpi") && !thief.got("dTpw"), "{:?}", thief.seen());

    // The place of logins gets no redirect followed: the form with the token would be sent along.
    let to = thief.address.clone();
    let own = Arc::new(Mutex::new(String::new()));
    let address = own.clone();
    let before = thief.seen().len();
    let rogue = Rogue::start(move |path| {
        Answer::Is(if path.starts_with("/token") {
            http("307 Temporary Redirect", &format!("location: http://{to}/token\r\n"), b"")
        } else {
            let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", address.lock().unwrap());
            http("401 Unauthorized", &format!("www-authenticate: {realm}\r\n"), b"")
        })
    })
    .await;
    own.lock().unwrap().clone_from(&rogue.address);
    let docker = json!({ "auths": { &rogue.address: { "identitytoken": "refresh-me" } } });
    rogue.resolve("team/web:1", &docker).await.unwrap_err();
    assert!(rogue.got("refresh-me"), "the registry's own login page got it");
    assert_eq!(thief.seen().len(), before, "and nobody else");
}
