//! An entry of the tables of foreign keys, and hints that several entries share.

/// Keys of another system that mean the same: where they may stand, and what to write instead.
pub(in crate::manifest) struct Foreign {
    /// Like `health.*.retries|failureThreshold`: `*` is any one key, `|` stands between keys.
    pub(in crate::manifest) path: &'static str,
    /// The words to write instead.
    pub(in crate::manifest) hint: &'static str,
}

pub(super) const fn key(path: &'static str, hint: &'static str) -> Foreign {
    Foreign { path, hint }
}

/// The way to the table of a whole document.
pub(super) const COMPOSE: &str =
    "this is a compose file: `windlass import compose FILE` writes manifests from it";
pub(super) const KUBERNETES: &str = "this is a document of Kubernetes: a manifest begins with `service:` and `image:`; the guide compares \
    the keys (Coming from compose, Kamal, Nomad, Kubernetes)";
pub(super) const KAMAL: &str = "this is a file of Kamal: a manifest begins with `service:` and `image:`; the guide compares the keys \
    (Coming from compose, Kamal, Nomad, Kubernetes)";
pub(super) const NOMAD: &str = "this is a job of Nomad: a manifest begins with `service:` and `image:`; the guide compares the keys \
    (Coming from compose, Kamal, Nomad, Kubernetes)";

pub(super) const HEALTH: &str =
    "probes stand in `health`: `health: { readiness: { http: /health, every: 5s } }`";
pub(super) const EVERY: &str = "`every: 5s` is the time between two probes";
pub(super) const FAILURES: &str = "`failures: 3`, so many in a row";
pub(super) const START: &str =
    "`health.startup` waits for a slow start: `{ http: /health, every: 2s, failures: 60 }`";
pub(super) const LIMITS: &str = "one value is limit and request: `resources: { cpu: 0.5, memory: 512MiB }`";
pub(super) const ROLLING: &str = "`strategy: { rolling: { max_surge: 25%, max_unavailable: 0 } }`";
pub(super) const PORT: &str =
    "`ports: { http: 80 }`, or with a fixed port of the host `{ container: 80, host: 8080 }`";
pub(super) const VOLUME: &str = "`volumes: { data: { mount: /data } }`, with a folder of the host `{ mount: /data, host_path: /srv/data }`";
pub(super) const REGISTRY: &str =
    "the registry stands in `image`; credentials are read where `docker login` keeps them";
pub(super) const KERNEL: &str = "settings of the kernel are the host's: set them there, in `/etc/sysctl.d`";
pub(super) const SPACES: &str = "a container shares neither processes nor memory with its host or with others; `shm_size` is the size of its own";
pub(super) const OPTION: &str = "it is not supported; what a container may ask of its host stands in `resources`, `security` and `volumes`";
pub(super) const PRIVILEGED: &str =
    "it is never given; `security: { capabilities: [NET_ADMIN] }` asks for one capability";
pub(super) const LABELS: &str = "containers carry the labels of Windlass; labels of hosts are asked for by `placement: { require: { role: app } }`";
pub(super) const RESTART: &str =
    "containers are always restarted; `rollback_on: { restarts: 1 }` says when that rolls back";
pub(super) const DEPENDS: &str = "`uses: [db]` calls another service by its name; nothing waits for one: `checks: [{ postgres: db.internal:5432 }]` asks \
    before the first start";
pub(super) const SECRETS: &str = "sealed secrets come later; now a folder of the host works: `volumes: { secrets: { mount: /run/app, host_path: … } }`";
pub(super) const HOOKS: &str =
    "`hooks: { before: [{ run: [./migrate] }] }` runs a command once, before a rollout touches anything";
