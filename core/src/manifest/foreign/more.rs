//! Further keys of other systems at the top of a manifest, system by system.

use super::words::{
    COMPOSE, DEPENDS, Foreign, HOOKS, KAMAL, KERNEL, KUBERNETES, LABELS, LIMITS, NOMAD, OPTION, PORT,
    RESTART, ROLLING, SECRETS, SPACES, VOLUME, key,
};

const JOBS: &str =
    "jobs come later; `hooks: { before: [{ run: [./migrate] }] }` runs a command once with a rollout";
const SCALES: &str = "`replicas: { min: 2, max: 10 }` with `windlass scale`; autoscaling comes later";
const ENVIRONMENTS: &str = "`environment: production` keeps services apart; `-e NAME` chooses one";
const FILES: &str = "`files: { /etc/app.toml: { from: app.toml } }`";
const STARTS: &str =
    "`hooks: { before: [{ run: [./prepare] }] }` runs a command before a rollout touches anything";
const STOPS: &str = "`stop_signal: SIGTERM` and `stop_timeout: 30s` say how a process ends";
const SPREADS: &str = "`placement: { spread: host }`, and `require: { role: app }` for labels of the host";
const CORDON: &str = "a host that shall get nothing is cordoned: `windlass host cordon`";
const ACCESS: &str = "a process gets no access to the coordinator";
const KEEPS: &str = "an instance runs until its release is replaced; `rollback_on` says when that is undone";
const MINIMUM: &str = "`strategy: { rolling: { max_unavailable: 0 } }`: drains and rollouts heed it";
const ROUTE: &str = "`route: { host: api.example.com, port: http }`";
const CERTIFICATES: &str = "certificates are the ingress's: see the guide, Traffic";
const DNS: &str = "names are resolved by the host's DNS; give an address in `env`";
const LOST: &str = "`on_lost: { replace_after: 5m }` says what becomes of the instances of a lost host";
const PRIORITY: &str = "no service has priority over another: `placement` says where each may run";

/// Every path is one that a manifest does not have.
#[rustfmt::skip]
pub(super) const MORE: &[Foreign] = &[
    key("app", "`service: web` is its name"),
    key("canary", "`strategy: { canary: { steps: [10%, 50%, 100%] } }`"),

    // Compose.
    key("include|models", COMPOSE),
    key("cpu_percent|cpu_shares|cpu_period|cpu_quota|cpu_rt_runtime|cpu_rt_period|cpuset", LIMITS),
    key("mem_swappiness|memswap_limit|oom_kill_disable|oom_score_adj", LIMITS),
    key("blkio_config|cgroup|storage_opt|device_cgroup_rules|credential_spec|userns_mode|use_api_socket", OPTION),
    key("uts", SPACES),
    key("dns_opt|dns_search", DNS),
    key("driver_opts", VOLUME),
    key("label_file", LABELS),
    key("mac_address", "`ports: { http: 80 }` and `route` reach a container; it has no address of its own to count on"),
    key("post_start", STARTS),
    key("pre_stop", STOPS),
    key("attach", "`windlass logs -f` follows what an instance writes"),
    key("develop", "`windlass dev` runs a fleet on this machine"),
    key("provider", "a provider is a service or a host's own program; `env` gives its address"),
    key("rollback_config|endpoint_mode", "how one release replaces another stands in `strategy`, and `route` is where it is reached"),

    // Kamal.
    key("sshkit", "hosts run `windlass-agent`; nobody logs in to deploy"),
    key("hooks_path", HOOKS),
    key("error_pages_path", "the ingress answers errors of its own with one line of text"),
    key("require_destination|minimum_version|primary_role|allow_empty_roles|roles", KAMAL),
    key("retain_containers", "the last ten good releases are kept"),
    key("readiness_delay", "`health: { readiness: { http: /health, every: 5s } }` says when an instance is ready"),
    key("deploy_timeout", "`progress_deadline: 10m`"),
    key("run_directory", "the agent keeps what it knows in its own folder: `windlass-agent run --data DIR`"),
    key("stop_wait_time", "`stop_timeout: 30s`"),
    key("cmd", "`args: [serve]`, after the image's entry point"),
    key("options", OPTION),
    key("secrets_path", SECRETS),

    // Nomad.
    key("job_type|region|node_pool|all_at_once|multiregion|dispatch_payload|variable|ui|action", NOMAD),
    key("namespace", ENVIRONMENTS),
    key("priority|priorityClassName|preemptionPolicy", PRIORITY),
    key("spread|topologySpreadConstraints", SPREADS),
    key("migrate|reschedule|max_client_disconnect|stop_after_client_disconnect|disconnect", LOST),
    key("meta", LABELS),
    key("volume|volume_mount|csi_plugin|ephemeral_disk|scratch", VOLUME),
    key("logs", "`windlass logs` reads what the engine keeps; it keeps three files of 10 MB"),
    key("kill_signal|shutdown_delay", STOPS),
    key("leader", "a service is one container; several run beside each other as services of their own"),
    key("periodic|parameterized|schedule", JOBS),
    key("connect|gateway|sidecar_service", DEPENDS),
    key("scaling", SCALES),
    key("identity|consul", ACCESS),
    key("device", "`resources: { gpus: 1 }`; other devices are not given"),
    key("numa", LIMITS),

    // Kubernetes.
    key("status|ephemeralContainers|resizePolicy|overhead|os|readinessGates", KUBERNETES),
    key("paused", "`windlass rollout pause` pauses a rollout"),
    key("volumeDevices|volumeClaimTemplates", VOLUME),
    key("serviceName|clusterIP|externalTrafficPolicy|ingressClassName", ROUTE),
    key("sessionAffinity", "a client keeps its release by a cookie while releases share the traffic"),
    key("rules", ROUTE),
    key("tls", CERTIFICATES),
    key("podManagementPolicy|updateStrategy", ROLLING),
    key("nodeName", "`placement: { hosts: [web-1] }`"),
    key("tolerations", CORDON),
    key("serviceAccount|automountServiceAccountToken", ACCESS),
    key("hostPID|hostIPC|shareProcessNamespace", SPACES),
    key("hostAliases|dnsPolicy|dnsConfig", DNS),
    key("terminationMessagePath|terminationMessagePolicy", "`windlass explain` shows the last lines of an instance that ended"),
    key("activeDeadlineSeconds", KEEPS),
    key("runtimeClassName|schedulerName", OPTION),
    key("enableServiceLinks", "`uses: [db]` calls another service by its name"),
    key("data|stringData", FILES),
    key("completions|parallelism|backoffLimit|jobTemplate|concurrencyPolicy", JOBS),
    key("autoscale|autoscaling|autoscaler", SCALES),
    key("minReplicas|maxReplicas|scaleTargetRef|metrics", SCALES),
    key("minAvailable|maxUnavailable", MINIMUM),
    key("stdin", "no terminal is attached; `docker exec` on the host looks inside"),
    key("restartPolicyRules", RESTART),
    key("targetPort|nodePort|containerPort|hostPort", PORT),
    key("sysctl", KERNEL),
];
