//! Checks against real sockets.

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use windlass_core::Span;

use super::*;
use crate::clock;
use crate::runtime::fake::FakeEngine;

async fn failures(checks: Vec<HostCheck>) -> Vec<String> {
    let mut release = crate::fixture::release(1);
    release.spec.checks = checks;
    super::failures(&release, &FakeEngine::new(clock::now)).await
}

/// A server that reads a little and answers everybody with the same bytes; without any it only accepts.
async fn serve(tasks: &mut JoinSet<()>, answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tasks.spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if !answer.is_empty() {
                let mut request = [0; 512];
                let read = stream.read(&mut request).await.unwrap();
                assert!(read > 0);
                stream.write_all(answer).await.unwrap();
            }
            open.push(stream);
        }
    });
    address
}

fn check(name: &str, ask: HostAsk, millis: u64) -> HostCheck {
    HostCheck { name: name.to_owned(), ask, timeout: Span::from_millis(millis) }
}

#[tokio::test]
async fn each_kind_knows_whom_it_wants() {
    let mut tasks = JoinSet::new();
    let web: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
    let postgres = |address: String| HostAsk::Postgres { address };
    let redis = |address: String| HostAsk::Redis { address };
    let http = |address: &str, status: Vec<u16>| {
        let status = status.into_iter().map(StatusRange::from).collect();
        HostAsk::Http { url: format!("http://{address}/health"), status }
    };
    let at = serve(&mut tasks, web).await;
    let table = [
        (postgres(serve(&mut tasks, b"N").await), ""),
        (postgres(serve(&mut tasks, b"S").await), ""),
        (postgres(serve(&mut tasks, b"E\0\0\0\x08oops").await), ""),
        (postgres(at.clone()), "something answers that is not PostgreSQL"),
        (redis(serve(&mut tasks, b"+PONG\r\n").await), ""),
        (redis(serve(&mut tasks, b"-NOAUTH Authentication required.\r\n").await), ""),
        (redis(serve(&mut tasks, b"-LOADING Redis is loading\r\n").await), "LOADING Redis is loading"),
        (redis(at.clone()), "something answers that is not Redis"),
        (http(&at, vec![]), ""),
        (http(&at, vec![204]), ""),
        (http(&at, vec![200]), "wanted status 200, got HTTP 204"),
        (HostAsk::Tcp { address: at }, ""),
    ];
    for (ask, why) in table {
        let failed = failures(vec![check("it", ask.clone(), 30_000)]).await;
        let want = if why.is_empty() { vec![] } else { vec![format!("it ({ask}): {why}")] };
        assert_eq!(failed, want);
    }
}

#[tokio::test]
async fn all_are_made_and_each_failure_is_named() {
    let mut tasks = JoinSet::new();
    let silent = serve(&mut tasks, b"").await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let tcp = |address: &str| HostAsk::Tcp { address: address.to_owned() };
    let failed = failures(vec![
        check("broker", tcp(&closed), 30_000),
        check("reachable", tcp(&silent), 30_000),
        check("database", HostAsk::Postgres { address: silent.clone() }, 50),
        check(&format!("tcp {closed}"), tcp(&closed), 30_000),
    ])
    .await;
    let want = [
        format!("broker (tcp {closed}): connection refused"),
        format!("database (postgres {silent}): no answer within 50ms"),
        format!("tcp {closed}: connection refused"),
    ];
    assert_eq!(failed, want);
}

#[tokio::test]
async fn missing_files_of_a_volume_are_named_each() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bert.bin"), "x").unwrap();
    let mut release = crate::fixture::release(1);
    let volume = |host_path| windlass_core::release::Volume {
        mount: "/m".to_owned(),
        host_path,
        read_only: true,
        shared: false,
    };
    release.spec.volumes.insert("models".to_owned(), volume(None));
    release.spec.volumes.insert("bound".to_owned(), volume(Some(dir.path().display().to_string())));
    let files = |volume: &str, paths: &[&str]| {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        check("models", HostAsk::FilesExist { volume: volume.to_owned(), paths }, 30_000)
    };
    release.spec.checks = vec![
        files("models", &["bert.bin", "gpt.onnx"]),
        files("bound", &["a", "bert.bin"]),
        files("bound", &["bert.bin"]),
    ];
    let engine = FakeEngine::new(clock::now);
    let failed = super::failures(&release, &engine).await;
    let not_yet = "the volume is not on this host yet, so bert.bin, gpt.onnx are missing";
    let name = "models (files in volume";
    assert_eq!(failed, [format!("{name} models): {not_yet}"), format!("{name} bound): a is missing")]);
    let engine_name = windlass_core::release::volume_name(&release.service_id(), "models");
    engine.world().folders.insert(engine_name, dir.path().to_owned());
    let failed = super::failures(&release, &engine).await;
    assert_eq!(
        failed,
        [format!("{name} models): gpt.onnx is missing"), format!("{name} bound): a is missing")]
    );
}
