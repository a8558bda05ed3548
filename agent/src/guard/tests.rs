use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use windlass_core::reconcile::{Observed, PlanNumber, RestartPolicy, VerifiedRelease};
use windlass_core::release::{File, Volume};

use super::*;
use crate::clock;
use crate::runtime::HeldBind;
use crate::runtime::fake::FakeEngine;

/// A launch of a release that binds `path`.
fn launch(path: &str) -> Launch {
    let mut release = crate::fixture::release(1);
    let volume = Volume {
        mount: "/data".to_owned(),
        host_path: Some(path.to_owned()),
        read_only: false,
        shared: false,
    };
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
        network: None,
        hook: None,
    }
}

/// A host with `srv` allowed, and an agent's folder beside it.
struct Scene {
    root: PathBuf,
    engine: FakeEngine,
    guarded: Guarded<FakeEngine>,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for folder in ["srv/app/data", "srv/other", "agent", "elsewhere"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let text = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let mounts = Mounts { allowed: vec![text("srv")], own: vec![text("agent")] };
        let engine = FakeEngine::new(clock::now);
        let (socket, files) = (root.join("none.sock"), root.join("agent"));
        let guarded = Guarded::new(engine.clone(), mounts, HostPolicy::default(), socket, files);
        Self { root, engine, guarded, _dir: dir }
    }

    fn at(&self, name: &str) -> String {
        self.root.join(name).to_str().unwrap().to_owned()
    }

    fn launch(&self, name: &str) -> Launch {
        launch(&self.at(name))
    }

    async fn made(&self, launch: &Launch) -> String {
        self.guarded.create(launch).await.unwrap()
    }

    async fn running(&self, launch: &Launch) -> String {
        let id = self.made(launch).await;
        self.guarded.start(&id).await.unwrap();
        id
    }

    fn swap(&self, name: &str, target: &str) {
        fs::rename(self.root.join(name), self.root.join("aside")).unwrap();
        symlink(target, self.root.join(name)).unwrap();
    }

    fn swap_back(&self, name: &str) {
        fs::remove_file(self.root.join(name)).unwrap();
        fs::rename(self.root.join("aside"), self.root.join(name)).unwrap();
    }

    fn is_up(&self, id: &str) -> bool {
        self.engine.world().containers[id].state.is_up()
    }
}

fn read_only(mut launch: Launch) -> Launch {
    let release = Arc::make_mut(&mut launch.release);
    release.release.spec.volumes.values_mut().for_each(|volume| volume.read_only = true);
    launch
}

fn why(refused: Result<impl std::fmt::Debug, RuntimeError>) -> String {
    let error = refused.unwrap_err();
    assert!(matches!(error, RuntimeError::Forbidden(_)), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_folder_that_became_a_link_is_not_bound() {
    let scene = Scene::new();
    let launch = scene.launch("srv/app");
    scene.made(&launch).await;
    scene.swap("srv/app", "/etc");
    let refused = why(scene.guarded.create(&launch).await);
    assert!(refused.contains("host policy: mounts: volume `data`"), "{refused}");
    assert_eq!(scene.engine.world().journal.len(), 1, "{:?}", scene.engine.world().journal);
    scene.swap_back("srv/app");
    // The engine is given where the path leads, not the path.
    scene.swap("srv/app", &scene.at("srv/other"));
    let checked = scene.guarded.checked_launch(&launch).await.unwrap();
    let bound = checked.release.release.spec.volumes["data"].host_path.clone().unwrap();
    assert_eq!(bound, scene.at("srv/other"));
    assert_eq!(
        (checked.release.digest, checked.release.content),
        (launch.release.digest, launch.release.content)
    );
}

#[tokio::test]
async fn every_start_checks_the_folder_again() {
    let scene = Scene::new();
    let id = scene.running(&scene.launch("srv/app/data")).await;
    for (part, target) in [("srv/app/data", "/etc"), ("srv/app", "/etc"), ("srv/app/data", "../other")] {
        scene.engine.exit("production.web.0.r1.1", 1);
        scene.swap(part, target);
        let refused = why(scene.guarded.start(&id).await);
        assert!(refused.contains("host policy: mounts: ") && refused.contains("lead"), "{refused}");
        assert!(!scene.is_up(&id));
        scene.swap_back(part);
        scene.guarded.start(&id).await.unwrap();
        assert!(scene.is_up(&id));
    }
    fs::set_permissions(scene.root.join("srv/app"), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(why(scene.guarded.start(&id).await).contains("chmod go-w"));
}

#[tokio::test]
async fn a_bind_inside_a_writable_bind_does_not_start() {
    let scene = Scene::new();
    let (outer, inner) = (scene.launch("srv/app"), scene.launch("srv/app/data"));
    let outer_id = scene.running(&outer).await;
    let refused = why(scene.guarded.create(&inner).await);
    assert!(refused.contains("lies inside") && refused.contains("container `production"), "{refused}");
    // Whichever starts second is refused, also of containers that are there already.
    scene.engine.exit("production.web.0.r1.1", 0);
    let inner_id = scene.running(&inner).await;
    assert!(why(scene.guarded.start(&outer_id).await).contains("lies inside"));
    assert!(why(scene.guarded.create(&outer).await).contains("lies inside"));
    scene.guarded.stop(&inner_id).await.unwrap();
    scene.guarded.start(&outer_id).await.unwrap();
    assert!(why(scene.guarded.start(&inner_id).await).contains("lies inside"));
    // One that may only read swaps nothing; nor does one that has the same folder.
    scene.guarded.stop(&outer_id).await.unwrap();
    scene.running(&read_only(outer.clone())).await;
    scene.guarded.start(&inner_id).await.unwrap();
    scene.running(&inner).await;
}

#[tokio::test]
async fn a_container_of_somebody_else_counts_through_links_too() {
    let scene = Scene::new();
    symlink(scene.root.join("srv/app"), scene.root.join("alias")).unwrap();
    let foreign = HeldBind {
        container: "foreign".to_owned(),
        name: "compose-db".to_owned(),
        is_up: true,
        volume: None,
        path: scene.at("alias"),
        is_writable: true,
    };
    scene.engine.world().binds.binds.push(foreign);
    let inner = scene.launch("srv/app/data");
    assert!(why(scene.guarded.create(&inner).await).contains("container `compose-db`"));
    scene.engine.world().binds.binds[0].is_up = false;
    scene.running(&inner).await;
}

#[tokio::test]
async fn a_volume_that_is_a_bind_is_refused() {
    let scene = Scene::new();
    let mut named = scene.launch("srv/app");
    Arc::make_mut(&mut named.release).release.spec.volumes.get_mut("data").unwrap().host_path = None;
    let id = scene.running(&named).await;
    let volume = "windlass.production.web.data".to_owned();
    scene.engine.world().binds.volumes.insert(volume.clone(), "/etc".to_owned());
    let refused = why(scene.guarded.create(&named).await);
    assert!(refused.contains("bind of `/etc` by its driver options"), "{refused}");
    let (name, path) = ("web".to_owned(), "/etc".to_owned());
    let bind =
        HeldBind { container: id.clone(), name, is_up: false, volume: Some(volume), path, is_writable: true };
    scene.engine.world().binds.binds.push(bind);
    assert!(why(scene.guarded.start(&id).await).contains("bind of `/etc` by its driver options"));
}

#[tokio::test]
async fn files_are_laid_down_only_where_nobody_swaps_them() {
    let scene = Scene::new();
    let mut with_files = scene.launch("srv/app");
    let spec = &mut Arc::make_mut(&mut with_files.release).release.spec;
    spec.volumes.clear();
    spec.files.insert("/etc/app.conf".to_owned(), File { content: String::new(), mode: 0o644 });
    scene.made(&with_files).await;
    fs::set_permissions(&scene.root, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = why(scene.guarded.create(&with_files).await);
    assert!(refused.contains("files: ") && refused.contains("chmod go-w"), "{refused}");
}

#[tokio::test]
async fn restarts_of_a_container_with_binds_are_the_agents() {
    let scene = Scene::new();
    let bound = scene.running(&scene.launch("srv/app")).await;
    let mut plain = scene.launch("srv/app");
    Arc::make_mut(&mut plain.release).release.spec.volumes.clear();
    let plain = scene.running(&plain).await;
    for id in [&bound, &plain] {
        scene.engine.keep_running(id).await.unwrap(); // as an agent of an earlier version did
    }
    scene.guarded.tidy(&BTreeSet::new()).await;
    let policy = |id: &str| scene.engine.world().containers[id].policy;
    assert_eq!((policy(&bound), policy(&plain)), (RestartPolicy::No, RestartPolicy::UnlessStopped));
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
    let mut image = crate::fixture::release(1).spec.image;
    image.repository = "10.1.2.3:5000/web".to_owned();
    let pull = async |policy| {
        let engine = FakeEngine::new(clock::now);
        let guarded = Guarded::new(engine, Mounts::default(), policy, socket.clone(), PathBuf::from("/"));
        guarded.pull(&image, &|_| {}).await
    };
    let refused = pull(HostPolicy::default()).await.unwrap_err();
    assert!(refused.to_string().contains("insecure_registries"), "{refused}");
    let insecure_registries = vec!["10.1.2.3:5000".to_owned()];
    pull(HostPolicy { insecure_registries, ..HostPolicy::default() }).await.unwrap();
}

/// The bytes are the same; whether this host may have them is for the registry to say.
#[tokio::test]
async fn an_image_from_elsewhere_is_not_here_if_policy_says_so() {
    let mine = crate::fixture::release(1).spec.image;
    let other = Image { repository: "registry.example.com/other".to_owned(), ..mine.clone() };
    for (verify_origin, is_here) in [(true, false), (false, true)] {
        let policy = HostPolicy {
            verify_origin,
            insecure_registries: vec!["registry.example.com".to_owned()],
            ..HostPolicy::default()
        };
        let engine = FakeEngine::new(clock::now);
        let guarded = Guarded::new(engine, Mounts::default(), policy, PathBuf::from("/"), PathBuf::from("/"));
        let pulled = guarded.pull(&mine, &|_| {}).await.unwrap();
        let images = guarded.images().await.unwrap();
        assert_eq!(images.get(&mine.digest), Some(&pulled));
        let seen = Observed { images, ..Observed::default() };
        assert!(seen.image(&mine).is_some(), "{verify_origin}");
        assert_eq!(seen.image(&other).is_some(), is_here, "{verify_origin}");
    }
}
