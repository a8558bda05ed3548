use super::*;

use crate::release::{Check, Gpus, OnFailure, OnLost, OnReturn, OrderRule, Scale, Strategy};
use crate::units::{Amount, Size, Span};

#[test]
fn a_shared_volume_is_signed_as_such() {
    let spec =
        |volume: &str| spec_of(&format!("service: web\nimage: nginx:1\nvolumes: {{ data: {volume} }}\n"));
    let alone = spec("{ mount: /data }");
    assert_eq!((alone.version(), alone.volume_of_one()), (1, Some("data")));
    let json = serde_json::to_value(&alone).unwrap();
    assert!(json["volumes"]["data"].get("shared").is_none(), "its bytes are what they were: {json}");
    let shared = spec("{ mount: /data, shared: true }");
    assert_eq!((shared.version(), shared.volume_of_one()), (7, None));
    let text =
        "service: web\nimage: nginx:1\nvolumes: { data: { mount: /data, host_path: /srv, shared: true } }\n";
    let said = try_load(text).unwrap_err().to_string();
    assert!(
        said.contains("`volumes.data.shared`: is about named volumes\n  hint: leave `shared` away"),
        "{said}"
    );
}

#[test]
fn silence_means_the_defaults() {
    let spec = spec_of("service: web\nimage: nginx:1\n");
    insta::assert_snapshot!(serde_json::to_string_pretty(&spec).unwrap(), @r#"
    {
      "image": {
        "reference": "registry.example.com/web:1",
        "repository": "registry.example.com/web",
        "digest": "sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d",
        "platform": "linux/amd64",
        "size": 1
      },
      "scale": {
        "replicas": {
          "min": 1,
          "max": 1
        }
      },
      "placement": {
        "spread": "host"
      },
      "resources": {
        "cpu_millis": 1000,
        "memory": "512MiB",
        "pids": 512
      },
      "security": {
        "read_only_root": false
      },
      "health": {},
      "strategy": {
        "rolling": {
          "batch": "25%",
          "max_surge": "25%",
          "max_unavailable": 0,
          "order": "auto",
          "min_ready": "10s"
        }
      },
      "soak": "30s",
      "progress_deadline": "10m",
      "stop_timeout": "10s",
      "on_failure": "rollback_all",
      "rollback_on": {
        "restarts": 1,
        "unhealthy_for": "2m"
      },
      "on_lost": {
        "on_return": "keep_new"
      }
    }
    "#);
}

#[test]
fn what_is_written_is_what_is_signed() {
    let spec = spec_of(
        r#"
service: web
image: nginx:1
command: ["node", "server.js"]
args: []
workdir: /app
replicas: { min: 2, max: 10 }
placement: { require: { zone: 1 }, hosts: [h1], spread: pack }
ports: { http: 3001, admin: { container: 9, host: 9000 } }
env: { A: 1.10, B: 007, C: yes, D: True, E: 0x1F, F: 1e3, G: "x: y" }
files: { /a: { content: "hi\n" }, /b: { content: "", mode: "0o600" } }
volumes: { data: { mount: /var/lib/app }, x: { mount: /x, host_path: /srv/x, read_only: true } }
resources: { cpu: 1.5, memory: 2GiB, pids: 64, gpus: { count: 1, memory: 6GiB } }
security: { user: 1000, read_only_root: true, tmpfs: [/tmp], capabilities: [cap_net_admin, NET_ADMIN, chown] }
strategy: { rolling: { batch: 1, max_surge: 0, max_unavailable: 50%, order: stop_first, min_ready: 0s } }
on_failure: rollback_failed
on_lost: { replace_after: 5m, stop_isolated_after: never, on_return: keep_old }
"#,
    );
    assert_eq!(spec.command, Some(vec!["node".into(), "server.js".into()]));
    assert_eq!(spec.args, Some(vec![]), "an empty list clears the image's arguments");
    assert_eq!(spec.scale, Scale::Replicas { min: 2, max: 10 });
    assert_eq!(spec.placement.require["zone"], "1");
    assert_eq!(spec.main_port.as_deref(), Some("http"), "the first one written, not the first by name");
    assert_eq!(spec.ports["admin"].host, Some(9000));
    let env: Vec<&str> = spec.env.values().map(String::as_str).collect();
    assert_eq!(env, ["1.10", "007", "yes", "True", "0x1F", "1e3", "x: y"], "scalars keep their spelling");
    assert_eq!((spec.files["/a"].content.as_str(), spec.files["/a"].mode), ("aGkK", 0o644));
    assert_eq!(spec.files["/b"].mode, 0o600);
    assert_eq!(spec.volumes["x"].host_path.as_deref(), Some("/srv/x"));
    assert_eq!((spec.resources.cpu_millis, spec.resources.pids), (1500, 64));
    assert_eq!(spec.resources.gpus, Some(Gpus { count: 1, memory: Some(Size::from_bytes(6 << 30)) }));
    assert_eq!(spec.security.user.as_deref(), Some("1000"));
    assert_eq!(spec.security.capabilities, ["CHOWN", "NET_ADMIN"]);
    let strategy = Strategy::Rolling {
        batch: Amount::Count(1),
        max_surge: Amount::Count(0),
        max_unavailable: Amount::Percent(50),
        order: OrderRule::StopFirst,
        min_ready: Span::ZERO,
    };
    assert_eq!(spec.strategy, strategy);
    assert_eq!(spec.on_failure, OnFailure::RollbackFailed);
    let on_lost = OnLost {
        replace_after: Some(Span::from_secs(300)),
        stop_isolated_after: None,
        on_return: OnReturn::KeepOld,
    };
    assert_eq!(spec.on_lost, on_lost);
}

#[test]
fn each_probe_has_its_own_defaults() {
    let spec = spec_of(
        "service: a\nimage: b:1\nports: { web: 80, admin: 81 }\n\
         health: { startup: { http: /s }, readiness: { http: /r, port: admin }, liveness: { tcp: web, failures: 9 } }\n",
    );
    let seconds = |span: Span| span.duration().as_secs();
    let startup = spec.health.startup.unwrap();
    assert_eq!(startup.check, Check::Http { path: "/s".into(), port: "web".into() }, "the first port");
    assert_eq!(
        (seconds(startup.every), seconds(startup.timeout), startup.failures, startup.successes),
        (2, 5, 30, 1)
    );
    let readiness = spec.health.readiness.unwrap();
    assert_eq!(readiness.check, Check::Http { path: "/r".into(), port: "admin".into() });
    assert_eq!((seconds(readiness.every), seconds(readiness.timeout), readiness.failures), (5, 3, 3));
    let liveness = spec.health.liveness.unwrap();
    assert_eq!(liveness.check, Check::Tcp { port: "web".into() });
    assert_eq!((seconds(liveness.every), seconds(liveness.timeout), liveness.failures), (10, 5, 9));
}

#[test]
fn other_shapes_of_scale_gpus_and_strategy() {
    assert_eq!(spec_of("service: a\nimage: b:1\nper_host: true\n").scale, Scale::PerHost);
    assert_eq!(spec_of("service: a\nimage: b:1\nreplicas: 3\n").scale, Scale::Replicas { min: 3, max: 3 });
    assert_eq!(spec_of("service: a\nimage: b:1\nresources: { gpus: 0 }\n").resources.gpus, None);
    let gpus = spec_of("service: a\nimage: b:1\nresources: { gpus: 2 }\n").resources.gpus;
    assert_eq!(gpus, Some(Gpus { count: 2, memory: None }));
    let strategy = spec_of("service: a\nimage: b:1\nstrategy: { recreate: {} }\n").strategy;
    assert_eq!(strategy, Strategy::Recreate { min_ready: Span::from_secs(10) });
    let default = spec_of("service: a\nimage: b:1\n").strategy;
    assert_eq!(spec_of("service: a\nimage: b:1\nstrategy: {}\n").strategy, default);
}

#[test]
fn unknown_fields_of_a_specification_are_refused() {
    let spec = spec_of("service: a\nimage: b:1\nports: { http: 80 }\nhealth: { readiness: { http: /x } }\n");
    let value = serde_json::to_value(&spec).unwrap();
    assert_eq!(serde_json::from_value::<Spec>(value.clone()).unwrap(), spec);
    for pointer in [
        "",
        "/image",
        "/placement",
        "/resources",
        "/security",
        "/health",
        "/health/readiness",
        "/rollback_on",
    ] {
        let mut odd = value.clone();
        let object = odd.pointer_mut(pointer).and_then(serde_json::Value::as_object_mut).unwrap();
        object.insert("surprise".into(), true.into());
        assert!(serde_json::from_value::<Spec>(odd).is_err(), "at `{pointer}`");
    }
}
