//! Steps 11 and 12: a slot that this host does not want, whoever signed for it.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;
use windlass_core::Digest;
use windlass_tests::Lab;
use windlass_tests::rogue::{Draft, Target};

use super::conclude;
use super::slots::{Bad, Row, release, run, without_health};

fn changed(target: &Target, service: &str, change: impl FnOnce(Draft) -> Draft) -> Bad {
    Bad::honest(target, &change(release(target, service)))
}

fn from(target: &Target, service: &str, change: impl FnOnce(&str) -> String) -> Bad {
    let repository = change(&target.fresh.repository);
    changed(target, service, |draft| draft.with("spec.image.repository", repository))
}

/// Binds a path of the host.
fn bind(target: &Target, service: &str, path: &str) -> Bad {
    let volumes = json!({ "data": { "mount": "/data", "host_path": path } });
    changed(target, service, |draft| draft.with("spec.volumes", volumes))
}

fn mounted_at(target: &Target, service: &str, path: &str) -> Bad {
    changed(target, service, |draft| draft.with("spec.volumes", json!({ "data": { "mount": path } })))
}

fn user(target: &Target, service: &str, user: &str) -> Bad {
    changed(target, service, |draft| draft.with("spec.security.user", user))
}

/// Of the image that is here already, so that only room is missing.
fn here(target: &Target, service: &str, change: impl FnOnce(Draft) -> Draft) -> Bad {
    Bad::honest(target, &change(Draft::release(service, 7, &target.image)))
}

const POLICY: &str = r#"
environments = ["production"]
host_ports = [8443]
port_range = "24000-24007"
capabilities = ["NET_BIND_SERVICE"]
gpus = 1
users = "non-root"
max_memory = "300MiB"
max_image = "900TiB"
"#;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    ("a registry nobody named", "policy", "registries", |t, s| from(t, s, |_| "registry.example.com/web".to_owned())),
    ("the public registry", "policy", "registries", |t, s| from(t, s, |_| "docker.io/library/web".to_owned())),
    ("a path that only begins alike", "policy", "registries", |t, s| from(t, s, |r| format!("{r}mate"))),
    ("a port that only begins alike", "policy", "registries", |t, s| from(t, s, |r| r.replace(":5000", ":50000"))),
    ("another port", "policy", "registries", |t, s| from(t, s, |r| r.replace(":5000", ":5001"))),
    ("no port", "policy", "registries", |t, s| from(t, s, |r| r.replace(":5000", ""))),
    ("the right name under another host", "policy", "registries", |t, s| from(t, s, |r| r.replace(":5000", ".evil.example:5000"))),
    ("the right host as a path", "policy", "registries", |t, s| from(t, s, |r| format!("evil.example/{}", r.replace(':', "/")))),
    ("an image that is too big", "policy", "max_image", |t, s| changed(t, s, |d| d.with("spec.image.size", 1_u64 << 50))),

    ("a fixed port nobody listed", "policy", "host_ports", |t, s| changed(t, s, |d| d.with("spec.ports.http.host", 80))),
    ("a fixed port of the agent's own range", "policy", "host_ports", |t, s| changed(t, s, |d| d.with("spec.ports.http.host", 24_000))),
    ("the engine's socket", "policy", "mounts", |t, s| { let socket = t.host.engine.url().replace("unix://", ""); bind(t, s, &socket) }),
    ("the folder of the engine's socket", "policy", "mounts", |t, s| { let socket = t.host.engine.url().replace("unix://", ""); bind(t, s, socket.rsplit_once('/').unwrap().0) }),
    ("/", "policy", "mounts", |t, s| bind(t, s, "/")),
    ("/etc", "policy", "mounts", |t, s| bind(t, s, "/etc")),
    ("/proc", "policy", "mounts", |t, s| bind(t, s, "/proc/1/root")),
    ("/var/run/docker.sock", "policy", "mounts", |t, s| bind(t, s, "/var/run/docker.sock")),
    ("the agent's folder", "policy", "mounts", |t, s| bind(t, s, &t.at("agent"))),
    ("above the agent's folder", "policy", "mounts", |t, s| bind(t, s, &t.at(""))),
    ("the policy's file", "policy", "mounts", |t, s| bind(t, s, &t.at("policy.toml"))),
    ("a folder that only begins alike", "policy", "mounts", |t, s| bind(t, s, &t.at("srvx"))),
    ("a link to /etc", "policy", "leads elsewhere", |t, s| bind(t, s, &t.at("srv/link"))),
    ("below a link to /", "policy", "leads elsewhere", |t, s| bind(t, s, &t.at("srv/root/etc"))),
    ("a link to the agent's folder", "policy", "leads elsewhere", |t, s| bind(t, s, &t.at("srv/mine"))),
    ("a link to a link", "policy", "leads elsewhere", |t, s| bind(t, s, &t.at("srv/twice"))),
    ("a link that leads nowhere yet", "policy", "mounts", |t, s| bind(t, s, &t.at("srv/nowhere"))),
    ("over /proc/sys", "policy", "container_paths", |t, s| mounted_at(t, s, "/proc/sys")),
    ("over /sys, written oddly", "policy", "container_paths", |t, s| mounted_at(t, s, "//sys/./firmware")),
    ("scratch over /dev", "policy", "container_paths", |t, s| changed(t, s, |d| d.with("spec.security.tmpfs", vec!["/dev"]))),
    ("a capability nobody listed", "policy", "capabilities", |t, s| changed(t, s, |d| d.with("spec.security.capabilities", vec!["NET_BIND_SERVICE", "SYS_ADMIN"]))),
    ("all capabilities", "policy", "capabilities", |t, s| changed(t, s, |d| d.with("spec.security.capabilities", vec!["ALL"]))),
    ("root", "policy", "users", |t, s| user(t, s, "root")),
    ("0", "policy", "users", |t, s| user(t, s, "0")),
    ("0 with a group", "policy", "users", |t, s| user(t, s, "00:65534")),
    ("a name", "policy", "users", |t, s| user(t, s, "nobody")),
    ("a number that wraps to 0", "policy", "users", |t, s| user(t, s, "4294967296")),
    ("the image's own user", "policy", "users", |t, s| changed(t, s, |d| d.without("spec.security.user"))),
    ("two GPUs of one", "policy", "gpus", |t, s| changed(t, s, |d| d.with("spec.resources.gpus", json!({ "count": 2 })))),
    ("more memory than all may have", "policy", "max_memory", |t, s| changed(t, s, |d| d.with("spec.resources.memory", "301MiB"))),

    ("more memory than is left", "no_room", "memory", |t, s| here(t, s, |d| d.with("spec.resources.memory", "290MiB"))),
    ("more disk than is left", "no_room", "disk", |t, s| {
        let digest = Digest::of(b"an image that nobody has");
        changed(t, s, |d| d.with("spec.image.size", 800_u64 << 40).with("spec.image.digest", digest.to_string()))
    }),
    ("a hook with two GPUs of one", "policy", "gpus: a hook", |t, s| changed(t, s, |d| d.with("version", 4).with("spec.hooks", json!({ "before": [{ "name": "a", "run": ["/web"], "gpus": 2, "timeout": "1m" }] })))),
    ("a GPU that the plan does not give", "no_room", "gpu", |t, s| here(t, s, |d| d.with("spec.resources.gpus", json!({ "count": 1 })))),
    ("a GPU that is not there", "no_room", "gpu", |t, s| here(t, s, |d| d.with("spec.resources.gpus", json!({ "count": 1 }))).with("gpus", vec!["GPU-0"])),
    ("more ports than there are", "no_room", "ports", |t, s| here(t, s, |d| {
        let ports: serde_json::Map<String, _> = (0..20).map(|n| (format!("p{n}"), json!({ "container": 9000 + n }))).collect();
        without_health(d).with("spec.ports", ports).with("spec.main_port", "p0")
    })),
];

#[test]
fn slot_against_host_policy_is_refused_alone() {
    let lab = Lab::enter();
    let srv = lab.folder().join("fleets/rogue-policy/srv").display().to_string();
    let policy = format!("{POLICY}mounts = [\"{srv}\"]");
    let mut target = Target::start_in(lab, "rogue-policy", &policy, |_, _, _| {});
    assert_eq!(target.at("srv"), srv);
    fs::create_dir_all(target.at("srv/data")).unwrap();
    fs::create_dir_all(target.at("srvx")).unwrap();
    for (link, to) in
        [("link", "/etc"), ("root", "/"), ("mine", "../agent"), ("twice", "link"), ("nowhere", "gone")]
    {
        symlink(to, target.at(&format!("srv/{link}"))).unwrap();
    }
    let wrong = run(&mut target, ROWS);
    conclude(ROWS.len(), &wrong);

    // A link inside the allowed folder is fine, and the engine is given what it led to when it was judged.
    symlink("data", target.at("srv/good")).unwrap();
    let volumes =
        json!({ "data": { "mount": "/data", "host_path": target.at("srv/good"), "read_only": true } });
    let bound = Draft::release("production/bound", 1, &target.image).with("spec.volumes", volumes);
    target.install("production/bound/0", &bound);
    let container = target.host.engine.running("bound").unwrap().remove(0);
    let seen = target.host.engine.inspect(&container.id).unwrap();
    assert_eq!(seen["Mounts"][0]["Source"], target.at("srv/data").as_str(), "{}", seen["Mounts"]);
    hardened(&seen);
}

/// The options of every container of ours, whatever its release says.
fn hardened(seen: &serde_json::Value) {
    let config = &seen["HostConfig"];
    assert_eq!(config["Privileged"], false);
    assert_eq!(config["CapDrop"], json!(["ALL"]));
    assert_eq!(config["SecurityOpt"], json!(["no-new-privileges:true"]));
    assert_eq!(config["NetworkMode"], "bridge");
    for field in ["PidMode", "UTSMode", "UsernsMode"] {
        assert_eq!(config[field], "", "{field}");
    }
    assert!(config["Devices"].as_array().is_none_or(Vec::is_empty), "{}", config["Devices"]);
    assert!(config["PidsLimit"].as_i64() > Some(0) && config["Memory"].as_i64() > Some(0), "{config}");
    assert!(
        config["MaskedPaths"].as_array().is_some_and(|paths| paths.len() > 5),
        "{}",
        config["MaskedPaths"]
    );
}
