//! Keys of other systems below keys that we have.

use super::words::{
    EVERY, FAILURES, Foreign, HEALTH, HOOKS, KERNEL, LIMITS, PORT, PRIVILEGED, ROLLING, SECRETS, START,
    VOLUME, key,
};

const SWITCH_OFF: &str = "leave the probe away; `health: { image: off }` leaves out that of the image";
const TLS_PROBE: &str = "`tls: {}` asks by HTTPS; `tls: { verify: off }` takes any certificate";
const HEADERS: &str = "`headers: { Host: example.com }`";
const RANGES: &str = "`ports` names each port: `{ http: 80 }`; ranges are not taken";
const ROLLS_BACK: &str =
    "a rollout that fails goes back by itself (`on_failure`), and `rollback_on: { restarts: 1 }` says when";
const OWNER: &str = "a file belongs to the user of `security: { user: \"1000:1000\" }`; `mode: \"0640\"` says who may read it";
const DROPPED: &str =
    "all capabilities are dropped already; `capabilities: [NET_BIND_SERVICE]` names those that are given";
const PROFILES: &str = "the engine's own profile is in force; another one is set for the whole host, in the engine's configuration";
const NAMED: &str = "a named volume lies on its host, and its slot stays there";

/// Every path is one that a manifest does not have.
#[rustfmt::skip]
pub(super) const BELOW: &[Foreign] = &[
    key("env.clear", "variables stand in `env` itself: `env: { MODE: fast }`"),
    key("env.secret", SECRETS),

    key("resources.limits|requests|reservations", LIMITS),
    key("resources.cpus|cores|cpu_limit", "`cpu: 0.5`"),
    key("resources.memory_max|mem|memory_limit", "`memory: 512MiB`"),
    key("resources.gpu|device|devices", "`gpus: 1`, or `gpus: { count: 1, memory: 8GiB }`"),
    key("resources.pids_limit", "`pids: 512`"),
    key("resources.disk|ephemeral-storage|swap|network", "it is not limited; `cpu`, `memory`, `pids` and `gpus` are"),

    key("health.test|http|path|interval|timeout|retries|start_period|port|command|cmd|exec|tcp|check", HEALTH),
    key("health.readinessProbe|livenessProbe|startupProbe", "`health: { readiness: { http: /health } }`, and so `liveness` and `startup`"),
    key("health.disable", SWITCH_OFF),
    key("health.*.httpGet", "`http: /health`, and `port:` for the name of another port"),
    key("health.*.tcpSocket", "`tcp: http`, the name of a port"),
    key("health.*.test|command|cmd", "`exec: [pg_isready]`"),
    key("health.*.path", "`http: /health`"),
    key("health.*.type", "the kind of a probe is its key: `http: /health`, `tcp: http`, `grpc:` or `exec: [pg_isready]`"),
    key("health.*.interval|period|periodSeconds", EVERY),
    key("health.*.timeoutSeconds", "`timeout: 2s`"),
    key("health.*.retries|failureThreshold|threshold|max_attempts|failures_before_critical", FAILURES),
    key("health.*.successThreshold|success_before_passing", "`successes: 2`, so many in a row"),
    key("health.*.start_period|start_interval|initialDelaySeconds|initial_delay|grace_period|delay", START),
    key("health.*.https|scheme|protocol", TLS_PROBE),
    key("health.*.host|httpHeaders|header", HEADERS),
    key("health.*.status|json", "`expect: { status: 200, json: { \"/status\": ok } }`"),
    key("health.*.disable", SWITCH_OFF),
    key("health.*.check_restart", "`health: { liveness: { http: /live } }` restarts what does not answer"),
    key("health.*.terminationGracePeriodSeconds", "`stop_timeout: 30s`, at the top"),

    key("strategy.type", "its key is the strategy: `strategy: { rolling: {} }`, `recreate`, `blue_green` or `canary`"),
    key("strategy.rollingUpdate|maxSurge|maxUnavailable|max_surge|max_unavailable|order|min_ready", ROLLING),
    key("strategy.parallelism|max_parallel|limit|batch", "`rolling: { batch: 2 }`"),
    key("strategy.auto_revert|failure_action|max_failure_ratio|monitor", ROLLS_BACK),
    key("strategy.rolling.parallelism|max_parallel|limit", "`batch: 2`"),
    key("strategy.rolling.maxSurge", "`max_surge: 25%`"),
    key("strategy.rolling.maxUnavailable", "`max_unavailable: 0`"),
    key("strategy.rolling.delay|wait|stagger|min_healthy_time|minReadySeconds",
        "`min_ready: 10s`: so long an instance must be healthy before the next one begins"),
    key("strategy.rolling.auto_revert|auto_promote|failure_action|max_failure_ratio|monitor", ROLLS_BACK),
    key("strategy.rolling.healthy_deadline|progressDeadlineSeconds", "`progress_deadline: 10m`, at the top"),
    key("strategy.rolling.canary|partition", "`strategy: { canary: { steps: [10%, 50%, 100%] } }`"),
    key("strategy.canary.weight|weights|setWeight", "`steps: [10%, 50%, 100%]`"),

    key("ports.*.target|containerPort|to", "`container: 80`"),
    key("ports.*.published|hostPort|static", "`host: 8080`"),
    key("ports.*.mode", "`host: 8080` takes that port of the host; without it the agent chooses one"),
    key("ports.*.name", "the name of a port is its key: `ports: { http: 80 }`"),
    key("ports.*.app_protocol|appProtocol", "`protocol: http`, `h2c` or `grpc`"),
    key("ports.*.host_ip|hostIP|host_network", "a port is open where its host is reached: at every address, or at loopback alone"),
    key("ports.*.range", RANGES),

    key("volumes.*.target|mountPath|path|destination", "`mount: /data`"),
    key("volumes.*.source|hostPath|bind|host", "`host_path: /srv/data`"),
    key("volumes.*.readOnly|ro", "`read_only: true`"),
    key("volumes.*.driver|driver_opts|labels|size|nfs|persistentVolumeClaim|storageClassName", NAMED),
    key("volumes.*.type|name|external", VOLUME),
    key("volumes.*.emptyDir", "`security: { tmpfs: [/tmp] }`"),
    key("volumes.*.configMap", "`files: { /etc/app.toml: { from: app.toml } }`"),
    key("volumes.*.secret", SECRETS),
    key("volumes.*.subPath|sub_path|mode|owner|propagation|selinux", "a volume is mounted whole: `{ mount: /data, read_only: true }`"),

    key("placement.constraints|nodeSelector|labels|node|affinity|constraint", "`require: { role: app }`, labels of the host"),
    key("placement.preferences|topologyKey|topologySpreadConstraints", "`spread: host` or `spread: pack`"),
    key("placement.max_replicas_per_node", "`spread: host`; one instance per host is `per_host: true` at the top"),
    key("placement.tolerations", "a host that shall get nothing is cordoned: `windlass host cordon`"),

    key("security.privileged", PRIVILEGED),
    key("security.runAsUser|runAsNonRoot|runAsGroup|uid|gid|group", "`user: \"1000:1000\"`"),
    key("security.fsGroup|supplementalGroups|groups|group_add",
        "`user: \"1000:1000\"` names user and group; further groups are not given, as they open files of the host"),
    key("security.readOnlyRootFilesystem|read_only", "`read_only_root: true`"),
    key("security.allowPrivilegeEscalation|no_new_privileges|no-new-privileges", "no new privileges are gained, whatever is said"),
    key("security.cap_add", "`capabilities: [NET_ADMIN]`"),
    key("security.cap_drop", DROPPED),
    key("security.seccomp|seccompProfile|apparmor|appArmorProfile|selinux|seLinuxOptions", PROFILES),
    key("security.sysctls", KERNEL),

    key("route.hosts|domain|domains", "`host: a.example.com`; several names are a list: `route: [{ host: a.example.com }, { host: b.example.com }]`"),
    key("route.tls|ssl|cert|certificate", "certificates are the ingress's: see the guide, Traffic"),
    key("route.app_port|backend|service", "`port: http`, the name of a port in `ports`"),
    key("route.path_prefix|pathType|paths|prefix", "`path: /api`, with everything below it"),
    key("route.strip_path|strip_path_prefix|rewrite", "a request reaches the instance with its whole path"),
    key("route.healthcheck", HEALTH),
    key("route.sticky|sessionAffinity", "a client keeps its release by a cookie while releases share the traffic; instances are not kept"),
    key("route.forward_headers|headers", "`X-Forwarded-For` and its kin are set; others pass as they come"),
    key("route.response_timeout|timeout|buffering", "times and sizes are the ingress's: see the guide, Traffic"),
    key("route.rules", "`route: [{ host: a.example.com, path: /api }]`"),

    key("files.*.owner|uid|gid", OWNER),
    key("files.*.target|destination", "the path in the container is the key: `files: { /etc/app.toml: { from: app.toml } }`"),
    key("files.*.source|src|file", "`from: app.toml`"),
    key("hooks.pre|pre-deploy|pre_deploy|post|post-deploy|post_deploy", HOOKS),
    key("hooks.*.*.command|cmd|exec|args", "`run: [./migrate]`"),
    key("rollback_on.http_5xx|5xx|errors_5xx", "`status_5xx: { count: 10, within: 1m }`"),
    key("replicas.count", "`replicas: 3`"),
    key("ports.*.port|targetPort|number", PORT),
];
