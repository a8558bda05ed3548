//! Keys of other systems, each with the key that does the same here. Whoever writes one knows what they want.

mod below;
mod forms;
mod more;
mod words;

pub use forms::split_words;
pub(super) use forms::{command, cpu, list, one_port, size, variable, volume};

pub(super) use words::Foreign;
use words::{
    COMPOSE, DEPENDS, HEALTH, HOOKS, KAMAL, KERNEL, KUBERNETES, LABELS, LIMITS, NOMAD, OPTION, PORT,
    PRIVILEGED, REGISTRY, RESTART, ROLLING, SPACES, VOLUME, key,
};

/// Hints about a whole document, which say it all.
const WHOLE: [&str; 4] = [COMPOSE, KUBERNETES, KAMAL, NOMAD];

/// Returns whether a hint is about the whole document.
pub(super) fn is_whole(hint: &str) -> bool {
    WHOLE.contains(&hint)
}

/// Whole documents, and the keys of a service that are met most. Every path is one that a manifest does not have.
#[rustfmt::skip]
const FOREIGN: &[Foreign] = &[
    // Whole documents.
    key("services", COMPOSE),
    key("version", "a manifest has no version: leave the key away"),
    key("networks|network", "`uses: [db]` calls another service by its name; clients come by `route`"),
    key("configs", "`files: { /etc/app.toml: { from: app.toml } }`"),
    key("apiVersion", KUBERNETES),
    key("kind", KUBERNETES),
    key("metadata", KUBERNETES),
    key("spec", KUBERNETES),
    key("servers", KAMAL),
    key("accessories", "an accessory is a service of its own, with a manifest of its own"),
    key("builder", "images are built elsewhere: `docker build`, `docker push`, then `image:` names it"),
    key("ssh", "hosts run `windlass-agent`; nobody logs in to deploy"),
    key("group", "a manifest is one service: write one document per task, with `---` between"),
    key("task", "a manifest is one service: `service:`, `image:`, `args:`"),
    key("driver", "every service is a container; `image:` names it"),
    key("config", "keys of a task stand at the top: `image:`, `command:`, `args:`, `ports:`"),
    key("artifact", "what a service needs stands in its image; small files in `files`"),
    key("vault", "sealed secrets come later; now a folder of the host works: `volumes: { secrets: { mount: /run/app, host_path: … } }`"),
    key("datacenters", NOMAD),

    // A service of compose.
    key("name", "`service: web`"),
    key("container_name", "the name is made of service and slot; `service:` is the part that you choose"),
    key("hostname|setHostnameAsFQDN|subdomain", "a container is named by its service and slot, like `web-0`; `env` may give the process another name"),
    key("build", "images are built elsewhere: `docker build`, `docker push`, then `image:` names it"),
    key("image_pull_policy", "an image is pinned by digest and pulled once; `windlass deploy` asks for the tag's newest"),
    key("imagePullPolicy", "an image is pinned by digest and pulled once; `windlass deploy` asks for the tag's newest"),
    key("pull_policy", "an image is pinned by digest and pulled once; `windlass deploy` asks for the tag's newest"),
    key("imagePullSecrets", REGISTRY),
    key("registry", REGISTRY),
    key("entrypoint", "`command: [/entry]` replaces the entry point, `args: […]` its arguments"),
    key("working_dir", "`workdir: /app`"),
    key("workingDir", "`workdir: /app`"),
    key("user", "`security: { user: \"1000:1000\" }`"),
    key("environment", "`env: { MODE: fast }`; `environment` is the name of the environment, like `production`"),
    key("env_file", "values stand in `env`, and per environment in `environments/NAME.yaml`; `files` mounts a file"),
    key("envFrom", "values stand in `env`, and per environment in `environments/NAME.yaml`"),
    key("expose", PORT),
    key("port", PORT),
    key("links", DEPENDS),
    key("external_links", DEPENDS),
    key("depends_on", DEPENDS),
    key("restart", RESTART),
    key("restart_policy", RESTART),
    key("restartPolicy", RESTART),
    key("healthcheck", HEALTH),
    key("livenessProbe", "`health: { liveness: { http: /live, every: 10s } }`"),
    key("readinessProbe", "`health: { readiness: { http: /ready, every: 5s } }`"),
    key("startupProbe", "`health: { startup: { http: /health, every: 2s, failures: 60 } }`"),
    key("check", HEALTH),
    key("deploy", "`replicas: 3`, `resources: { cpu: 0.5, memory: 512MiB }`, and how it is updated in `strategy`"),
    key("scale", "`replicas: 3`, or `replicas: { min: 2, max: 10 }` with `windlass scale`"),
    key("count", "`replicas: 3`"),
    key("instances", "`replicas: 3`"),
    key("update", "how one release replaces another stands in `strategy`"),
    key("update_config", "how one release replaces another stands in `strategy`"),
    key("cpus", LIMITS),
    key("cpu_count", LIMITS),
    key("mem_limit", LIMITS),
    key("mem_reservation", LIMITS),
    key("memory", LIMITS),
    key("cpu", LIMITS),
    key("pids_limit", "`resources: { pids: 512 }`"),
    key("gpus", "`resources: { gpus: 1 }`"),
    key("cap_add|capabilities", "`security: { capabilities: [NET_ADMIN] }`"),
    key("cap_drop", "all capabilities are dropped already; `security: { capabilities: […] }` names those that are given"),
    key("privileged", PRIVILEGED),
    key("security_opt", "no new privileges are gained, whatever is said; `security` has the rest"),
    key("securityContext", "`security: { user: \"1000\", read_only_root: true }`"),
    key("read_only", "`security: { read_only_root: true }`"),
    key("tmpfs", "`security: { tmpfs: [/tmp] }`"),
    key("volumeMounts", VOLUME),
    key("volumes_from", VOLUME),
    key("mounts", VOLUME),
    key("stop_grace_period", "`stop_timeout: 30s`"),
    key("terminationGracePeriodSeconds", "`stop_timeout: 30s`"),
    key("kill_timeout", "`stop_timeout: 30s`"),
    key("annotations", LABELS),
    key("tags", LABELS),
    key("nodeSelector", "`placement: { require: { role: app } }`, labels of the host"),
    key("constraint", "`placement: { require: { role: app } }`, labels of the host"),
    key("affinity", "`placement: { spread: host }`, and `require` for labels of the host"),
    key("profiles", "one manifest per service; values per environment stand in `environments/NAME.yaml`"),
    key("extends", "values per environment stand in `environments/NAME.yaml`; YAML anchors work within a document"),
    key("log|logging", "`windlass logs` reads what the engine keeps; its driver is set on the host"),
    key("network_mode", "containers of a host share one network and publish their `ports`"),
    key("hostNetwork", "containers of a host share one network and publish their `ports`"),
    key("sysctls", KERNEL),
    key("devices", "GPUs are asked for by `resources: { gpus: 1 }`; other devices are not given"),
    key("extra_hosts", "names are resolved by the host's DNS; give the address in `env`"),
    key("dns", "names are resolved by the host's DNS"),
    key("group_add", "`security: { user: \"1000:1000\" }` names user and group; further groups are not given, as they open devices and files of the host"),
    key("domainname", "clients come by `route: { host: api.example.com }`"),
    key("ipc", SPACES),
    key("pid", SPACES),
    key("cgroup_parent", OPTION),
    key("runtime", OPTION),
    key("isolation", OPTION),
    key("stdin_open", "no terminal is attached; `docker exec` on the host looks inside"),
    key("tty", "no terminal is attached; `docker exec` on the host looks inside"),
    key("platform", "`windlass deploy --platform linux/arm64`"),

    // Kamal, Nomad, Kubernetes.
    key("proxy", "`route: { host: api.example.com }`, and `ports: { http: 3000 }` for the port of the container"),
    key("ingress", "`route: { host: api.example.com }`"),
    key("traefik", "`route: { host: api.example.com }`"),
    key("host", "`route: { host: api.example.com }`"),
    key("hosts", "`placement: { hosts: [web-1, web-2] }`"),
    key("asset_path", "an image has its assets; both releases serve theirs while one replaces the other"),
    key("aliases", "a shell has aliases; `windlass` has none"),
    key("boot", ROLLING),
    key("minReadySeconds", "`strategy: { rolling: { min_ready: 10s } }`"),
    key("progressDeadlineSeconds", "`progress_deadline: 10m`"),
    key("revisionHistoryLimit", "the last ten good releases are kept"),
    key("template", "a file of the service: `files: { /etc/app.toml: { from: app.toml } }`; values per environment stand in `environments/NAME.yaml`"),
    key("containers", "a manifest is one container: write one document per service, with `---` between"),
    key("initContainers", HOOKS),
    key("lifecycle", HOOKS),
    key("serviceAccountName", "a process gets no access to the coordinator"),
    key("selector", "slots belong to their service; nothing is selected by labels"),
    key("type|mode", "a manifest is a service; one instance per host is `per_host: true`"),
];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Foreign> {
    FOREIGN.iter().chain(more::MORE).chain(below::BELOW)
}

/// The words to write instead of the key at `path`, if it is one of another system.
pub(super) fn hint(path: &[String]) -> Option<&'static str> {
    let is_it = |part: &str, key: &String| part == "*" || part.split('|').any(|name| name == key);
    let fits = |foreign: &&Foreign| {
        let mut parts = foreign.path.split('.');
        path.iter().all(|key| parts.next().is_some_and(|part| is_it(part, key))) && parts.next().is_none()
    };
    all().find(fits).map(|foreign| foreign.hint)
}
