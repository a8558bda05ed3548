use std::os::unix::fs::symlink;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use windlass_core::reconcile::PlanNumber;
use windlass_core::release::Volume;

use super::*;
use crate::clock;
use crate::fixture::Fleet;
use crate::runtime::fake::FakeEngine;

/// A launch of a release that binds `path`.
fn launch(path: &str) -> Launch {
    let mut release = Fleet::new().payload(1);
    let volume = Volume { mount: "/data".to_owned(), host_path: Some(path.to_owned()), read_only: false };
    release.spec.volumes.insert("data".to_owned(), volume);
    Launch {
        plan: PlanNumber { epoch: 1, seq: 1 },
        slot: "production/web/0".parse().unwrap(),
        instance: "production.web.0.r1.1".to_owned(),
        release: Arc::new(VerifiedRelease::new(Digest::of(b"r1"), release)),
        generation: 0,
        image: "sha256:1".to_owned(),
        side: 0,
        ports: BTreeMap::new(),
        gpus: Vec::new(),
    }
}

#[tokio::test]
async fn a_folder_that_became_a_link_is_not_bound() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (allowed, app) = (root.join("srv"), root.join("srv/app"));
    std::fs::create_dir_all(&app).unwrap();
    let mounts = Mounts { allowed: vec![allowed.to_str().unwrap().to_owned()], own: vec![] };
    let engine = FakeEngine::new(clock::now);
    let guarded = Guarded::new(engine.clone(), mounts, HostPolicy::default(), root.join("none.sock"));
    let launch = launch(app.to_str().unwrap());
    guarded.create(&launch).await.unwrap();
    std::fs::remove_dir(&app).unwrap();
    symlink("/etc", &app).unwrap();
    let refused = guarded.create(&launch).await.unwrap_err();
    assert!(refused.to_string().contains("host policy: mounts"), "{refused}");
    assert_eq!(engine.world().journal.len(), 1, "{:?}", engine.world().journal);
    // What is bound is where the path leads, not the path.
    std::fs::remove_file(&app).unwrap();
    std::fs::create_dir(allowed.join("real")).unwrap();
    symlink(allowed.join("real"), &app).unwrap();
    let checked = guarded.check_mounts(&launch).unwrap();
    let bound = checked.release.release.spec.volumes["data"].host_path.clone().unwrap();
    assert_eq!(bound, allowed.join("real").to_str().unwrap());
    assert_eq!(
        (checked.release.digest, checked.release.content),
        (launch.release.digest, launch.release.content)
    );
}

#[tokio::test]
async fn plain_http_off_loopback_needs_the_policys_word() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let body = r#"{"RegistryConfig":{"InsecureRegistryCIDRs":["10.0.0.0/8"],"IndexConfigs":{}}}"#;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 64];
            drop(stream.read(&mut request).await);
            drop(stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{body}").as_bytes()).await);
        }
    });
    let mut image = Fleet::new().payload(1).spec.image;
    image.repository = "10.1.2.3:5000/web".to_owned();
    let pull = async |policy| {
        let engine = FakeEngine::new(clock::now);
        let guarded = Guarded::new(engine, Mounts::default(), policy, socket.clone());
        guarded.pull(&image, &|_| {}).await
    };
    let refused = pull(HostPolicy::default()).await.unwrap_err();
    assert!(refused.to_string().contains("insecure_registries"), "{refused}");
    let insecure_registries = vec!["10.1.2.3:5000".to_owned()];
    pull(HostPolicy { insecure_registries, ..HostPolicy::default() }).await.unwrap();
}
