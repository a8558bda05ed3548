use std::collections::HashMap;

use bollard::models::PortBinding;
use serde_json::{Value, json};

use super::*;

fn release() -> VerifiedRelease {
    let mut release = crate::fixture::release(1);
    let spec = &mut release.spec;
    spec.command = Some(vec!["/app".to_owned()]);
    spec.env = [("MODE".to_owned(), "web".to_owned())].into();
    spec.ports = [(
        "http".to_owned(),
        windlass_core::release::Port { container: 8080, host: None, protocol: Default::default() },
    )]
    .into();
    spec.security.capabilities = vec!["NET_BIND_SERVICE".to_owned()];
    let digest = windlass_core::Digest::of(b"release");
    VerifiedRelease::new(digest, release)
}

fn local() -> LocalHost {
    windlass_testkit::plan::local("h1", "127.0.0.1")
}

fn said(release: &VerifiedRelease) -> Identity {
    Identity {
        instance: "default.web.0.r1.1".to_owned(),
        slot: format!("{}/0", release.release.service_id()).parse().unwrap(),
        release: release.digest,
        content: release.content,
        counter: release.release.counter,
        generation: 0,
        side: 0,
        ports: [("http".to_owned(), 20_001)].into(),
        gpus: Vec::new(),
        plan: None,
    }
}

fn image(release: &VerifiedRelease) -> ImageInspect {
    let (os, architecture) = release.release.spec.image.platform.split_once('/').unwrap_or(("", ""));
    serde_json::from_value(json!({
        "RepoDigests": [format!("registry/web@{}", release.release.spec.image.digest)],
        "Os": os, "Architecture": architecture,
        "Config": { "Env": ["PATH=/bin", "MODE=image"], "Cmd": ["serve"], "User": "app", "WorkingDir": "/srv" },
    }))
    .unwrap()
}

/// As an engine shows what was made for the release.
fn made() -> ContainerInspectResponse {
    let mut seen: ContainerInspectResponse = serde_json::from_value(json!({
        "Config": { "Env": ["MODE=web", "PATH=/bin"], "Entrypoint": ["/app"], "User": "app", "WorkingDir": "/srv" },
        "HostConfig": {
            "Privileged": false, "ReadonlyRootfs": true, "CapAdd": ["CAP_NET_BIND_SERVICE"], "CapDrop": ["ALL"],
            "NetworkMode": "bridge", "IpcMode": "private", "PidMode": "", "SecurityOpt": ["no-new-privileges:true"],
        },
    }))
    .unwrap();
    let binding = PortBinding { host_ip: None, host_port: Some("20001".to_owned()) };
    let bindings = HashMap::from([("8080/tcp".to_owned(), Some(vec![binding]))]);
    let host = seen.host_config.as_mut().unwrap();
    host.port_bindings = Some(bindings);
    host.readonly_rootfs = Some(release().release.spec.security.read_only_root);
    seen
}

/// The same with a field of `Config` or `HostConfig` changed.
fn changed(part: &str, field: &str, value: Value) -> ContainerInspectResponse {
    let mut seen = serde_json::to_value(made()).unwrap();
    seen[part][field] = value;
    serde_json::from_value(seen).unwrap()
}

#[test]
fn a_release_that_calls_services_is_in_its_inner_network() {
    let mut release = release().release;
    release.spec.uses = vec!["api".parse().unwrap()];
    let network = format!("windlass.demo.h1.{}", release.environment);
    let release = VerifiedRelease::new(windlass_core::Digest::of(b"release"), release);
    let fits = |seen: &ContainerInspectResponse| {
        is_made_as(seen, &said(&release), &image(&release), &release, &local())
    };
    let mut inner = changed("HostConfig", "NetworkMode", json!(network));
    assert!(!fits(&inner), "it has no name of the service");
    let host = inner.host_config.as_mut().unwrap();
    host.extra_hosts = Some(vec!["api:10.210.0.1".to_owned()]);
    assert!(fits(&inner));
    assert!(!fits(&made()), "the usual network");
    assert!(!fits(&changed("HostConfig", "NetworkMode", json!("windlass.demo.h2.default"))), "another one");
    let plain = self::release();
    assert!(!is_made_as(&inner, &said(&plain), &image(&plain), &plain, &local()), "it calls nothing");
}

#[test]
fn what_was_made_for_a_release_is_recognised() {
    let release = release();
    assert!(is_made_as(&made(), &said(&release), &image(&release), &release, &local()));
    let void = changed("Config", "Env", json!(["MODE=web", "PATH=/bin", "NVIDIA_VISIBLE_DEVICES=void"]));
    assert!(
        is_made_as(&void, &said(&release), &image(&release), &release, &local()),
        "no devices were signed"
    );
}

#[test]
fn any_difference_makes_a_stranger() {
    let release = release();
    #[rustfmt::skip]
    let table = [
        ("another command", changed("Config", "Entrypoint", json!(["/bin/sh"]))),
        ("arguments", changed("Config", "Cmd", json!(["-c", "sleep 1d"]))),
        ("another user", changed("Config", "User", json!("root"))),
        ("another folder", changed("Config", "WorkingDir", json!("/tmp"))),
        ("one more variable", changed("Config", "Env", json!(["MODE=web", "PATH=/bin", "LD_PRELOAD=/x"]))),
        ("one variable less", changed("Config", "Env", json!(["PATH=/bin"]))),
        ("another value", changed("Config", "Env", json!(["MODE=image", "PATH=/bin"]))),
        ("privileged", changed("HostConfig", "Privileged", json!(true))),
        ("a capability", changed("HostConfig", "CapAdd", json!(["CAP_NET_BIND_SERVICE", "CAP_SYS_ADMIN"]))),
        ("nothing dropped", changed("HostConfig", "CapDrop", json!([]))),
        ("new privileges", changed("HostConfig", "SecurityOpt", json!([]))),
        ("no confinement", changed("HostConfig", "SecurityOpt", json!(["no-new-privileges:true", "seccomp=unconfined"]))),
        ("the host's network", changed("HostConfig", "NetworkMode", json!("host"))),
        ("the host's processes", changed("HostConfig", "PidMode", json!("host"))),
        ("a bind", changed("HostConfig", "Binds", json!(["/:/host"]))),
        ("a mount", changed("HostConfig", "Mounts", json!([{ "Target": "/d", "Source": "/", "Type": "bind" }]))),
        ("a device", changed("HostConfig", "Devices", json!([{ "PathOnHost": "/dev/sda" }]))),
        ("a GPU", changed("HostConfig", "DeviceRequests", json!([{ "DeviceIDs": ["GPU-1"] }]))),
        ("every GPU", changed("Config", "Env", json!(["MODE=web", "PATH=/bin", "NVIDIA_VISIBLE_DEVICES=all"]))),
        ("another port", changed("HostConfig", "PortBindings", json!({ "8080/tcp": [{ "HostPort": "20002" }] }))),
        ("no port", changed("HostConfig", "PortBindings", json!({}))),
        ("every port", changed("HostConfig", "PublishAllPorts", json!(true))),
    ];
    for (case, seen) in table {
        assert!(!is_made_as(&seen, &said(&release), &image(&release), &release, &local()), "{case}");
    }
    // An image of `docker commit` has no digest of a registry.
    let committed = ImageInspect { repo_digests: Some(Vec::new()), ..image(&release) };
    assert!(!is_made_as(&made(), &said(&release), &committed, &release, &local()), "another image");
    let other = Identity { content: windlass_core::Digest::of(b"x"), ..said(&release) };
    assert!(!is_made_as(&made(), &other, &image(&release), &release, &local()), "labels that do not fit");
}
