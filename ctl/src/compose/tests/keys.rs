//! Every key of the compose specification has a fate: carried over, noted, refused, or moot.

use serde_json::json;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The manifest has it.
    Carried,
    /// A note is about it.
    Noted,
    /// No manifest is made.
    Refused,
    /// It asks for what holds anyway.
    Moot,
}

use Fate::{Carried, Moot, Noted, Refused};

/// Keys below a service, with a service that has the key. The list is that of docker-compose 1.29.2, with the keys that the
/// specification has got since.
#[rustfmt::skip]
const TABLE: &[(&str, &str, Fate)] = &[
    ("annotations", "annotations: { a: b }", Noted), ("attach", "attach: true", Moot), ("attach", "attach: false", Moot),
    ("blkio_config", "blkio_config: { weight: 300 }", Noted), ("build", "build: .", Noted), ("build", "build: { context: . }", Noted),
    ("cap_add", "cap_add: [NET_ADMIN]", Carried), ("cap_drop", "cap_drop: [ALL]", Moot), ("cgroup", "cgroup: host", Noted),
    ("cgroup_parent", "cgroup_parent: a", Noted), ("command", "command: [a]", Carried), ("command", "command: []", Noted),
    ("configs", "configs: [site]", Carried), ("configs.source", "configs: [{ source: site, target: /a }]", Carried),
    ("configs.target", "configs: [{ source: site, target: /a }]", Carried), ("configs.mode", "configs: [{ source: site, mode: 0400 }]", Carried),
    ("configs.uid", "configs: [{ source: site, uid: '1' }]", Noted), ("configs.gid", "configs: [{ source: site, gid: '1' }]", Noted),
    ("container_name", "container_name: a", Noted), ("cpu_count", "cpu_count: 2", Noted), ("cpu_percent", "cpu_percent: 50", Noted),
    ("cpu_period", "cpu_period: 5000", Noted), ("cpu_quota", "cpu_quota: 5000", Noted), ("cpu_rt_period", "cpu_rt_period: 5000", Noted),
    ("cpu_rt_runtime", "cpu_rt_runtime: 5000", Noted), ("cpu_shares", "cpu_shares: 512", Noted), ("cpus", "cpus: 0.5", Carried), ("cpus", "cpus: x", Noted),
    ("cpuset", "cpuset: '0'", Noted), ("credential_spec", "credential_spec: { file: a.json }", Noted),
    ("depends_on", "depends_on: [db]", Noted), ("depends_on", "depends_on: { db: { condition: service_healthy } }", Noted),
    ("deploy", "deploy: 3", Noted), ("deploy.odd", "deploy: { odd: 1 }", Noted), ("deploy.endpoint_mode", "deploy: { endpoint_mode: vip }", Noted),
    ("deploy.labels", "deploy: { labels: { a: b } }", Noted), ("deploy.mode", "deploy: { mode: global }", Carried),
    ("deploy.mode", "deploy: { mode: replicated-job }", Noted), ("deploy.replicas", "deploy: { replicas: 3 }", Carried), ("deploy.replicas", "deploy: { replicas: x }", Noted),
    ("deploy.placement.constraints", "deploy: { placement: { constraints: ['node.labels.a == b'] } }", Carried),
    ("deploy.placement.constraints", "deploy: { placement: { constraints: ['node.role == manager'] } }", Noted),
    ("deploy.placement.preferences", "deploy: { placement: { preferences: [{ spread: node.labels.a }] } }", Noted),
    ("deploy.placement.max_replicas_per_node", "deploy: { placement: { max_replicas_per_node: 1 } }", Noted),
    ("deploy.resources.limits.cpus", "deploy: { resources: { limits: { cpus: '0.5' } } }", Carried),
    ("deploy.resources.limits.memory", "deploy: { resources: { limits: { memory: 64M } } }", Carried),
    ("deploy.resources.limits.pids", "deploy: { resources: { limits: { pids: 64 } } }", Carried),
    ("deploy.resources.limits.odd", "deploy: { resources: { limits: { odd: 64 } } }", Noted),
    ("deploy.resources.reservations.cpus", "deploy: { resources: { reservations: { cpus: '0.5' } } }", Carried),
    ("deploy.resources.reservations.memory", "deploy: { resources: { reservations: { memory: 64M } } }", Carried),
    ("deploy.resources.reservations.devices", "deploy: { resources: { reservations: { devices: [{ capabilities: [gpu], count: 2 }] } } }", Carried),
    ("deploy.resources.reservations.devices.capabilities", "deploy: { resources: { reservations: { devices: [{ capabilities: [gpu] }] } } }", Carried),
    ("deploy.resources.reservations.devices.count", "deploy: { resources: { reservations: { devices: [{ capabilities: [gpu], count: 2 }] } } }", Carried),
    ("deploy.resources.reservations.devices.count", "deploy: { resources: { reservations: { devices: [{ capabilities: [gpu], count: all }] } } }", Moot),
    ("deploy.resources.reservations.devices.device_ids", "deploy: { resources: { reservations: { devices: [{ capabilities: [gpu], device_ids: ['0', '3'] }] } } }", Carried),
    ("deploy.resources.reservations.devices.driver", "deploy: { resources: { reservations: { devices: [{ driver: nvidia, capabilities: [gpu] }] } } }", Moot),
    ("deploy.resources.reservations.devices.options", "deploy: { resources: { reservations: { devices: [{ capabilities: [gpu], options: { a: b } }] } } }", Noted),
    ("deploy.resources.reservations.generic_resources", "deploy: { resources: { reservations: { generic_resources: [{ discrete_resource_spec: { kind: ssd, value: 1 } }] } } }", Noted),
    ("deploy.restart_policy.condition", "deploy: { restart_policy: { condition: any } }", Moot),
    ("deploy.restart_policy.condition", "deploy: { restart_policy: { condition: on-failure } }", Noted),
    ("deploy.restart_policy.condition", "deploy: { restart_policy: { condition: none } }", Noted),
    ("deploy.restart_policy.delay", "deploy: { restart_policy: { delay: 5s } }", Noted),
    ("deploy.restart_policy.max_attempts", "deploy: { restart_policy: { max_attempts: 3 } }", Noted),
    ("deploy.restart_policy.window", "deploy: { restart_policy: { window: 120s } }", Noted),
    ("deploy.rollback_config.delay", "deploy: { rollback_config: { delay: 5s } }", Noted),
    ("deploy.rollback_config.failure_action", "deploy: { rollback_config: { failure_action: pause } }", Noted),
    ("deploy.rollback_config.max_failure_ratio", "deploy: { rollback_config: { max_failure_ratio: 0.1 } }", Noted),
    ("deploy.rollback_config.monitor", "deploy: { rollback_config: { monitor: 5s } }", Noted),
    ("deploy.rollback_config.order", "deploy: { rollback_config: { order: start-first } }", Noted),
    ("deploy.rollback_config.parallelism", "deploy: { rollback_config: { parallelism: 1 } }", Noted),
    ("deploy.update_config.delay", "deploy: { update_config: { delay: 5s } }", Carried), ("deploy.update_config.delay", "deploy: { update_config: { delay: 5 } }", Noted),
    ("deploy.update_config.failure_action", "deploy: { update_config: { failure_action: pause } }", Carried),
    ("deploy.update_config.failure_action", "deploy: { update_config: { failure_action: continue } }", Noted),
    ("deploy.update_config.max_failure_ratio", "deploy: { update_config: { max_failure_ratio: 0.3 } }", Noted),
    ("deploy.update_config.monitor", "deploy: { update_config: { monitor: 5s } }", Carried),
    ("deploy.update_config.order", "deploy: { update_config: { order: start-first } }", Carried),
    ("deploy.update_config.parallelism", "deploy: { update_config: { parallelism: 2 } }", Carried),
    ("deploy.update_config.parallelism", "deploy: { update_config: { parallelism: two } }", Noted),
    ("develop", "develop: { watch: [{ path: ., action: sync }] }", Noted), ("device_cgroup_rules", "device_cgroup_rules: ['c 1:3 mr']", Noted),
    ("devices", "devices: [/dev/a]", Noted), ("dns", "dns: 8.8.8.8", Noted), ("dns_opt", "dns_opt: [use-vc]", Noted), ("dns_search", "dns_search: a.com", Noted),
    ("domainname", "domainname: a.com", Noted), ("driver_opts", "driver_opts: { a: b }", Noted), ("entrypoint", "entrypoint: /a", Carried),
    ("entrypoint", "entrypoint: ''", Noted), ("env_file", "env_file: .env", Noted), ("env_file", "env_file: { path: a.env, required: false }", Noted),
    ("environment", "environment: { A: b }", Carried), ("environment", "environment: [{ A: b }]", Noted), ("environment", "environment: [A]", Noted),
    ("expose", "expose: [80]", Carried), ("expose", "expose: [80/udp]", Noted), ("expose", "expose: 80", Noted), ("extends", "extends: db", Refused),
    ("extends", "extends: { file: a.yml, service: b }", Refused), ("external_links", "external_links: [a]", Noted), ("extra_hosts", "extra_hosts: ['a:1.2.3.4']", Noted),
    ("gpus", "gpus: all", Carried), ("gpus", "gpus: [{ count: 2 }]", Carried), ("group_add", "group_add: [mail]", Noted),
    ("healthcheck", "healthcheck: none", Noted), ("healthcheck.test", "healthcheck: { test: [CMD, a] }", Carried), ("healthcheck.disable", "healthcheck: { disable: true }", Carried),
    ("healthcheck.interval", "healthcheck: { test: [CMD, a], interval: 7s }", Carried), ("healthcheck.interval", "healthcheck: { test: [CMD, a], interval: 7 }", Noted),
    ("healthcheck.retries", "healthcheck: { test: [CMD, a], retries: 7 }", Carried), ("healthcheck.retries", "healthcheck: { test: [CMD, a], retries: x }", Noted),
    ("healthcheck.start_period", "healthcheck: { test: [CMD, a], start_period: 7s }", Carried),
    ("healthcheck.start_interval", "healthcheck: { test: [CMD, a], start_period: 7s, start_interval: 1s }", Carried),
    ("healthcheck.timeout", "healthcheck: { test: [CMD, a], timeout: 7s }", Carried), ("healthcheck.odd", "healthcheck: { test: [CMD, a], odd: 7s }", Noted),
    ("hostname", "hostname: a", Noted), ("image", "image: 'b:1'", Carried), ("init", "init: false", Carried), ("init", "init: true", Moot), ("ipc", "ipc: host", Noted),
    ("isolation", "isolation: default", Noted), ("label_file", "label_file: a", Noted), ("labels", "labels: { a: b }", Carried), ("labels", "labels: [a=b]", Carried),
    ("links", "links: [db]", Noted), ("logging", "logging: { driver: json-file }", Noted), ("mac_address", "mac_address: '02:42:ac:11:65:43'", Noted),
    ("mem_limit", "mem_limit: 64m", Carried), ("mem_limit", "mem_limit: lots", Noted), ("mem_reservation", "mem_reservation: 64m", Noted), ("mem_reservation", "mem_limit: 96m, mem_reservation: 64m", Noted),
    ("mem_swappiness", "mem_swappiness: 0", Noted), ("memswap_limit", "memswap_limit: 1g", Noted), ("models", "models: [a]", Noted),
    ("network_mode", "network_mode: host", Noted), ("networks", "networks: [front]", Moot), ("networks.front", "networks: { front: null }", Moot),
    ("networks", "networks: front", Noted), ("networks.front.aliases", "networks: { front: { aliases: [a] } }", Noted),
    ("networks.front.ipv4_address", "networks: { front: { ipv4_address: 10.0.0.9 } }", Noted), ("networks.front.ipv6_address", "networks: { front: { ipv6_address: 'fd00::9' } }", Noted),
    ("networks.front.link_local_ips", "networks: { front: { link_local_ips: [169.254.1.1] } }", Noted), ("networks.front.priority", "networks: { front: { priority: 9 } }", Noted),
    ("networks.front.gw_priority", "networks: { front: { gw_priority: 9 } }", Noted), ("networks.front.mac_address", "networks: { front: { mac_address: a } }", Noted),
    ("networks.front.driver_opts", "networks: { front: { driver_opts: { a: b } } }", Noted), ("networks.front.interface_name", "networks: { front: { interface_name: eth9 } }", Noted),
    ("networks.front.odd", "networks: { front: { odd: 9 } }", Noted),
    ("oom_kill_disable", "oom_kill_disable: true", Noted), ("oom_score_adj", "oom_score_adj: 500", Noted), ("pid", "pid: host", Noted), ("pids_limit", "pids_limit: 64", Carried),
    ("pids_limit", "pids_limit: -1", Noted), ("platform", "platform: linux/arm64", Noted), ("ports", "ports: ['80:80']", Carried), ("ports", "ports: ['53:53/udp']", Noted),
    ("ports", "ports: ['7:7/sctp']", Noted), ("ports", "ports: 80", Noted), ("ports.target", "ports: [{ target: 80 }]", Carried), ("ports.published", "ports: [{ target: 80, published: '8080' }]", Carried),
    ("ports.published", "ports: [{ target: 80, published: '8080-8090' }]", Noted), ("ports.protocol", "ports: [{ target: 53, protocol: UDP }]", Noted),
    ("ports.protocol", "ports: [{ target: 53, protocol: tcp }]", Moot), ("ports.host_ip", "ports: [{ target: 80, published: 80, host_ip: 127.0.0.1 }]", Noted),
    ("ports.mode", "ports: [{ target: 80, mode: host }]", Moot), ("ports.name", "ports: [{ target: 80, name: web }]", Noted), ("ports.app_protocol", "ports: [{ target: 80, app_protocol: http }]", Noted),
    ("ports.odd", "ports: [{ target: 80, odd: 1 }]", Noted), ("post_start", "post_start: [{ command: a }]", Noted), ("pre_stop", "pre_stop: [{ command: a }]", Noted),
    ("privileged", "privileged: true", Noted), ("privileged", "privileged: false", Moot), ("profiles", "profiles: [debug]", Noted), ("provider", "provider: { type: a }", Noted),
    ("pull_policy", "pull_policy: always", Noted), ("read_only", "read_only: true", Carried), ("restart", "restart: always", Moot), ("restart", "restart: unless-stopped", Moot),
    ("restart", "restart: 'no'", Noted), ("restart", "restart: no", Noted), ("restart", "restart: on-failure", Noted), ("restart", "restart: on-failure:5", Noted),
    ("runtime", "runtime: runsc", Noted), ("scale", "scale: 2", Carried), ("secrets", "secrets: [token]", Noted), ("security_opt", "security_opt: ['label:disable']", Noted),
("security_opt", "security_opt: ['no-new-privileges:true']", Moot), ("security_opt", "security_opt: ['no-new-privileges:false']", Noted), ("depends_on", "depends_on: db", Noted), ("deploy.update_config.order", "deploy: { update_config: { order: odd } }", Noted), ("shm_size", "shm_size: 64m", Carried), ("stdin_open", "stdin_open: true", Noted),
    ("stop_grace_period", "stop_grace_period: 30s", Carried), ("stop_grace_period", "stop_grace_period: 2h", Noted), ("stop_grace_period", "stop_grace_period: 30", Noted),
    ("stop_signal", "stop_signal: SIGINT", Carried), ("storage_opt", "storage_opt: { size: 1G }", Noted), ("sysctls", "sysctls: { net.core.somaxconn: 1024 }", Noted),
    ("tmpfs", "tmpfs: /run", Carried), ("tmpfs", "tmpfs: '/run:size=1m'", Noted), ("tty", "tty: true", Noted), ("ulimits", "ulimits: { nofile: 1024 }", Carried),
    ("ulimits.nofile", "ulimits: { nofile: { soft: 1, hard: 2 } }", Carried), ("ulimits", "ulimits: [nofile=1024:2048]", Carried), ("ulimits", "ulimits: { nofile: many }", Noted),
    ("use_api_socket", "use_api_socket: true", Noted), ("user", "user: app", Carried), ("userns_mode", "userns_mode: host", Noted), ("uts", "uts: host", Noted),
    ("volume_driver", "volume_driver: a", Noted), ("volumes", "volumes: ['data:/data']", Carried), ("volumes", "volumes: ['data:/data:Z']", Noted), ("volumes", "volumes: ['data:/data:nocopy']", Noted),
    ("volumes", "volumes: ['/srv:/data:ro,rshared']", Noted), ("volumes", "volumes: /data", Noted), ("volumes.type", "volumes: [{ type: tmpfs, target: /data }]", Carried),
    ("volumes.type", "volumes: [{ type: npipe, target: /data }]", Noted), ("volumes.source", "volumes: [{ type: volume, source: a, target: /data }]", Carried),
    ("volumes.target", "volumes: [{ type: volume, source: a, target: /data }]", Carried), ("volumes.read_only", "volumes: [{ type: volume, source: a, target: /data, read_only: true }]", Carried),
    ("volumes.consistency", "volumes: [{ type: volume, source: a, target: /data, consistency: cached }]", Moot),
    ("volumes.bind.propagation", "volumes: [{ type: bind, source: /a, target: /data, bind: { propagation: rshared } }]", Noted),
    ("volumes.bind.create_host_path", "volumes: [{ type: bind, source: /a, target: /data, bind: { create_host_path: true } }]", Moot),
    ("volumes.bind.recursive", "volumes: [{ type: bind, source: /a, target: /data, bind: { recursive: disabled } }]", Noted),
    ("volumes.bind.selinux", "volumes: [{ type: bind, source: /a, target: /data, bind: { selinux: Z } }]", Noted),
    ("volumes.volume.nocopy", "volumes: [{ type: volume, source: a, target: /data, volume: { nocopy: true } }]", Noted),
    ("volumes.volume.subpath", "volumes: [{ type: volume, source: a, target: /data, volume: { subpath: b } }]", Noted),
    ("volumes.volume.labels", "volumes: [{ type: volume, source: a, target: /data, volume: { labels: { a: b } } }]", Noted),
    ("volumes.tmpfs.size", "volumes: [{ type: tmpfs, target: /data, tmpfs: { size: 1000 } }]", Noted),
    ("volumes.tmpfs.mode", "volumes: [{ type: tmpfs, target: /data, tmpfs: { mode: 0700 } }]", Noted),
    ("volumes.image", "volumes: [{ type: image, source: a, target: /data, image: { subpath: b } }]", Noted),
    ("volumes_from", "volumes_from: [db]", Noted), ("working_dir", "working_dir: /a", Carried), ("working_dir", "working_dir: [a]", Noted),
    ("odd", "odd: 1", Noted), ("x-odd", "x-odd: 1", Moot),
];

/// Takes the key at `path` away, in maps and in the items of lists.
fn without(value: &mut Value, path: &[&str]) {
    match (value, path) {
        (Value::Object(map), [last]) => drop(map.remove(*last)),
        (Value::Object(map), [first, rest @ ..]) => {
            if let Some(below) = map.get_mut(*first) {
                without(below, rest);
            }
        }
        (Value::Array(items), path) => items.iter_mut().for_each(|item| without(item, path)),
        _ => {}
    }
}

fn result(service: &Value) -> Imported {
    let file = json!({ "services": { "web": service }, "configs": { "site": { "file": "site.conf" } } });
    import(&file.to_string(), &|_: &str| Found::Folder).unwrap()
}

/// The fate that a row shows: the manifest and the notes with the key, beside those without it.
fn shown(path: &str, snippet: &str) -> (Vec<Fate>, String) {
    let (file, _) =
        read::file(&format!("services: {{ web: {{ image: 'a:1' }} }}\nrow: {{ {snippet} }}")).unwrap();
    let mut service = file["row"].clone();
    let map = service.as_object_mut().unwrap();
    map.entry("image").or_insert(json!("a:1"));
    let with = result(&service);
    without(&mut service, &path.split('.').collect::<Vec<_>>());
    let bare = result(&service);
    let text = |done: &Imported| done.manifests.first().map(|one| one.text.clone()).unwrap_or_default();
    let mut fates = Vec::new();
    if !with.failed.is_empty() {
        fates.push(Refused);
    }
    if text(&with) != text(&bare) && with.failed.is_empty() {
        fates.push(Carried);
    }
    if with.notes.iter().any(|note| !bare.notes.contains(note)) {
        fates.push(Noted);
    }
    if fates.is_empty() {
        fates.push(Moot);
    }
    (fates, format!("{}\n{:?}", text(&with), with.notes))
}

#[test]
fn every_key_of_compose_is_carried_noted_or_refused() {
    let mut wrong = Vec::new();
    for (path, snippet, want) in TABLE {
        let (fates, said) = shown(path, snippet);
        if !fates.contains(want) {
            wrong.push(format!("{snippet}: {fates:?} instead of {want:?}\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_child_of_another_service_is_refused_with_the_way() {
    let text = "services: { base: { image: 'a:1', user: app }, web: { extends: base }, api: { extends: { file: c.yml, service: b } } }";
    let done = import(text, &|_: &str| Found::Folder).unwrap();
    assert_eq!(done.failed, ["api", "web"]);
    assert_eq!(
        done.notes[0].reason,
        "no manifest can be made: its other keys stand in the service `b` of c.yml"
    );
    assert!(done.notes[1].hint.contains("docker compose config"), "{:?}", done.notes);
}

#[test]
fn a_key_of_no_effect_needs_no_note() {
    let text = "services: { web: { image: 'a:1', user: app, cpus: 1, mem_limit: 1g, privileged: false, dns: [], tty: false, sysctls: {}, healthcheck: null, \
        restart: always, networks: { default: null }, deploy: { labels: {}, restart_policy: { condition: any } } } }";
    assert!(one(text).1.is_empty(), "{:?}", one(text).1);
}

#[test]
fn notes_say_what_differs() {
    let text = "services: { web: { image: 'a:1', user: app, stop_grace_period: 2h, env_file: { path: a.env }, restart: 'on-failure:5', \
        volumes: ['d:/d:Z', { type: volume, source: d, target: /e, volume: { subpath: b } }], gpus: all, \
        deploy: { restart_policy: { max_attempts: 3, delay: 5s } } } }";
    let (manifest, notes) = one(text);
    assert!(manifest.contains("stop_timeout: 1h") && manifest.contains("gpus: 1"), "{manifest}");
    assert!(!manifest.contains("/e"), "another folder would be mounted: {manifest}");
    for (key, words) in [
        ("stop_grace_period", "2h is written as 1h"),
        ("env_file", "a.env was not read"),
        ("restart", "`on-failure:5` is not carried over"),
        ("volumes.0", "`Z` is not carried over"),
        ("volumes.1", "left out"),
        ("gpus", "one is"),
        ("deploy.restart_policy.max_attempts", "last attempt"),
    ] {
        let note = about(&notes, &format!("services.web.{key}"));
        assert!(note.contains(words), "{note}");
    }
}

/// Keys beside the services, and whether a note is about them.
#[rustfmt::skip]
const TOP: &[(&str, &str, bool)] = &[
    ("version", "version: '3.8'", false), ("name", "name: shop", true), ("x-odd", "x-odd: 1", false), ("odd", "odd: 1", true),
    ("include", "include: [a.yml]", true), ("secrets", "secrets: { token: { file: ./token } }", true), ("models", "models: { llm: { model: a } }", true),
    ("volumes", "volumes: { data: null }", false), ("volumes", "volumes: {}", false), ("volumes", "volumes: [data]", true),
    ("volumes.data", "volumes: { data: other }", true),
    ("volumes.data.name", "volumes: { data: { name: shop_data } }", true), ("volumes.data.labels", "volumes: { data: { labels: { a: b } } }", true),
    ("volumes.data.external", "volumes: { data: { external: true } }", true), ("volumes.data.external", "volumes: { data: { external: false } }", false),
    ("volumes.data.driver", "volumes: { data: { driver: nfs } }", true), ("volumes.data.driver", "volumes: { data: { driver: local } }", false),
    ("volumes.data.driver_opts", "volumes: { data: { driver_opts: { type: nfs } } }", true), ("volumes.data.odd", "volumes: { data: { odd: 1 } }", true),
    ("volumes.data.x-odd", "volumes: { data: { x-odd: 1 } }", false),
    ("networks", "networks: { front: null }", true), ("networks", "networks: {}", false), ("networks", "networks: [front]", true),
    ("networks.front.name", "networks: { front: { name: a } }", true), ("networks.front.labels", "networks: { front: { labels: { a: b } } }", true),
    ("networks.front.driver", "networks: { front: { driver: overlay } }", true), ("networks.front.driver", "networks: { front: { driver: bridge } }", false),
    ("networks.front.driver_opts", "networks: { front: { driver_opts: { a: b } } }", true), ("networks.front.ipam", "networks: { front: { ipam: { driver: a } } }", true),
    ("networks.front.internal", "networks: { front: { internal: true } }", true), ("networks.front.internal", "networks: { front: { internal: false } }", false),
    ("networks.front.external", "networks: { front: { external: true } }", true), ("networks.front.attachable", "networks: { front: { attachable: true } }", true),
    ("networks.front.enable_ipv6", "networks: { front: { enable_ipv6: true } }", true), ("networks.front.odd", "networks: { front: { odd: 1 } }", true),
    ("configs.site.file", "configs: { site: { file: a } }", false), ("configs.site.content", "configs: { site: { content: a } }", false),
    ("configs.site.environment", "configs: { site: { environment: A } }", false), ("configs.site.external", "configs: { site: { external: true } }", true),
    ("configs.site.name", "configs: { site: { file: a, name: b } }", true), ("configs.site.labels", "configs: { site: { file: a, labels: { a: b } } }", true),
    ("configs.site.template_driver", "configs: { site: { file: a, template_driver: golang } }", true),
];

#[test]
fn every_key_beside_the_services_is_noted_or_moot() {
    for (key, snippet, noted) in TOP {
        let text = format!("services: {{ web: {{ image: 'a:1', user: app }} }}\n{snippet}\n");
        let (_, notes) = one(&text);
        let found = notes.iter().any(|note| note.starts_with(&format!("{key}: ")));
        assert_eq!(found, *noted, "{snippet}: {notes:#?}");
    }
}
