use serde_json::json;
use windlass_testkit::release::{image, payload, recreate, replicas};

use crate::digest::Digest;
use crate::host::{HostFacts, HostPolicy, Limit, Users};
use crate::release::Release;
use crate::units::Size;

use super::*;

/// A release that the policy of [`host`] allows.
fn release() -> Release {
    let spec = json!({
        "image": image("registry.example.com/team/web", "1", Digest::of(b"image")), "scale": replicas(1, 2),
        "ports": { "http": { "container": 3000, "host": 80 } }, "main_port": "http",
        "volumes": { "data": { "mount": "/data", "host_path": "/srv/web", "read_only": false } },
        "resources": { "cpu_millis": 500, "memory": "512MiB", "pids": 100, "gpus": { "count": 1 } },
        "security": {
            "user": "1000:1000", "read_only_root": true, "tmpfs": ["/tmp"], "capabilities": ["NET_BIND_SERVICE"],
        },
        "strategy": recreate("1s"),
    });
    serde_json::from_value(payload(1, spec)).unwrap()
}

fn host() -> HostFacts {
    let policy = HostPolicy {
        registries: vec!["registry.example.com/team".to_owned()],
        environments: Some(["production".parse().unwrap()].into()),
        host_ports: [80].into(),
        mounts: vec!["/srv".to_owned()],
        capabilities: ["NET_BIND_SERVICE".to_owned()].into(),
        gpus: Some(1),
        users: Users::NonRoot,
        max_image: Size::from_bytes(1000),
        ..HostPolicy::default()
    };
    HostFacts { memory: 1 << 30, policy, ..HostFacts::default() }
}

fn broken(change: impl Fn(&mut Release, &mut HostFacts)) -> Vec<&'static str> {
    let (mut release, mut facts) = (release(), host());
    change(&mut release, &mut facts);
    check(&facts.policy, &facts, &release).into_iter().map(|violation| violation.rule).collect()
}

type Case = (&'static str, &'static [&'static str], fn(&mut Release, &mut HostFacts));

#[test]
fn each_rule_refuses_what_it_should() {
    #[rustfmt::skip]
    let table: [Case; 35] = [
        ("nothing is wrong", &[], |_, _| {}),
        ("another environment", &["environments"], |r, _| r.environment = "test".parse().unwrap()),
        ("any environment", &[], |r, h| { r.environment = "test".parse().unwrap(); h.policy.environments = None; }),
        ("a registry that only begins alike", &["registries"], |r, _| r.spec.image.repository = "registry.example.com/teammate/web".into()),
        ("a host that only begins alike", &["registries"], |r, _| r.spec.image.repository = "registry.example.com.evil/team/web".into()),
        ("no registry is allowed", &["registries"], |_, h| h.policy.registries.clear()),
        ("the largest image", &[], |r, _| r.spec.image.size = 1000),
        ("a larger image", &["max_image"], |r, _| r.spec.image.size = 1001),
        ("another fixed port", &["host_ports"], |r, _| r.spec.ports.get_mut("http").unwrap().host = Some(443)),
        ("no fixed port", &[], |r, h| { r.spec.ports.get_mut("http").unwrap().host = None; h.policy.host_ports.clear(); }),
        ("a mount elsewhere", &["mounts"], |r, _| r.spec.volumes.get_mut("data").unwrap().host_path = Some("/srvx".into())),
        ("a mount of the machine", &["mounts"], |r, h| { r.spec.volumes.get_mut("data").unwrap().host_path = Some("/etc".into()); h.policy.mounts.push("/etc".into()); }),
        ("a mount of the engine", &["mounts"], |r, h| { r.spec.volumes.get_mut("data").unwrap().host_path = Some("/var/run/docker.sock".into()); h.policy.mounts.push("/var".into()); }),
        ("a mount that climbs", &["mounts"], |r, _| r.spec.volumes.get_mut("data").unwrap().host_path = Some("/srv/../etc".into())),
        ("a named volume", &[], |r, h| { r.spec.volumes.get_mut("data").unwrap().host_path = None; h.policy.mounts.clear(); }),
        ("a volume over /proc", &["container_paths"], |r, _| r.spec.volumes.get_mut("data").unwrap().mount = "/proc/sys".into()),
        ("a volume over all", &["container_paths"], |r, _| r.spec.volumes.get_mut("data").unwrap().mount = "/".into()),
        ("scratch over /sys", &["container_paths"], |r, _| r.spec.security.tmpfs = vec!["/sys".into()]),
        ("scratch over /dev", &["container_paths"], |r, _| r.spec.security.tmpfs = vec!["/dev/x".into()]),
        ("scratch at /dev/shm", &[], |r, _| r.spec.security.tmpfs = vec!["/dev/shm".into()]),
        ("another capability", &["capabilities"], |r, _| r.spec.security.capabilities = vec!["SYS_ADMIN".into()]),
        ("all capabilities", &["capabilities"], |r, h| { r.spec.security.capabilities = vec!["ALL".into()]; h.policy.capabilities.insert("ALL".into()); }),
        ("too many GPUs", &["gpus"], |r, _| r.spec.resources.gpus.as_mut().unwrap().count = 2),
        ("any number of GPUs", &[], |r, h| { r.spec.resources.gpus.as_mut().unwrap().count = 9; h.policy.gpus = None; }),
        ("root", &["users"], |r, _| r.spec.security.user = Some("0".into())),
        ("root in other digits", &["users"], |r, _| r.spec.security.user = Some("00:1000".into())),
        ("a name", &["users"], |r, _| r.spec.security.user = Some("node".into())),
        ("a sign", &["users"], |r, _| r.spec.security.user = Some("+1000".into())),
        ("nobody named", &["users"], |r, _| r.spec.security.user = None),
        ("any user", &[], |r, h| { r.spec.security.user = None; h.policy.users = Users::Any; }),
        ("more memory than the share", &["max_memory"], |r, _| r.spec.resources.memory = Size::from_bytes(1000 << 20)),
        ("more memory than the size", &["max_memory"], |_, h| h.policy.max_memory = Limit::Bytes(Size::from_bytes(511 << 20))),
        ("all the memory that is allowed", &[], |r, h| { let most = allowed_memory(&h.policy, h.memory); r.spec.resources.memory = Size::from_bytes(most); }),
        ("memory of the host unknown", &[], |_, h| h.memory = 0),
        ("two at once", &["registries", "users"], |r, h| { h.policy.registries.clear(); r.spec.security.user = None; }),
    ];
    for (case, want, change) in table {
        assert_eq!(broken(change), want, "{case}");
    }
    let shown = PolicyViolation { rule: "users", detail: "root".to_owned() }.to_string();
    assert_eq!(shown, "users: root", "what a refusal's detail says");
}
