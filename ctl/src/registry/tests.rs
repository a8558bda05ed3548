//! Against a small registry in this process: plain HTTP on loopback, which is what a resolver talks there.

mod again;
mod rogue;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use windlass_core::Digest;

use super::credentials::Credentials;
use super::http::{Http, TIMEOUT};
use super::*;

/// The answers of the registry, by path without `/v2/`; everything else is 404.
type Files = BTreeMap<String, Vec<u8>>;

/// The header with which it asks for a login.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Login {
    None,
    Basic,
    Bearer,
}

struct Registry {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

impl Registry {
    async fn start(files: Files, login: Login) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, host) = (requests.clone(), address.clone());
        let mut server = JoinSet::new();
        server.spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n")
                    && socket.read_buf(&mut head).await.unwrap() > 0
                {}
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let authorization = head
                    .lines()
                    .find_map(|line| line.strip_prefix("authorization: "))
                    .unwrap_or("-")
                    .to_owned();
                seen.lock().unwrap().push(format!("{path} {authorization}"));
                let answer = answer(&files, login, &host, &path, &authorization);
                socket.write_all(&answer).await.unwrap();
            }
        });
        Self { address, requests, _server: server }
    }

    async fn resolve(&self, image: &str, docker: &Value) -> Result<Image, ResolveError> {
        let credentials = Credentials::read(docker.to_string().as_bytes()).unwrap();
        let http = Http::new(Vec::new(), credentials, TIMEOUT).unwrap();
        let mut resolver = Resolver { http, platform: "linux/amd64".to_owned() };
        resolver.resolve(&format!("{}/{image}", self.address).parse().unwrap()).await
    }
}

fn answer(files: &Files, login: Login, host: &str, path: &str, authorization: &str) -> Vec<u8> {
    let http = |status: &str, header: &str, body: &[u8]| {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\n{header}content-length: {length}\r\nconnection: close\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    if path.starts_with("/token") {
        // `u:p` in base64.
        return match authorization {
            "Basic dTpw" => http("200 OK", "", br#"{"token":"secret"}"#),
            "-" => http("200 OK", "", br#"{"access_token":"anonymous"}"#),
            _ => http("401 Unauthorized", "", b""),
        };
    }
    let allowed = match login {
        Login::None => true,
        Login::Basic => authorization == "Basic dTpw",
        Login::Bearer => authorization == "Bearer secret",
    };
    if !allowed {
        let challenge = match login {
            Login::Bearer => format!(
                "Bearer realm=\"http://{host}/token\",service=\"test\",scope=\"repository:team/web:pull\""
            ),
            Login::Basic | Login::None => "Basic realm=\"test\"".to_owned(),
        };
        return http("401 Unauthorized", &format!("www-authenticate: {challenge}\r\n"), b"");
    }
    match files.get(path.trim_start_matches("/v2/")) {
        Some(body) => http("200 OK", "", body),
        None => http("404 Not Found", "", b"{}"),
    }
}

fn manifest(config: &[u8]) -> Vec<u8> {
    let layer =
        |size: u64| json!({ "mediaType": "x", "digest": Digest::of(&size.to_be_bytes()), "size": size });
    json!({
        "schemaVersion": 2,
        "config": { "digest": Digest::of(config), "size": config.len() },
        "layers": [layer(1000), layer(234)],
    })
    .to_string()
    .into_bytes()
}

/// One image for amd64 under `team/web:1`, one index of two platforms under `team/web:multi`.
fn files() -> Files {
    let config = json!({ "os": "linux", "architecture": "amd64" }).to_string().into_bytes();
    let single = manifest(&config);
    let arm = manifest(b"arm");
    let index = json!({ "schemaVersion": 2, "manifests": [
        { "digest": Digest::of(b"attestation"), "size": 1, "platform": { "os": "unknown", "architecture": "unknown" } },
        { "digest": Digest::of(&arm), "size": arm.len(), "platform": { "os": "linux", "architecture": "arm64", "variant": "v8" } },
        { "digest": Digest::of(&single), "size": single.len(), "platform": { "os": "linux", "architecture": "amd64" } },
    ]})
    .to_string()
    .into_bytes();
    let arm_only = json!({ "manifests": [{ "digest": Digest::of(&arm), "size": 1, "platform": { "os": "linux", "architecture": "arm64" } }] });
    Files::from([
        (format!("team/web/blobs/{}", Digest::of(&config)), config),
        (format!("team/web/manifests/{}", Digest::of(&single)), single.clone()),
        (format!("team/web/manifests/{}", Digest::of(b"lie")), single.clone()),
        ("team/web/manifests/1".to_owned(), single),
        ("team/web/manifests/multi".to_owned(), index),
        ("team/web/manifests/arm".to_owned(), arm_only.to_string().into_bytes()),
        ("team/web/manifests/odd".to_owned(), b"<html>".to_vec()),
    ])
}

fn text(error: &ResolveError) -> String {
    windlass_process::report::full(error, error.hint().as_deref())
}

#[tokio::test]
async fn a_tag_becomes_the_digest_of_what_was_answered() {
    let files = files();
    let (single, index) = (&files["team/web/manifests/1"], &files["team/web/manifests/multi"]);
    let want = [("1", Digest::of(single)), ("multi", Digest::of(index))];
    let registry = Registry::start(files.clone(), Login::None).await;
    for (tag, digest) in want {
        let image = registry.resolve(&format!("team/web:{tag}"), &json!({})).await.unwrap();
        assert_eq!((image.digest, image.size), (digest, 1234), "{tag}");
        assert_eq!(image.repository, format!("{}/team/web", registry.address));
        assert_eq!(image.platform, "linux/amd64");
    }
}

#[tokio::test]
async fn a_registry_that_asks_for_a_login_gets_dockers() {
    for login in [Login::Basic, Login::Bearer] {
        let registry = Registry::start(files(), login).await;
        let docker = json!({ "auths": { &registry.address: { "auth": "dTpw" } } });
        registry.resolve("team/web:1", &docker).await.unwrap();
        let requests = registry.requests.lock().unwrap().clone();
        assert_eq!(requests[0], "/v2/team/web/manifests/1 -", "nothing is sent unasked");
        if login == Login::Bearer {
            assert!(
                requests[1]
                    .starts_with("/token?service=test&scope=repository%3Ateam%2Fweb%3Apull&account=u ")
            );
            assert_eq!(requests[2], "/v2/team/web/manifests/1 Bearer secret");
            assert_eq!(requests.len(), 4, "the token is kept for the configuration: {requests:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_says_how_to_log_in() {
    let registry = Registry::start(files(), Login::Bearer).await;
    let error = registry.resolve("team/web:1", &json!({})).await.unwrap_err();
    let shown = text(&error).replace(&registry.address, "REGISTRY");
    insta::assert_snapshot!(shown, @"
    error: the registry `REGISTRY` refused access to `team/web`

    hint: log in with `docker login REGISTRY`
    ");
    let wrong = json!({ "auths": { &registry.address: { "username": "u", "password": "x" } } });
    let error = registry.resolve("team/web:1", &wrong).await.unwrap_err();
    assert!(text(&error).contains("does not suffice"), "{}", text(&error));
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let registry = Registry::start(files(), Login::None).await;
    let shown = |error: ResolveError| text(&error).replace(&registry.address, "REGISTRY");
    let missing = registry.resolve("team/web:2", &json!({})).await.unwrap_err();
    insta::assert_snapshot!(shown(missing), @"
    error: the registry has no `REGISTRY/team/web:2`

    hint: was it pushed? check the spelling of path and tag
    ");
    let arm = registry.resolve("team/web:arm", &json!({})).await.unwrap_err();
    insta::assert_snapshot!(shown(arm), @"
    error: `REGISTRY/team/web:arm` is not made for linux/amd64

    hint: there is linux/arm64; choose one with --platform
    ");
    let odd = registry.resolve("team/web:odd", &json!({})).await.unwrap_err();
    assert!(
        shown(odd)
            .starts_with("error: the registry's answer about `REGISTRY/team/web:odd` is no image manifest")
    );
}

#[tokio::test]
async fn a_registry_is_not_believed_about_digests() {
    let registry = Registry::start(files(), Login::None).await;
    let error = registry.resolve(&format!("team/web@{}", Digest::of(b"lie")), &json!({})).await.unwrap_err();
    assert!(matches!(error, ResolveError::WrongDigest { .. }), "{error}");
}

#[tokio::test]
async fn nobody_there_is_told_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut http = Http::new(Vec::new(), Credentials::default(), TIMEOUT).unwrap();
    http.patience = again::short(|_| {});
    let mut resolver = Resolver { http, platform: "linux/amd64".to_owned() };
    let error = resolver.resolve(&format!("{address}/web:1").parse().unwrap()).await.unwrap_err();
    insta::assert_snapshot!(text(&error).replace(&address, "REGISTRY"), @"
    error: failed to reach the registry `REGISTRY`
      caused by: Connection refused (os error 111)

    hint: is the registry running, and is the port right?
    ");
}

#[test]
fn what_is_pinned_by_hand_needs_no_registry() {
    let digest = Digest::of(b"image");
    let image =
        offline(&format!("registry.example.com/web@{digest}").parse().unwrap(), "linux/arm64").unwrap();
    assert_eq!((image.digest, image.platform.as_str(), image.size), (digest, "linux/arm64", 0));
    let error = offline(&"registry.example.com/web:1".parse().unwrap(), "linux/amd64").unwrap_err();
    assert!(error.hint().unwrap().contains("@sha256:"));
    assert!(offline(&format!("web@{digest}").parse().unwrap(), "amd64").is_err());
}
