//! Keys and values as other systems write them.

use super::*;
use crate::manifest::foreign::{all, hint};
use crate::manifest::schema;

fn said(rest: &str) -> String {
    match try_load(&format!("service: web\nimage: nginx:1\n{rest}")) {
        Ok(_) => "fine".to_owned(),
        Err(errors) => errors.to_string(),
    }
}

/// The schema at `path`; `*` stands for any key.
fn below<'s>(schema: &'s serde_json::Value, path: &[&str]) -> Option<&'s serde_json::Value> {
    let Some((key, rest)) = path.split_first() else { return Some(schema) };
    let choices = ["anyOf", "oneOf"].iter().filter_map(|word| schema.get(word)?.as_array()).flatten();
    choices.chain([schema]).find_map(|schema| {
        let known = schema.get("properties").and_then(|properties| match *key {
            "*" => properties.as_object()?.values().next(),
            key => properties.get(key),
        });
        let any = ["additionalProperties", "items"].map(|of| schema.get(of));
        let any = any.into_iter().flatten().find(|any| any.is_object() && *key == "*");
        below(known.or(any)?, rest)
    })
}

/// `a.*.b|c` as `a.*.b` and `a.*.c`.
fn paths(pattern: &str) -> Vec<String> {
    let (above, last) = pattern.rsplit_once('.').map_or(("", pattern), |(above, last)| (above, last));
    let dot = if above.is_empty() { "" } else { "." };
    last.split('|').map(|key| format!("{above}{dot}{key}")).collect()
}

/// The keys of a service of compose (compose-spec, 05-services.md), of `deploy.yml` of Kamal 2, of a job of Nomad 1.9 down to its
/// task, and of a Deployment, StatefulSet, CronJob, Service, Ingress and autoscaler of Kubernetes 1.31 down to its container.
const THEIRS: &str = "annotations attach build blkio_config cpu_count cpu_percent cpu_shares cpu_period cpu_quota cpu_rt_runtime \
    cpu_rt_period cpus cpuset cap_add cap_drop cgroup cgroup_parent configs container_name credential_spec depends_on deploy \
    develop device_cgroup_rules devices dns dns_opt dns_search domainname driver_opts entrypoint env_file environment expose \
    extends external_links extra_hosts gpus group_add healthcheck hostname ipc isolation label_file links logging mac_address \
    mem_limit mem_reservation mem_swappiness memswap_limit models name network_mode networks oom_kill_disable oom_score_adj pid \
    pids_limit platform post_start pre_stop privileged profiles provider pull_policy read_only restart runtime scale security_opt \
    stdin_open stop_grace_period storage_opt sysctls tmpfs tty use_api_socket user userns_mode uts volumes_from working_dir \
    include services version update_config rollback_config endpoint_mode restart_policy \
    servers accessories aliases allow_empty_roles asset_path boot builder deploy_timeout error_pages_path hooks_path \
    minimum_version options primary_role proxy readiness_delay registry require_destination retain_containers roles run_directory \
    secrets_path ssh sshkit stop_wait_time cmd \
    affinity all_at_once artifact config connect constraint consul count csi_plugin datacenters device disconnect \
    dispatch_payload driver ephemeral_disk gateway group identity kill_signal kill_timeout leader logs max_client_disconnect meta \
    migrate multiregion namespace network node_pool numa parameterized periodic priority region reschedule scaling schedule \
    scratch shutdown_delay sidecar_service spread stop_after_client_disconnect task template ui update variable vault volume \
    volume_mount action check \
    activeDeadlineSeconds apiVersion automountServiceAccountToken backoffLimit clusterIP completions concurrencyPolicy containers \
    data dnsConfig dnsPolicy enableServiceLinks envFrom ephemeralContainers externalTrafficPolicy hostAliases hostIPC \
    hostNetwork hostPID imagePullPolicy imagePullSecrets ingressClassName initContainers jobTemplate kind lifecycle \
    livenessProbe maxReplicas maxUnavailable metadata metrics minAvailable minReadySeconds minReplicas nodeName nodeSelector os \
    overhead parallelism paused podManagementPolicy preemptionPolicy priorityClassName progressDeadlineSeconds readinessGates \
    readinessProbe resizePolicy restartPolicy revisionHistoryLimit rules runtimeClassName scaleTargetRef schedulerName \
    securityContext selector serviceAccount serviceAccountName serviceName sessionAffinity setHostnameAsFQDN \
    shareProcessNamespace spec startupProbe status stdin stringData subdomain terminationGracePeriodSeconds \
    terminationMessagePath tls tolerations topologySpreadConstraints updateStrategy volumeClaimTemplates volumeDevices \
    volumeMounts workingDir";

#[test]
fn every_key_of_theirs_has_its_own_hint() {
    let without: Vec<&str> =
        THEIRS.split_whitespace().filter(|key| hint(&[(*key).to_owned()]).is_none()).collect();
    assert_eq!(without, [""; 0]);
}

#[test]
fn words_that_look_alike_are_not_meant() {
    for key in ["mode", "logz", "roels", "devise"] {
        let text = said(&format!("{key}: x\n"));
        assert!(!text.contains("did you mean"), "{text}");
    }
}

#[test]
fn a_key_of_another_system_is_told_in_ours() {
    let schema = schema();
    for (written, foreign) in
        all().flat_map(|foreign| paths(foreign.path).into_iter().map(move |path| (path, foreign)))
    {
        let path: Vec<&str> = written.split('.').collect();
        let (key, above) = path.split_last().unwrap();
        let place = below(&schema, above).unwrap_or_else(|| panic!("{written}: there is no such place"));
        let has_any = place.get("additionalProperties").is_some_and(serde_json::Value::is_object);
        // `environment` is the name of one here, and the variables of a process in compose.
        if !has_any && written != "environment" {
            assert!(below(&schema, &path).is_none(), "{written} is a key of ours");
        }
        let whole: Vec<String> =
            path.iter().map(|part| if *part == "*" { "readiness" } else { part }.to_owned()).collect();
        assert_eq!(hint(&whole), Some(foreign.hint), "{written}: another entry is found first");
        if above.is_empty() && written != "environment" {
            let text = said(&format!("{key}: x\n"));
            let at = format!("web.yaml:3:1: `{key}`: ");
            assert!(text.starts_with(&at) && text.contains(foreign.hint), "{written}: {text}");
        }
    }
}

#[test]
fn keys_below_ours_are_told_in_ours() {
    #[rustfmt::skip]
    let table = [
        ("resources: { limits: { cpus: \"0.5\" } }", "`resources.limits`: unknown key\n  hint: one value is limit and request"),
        ("ports: { http: 80 }\nhealth: { liveness: { httpGet: { path: / } } }", "`health.liveness.httpGet`: unknown key\n  hint: `http: /health`"),
        ("ports: { http: 80 }\nhealth: { readiness: { http: /, periodSeconds: 5 } }", "hint: `every: 5s` is the time"),
        ("strategy: { rolling: { maxSurge: 1 } }", "hint: `max_surge: 25%`"),
        ("volumes: { data: { mountPath: /data } }", "hint: `mount: /data`"),
        ("environment: { A: b }", "web.yaml:3:14: `environment`: expected text, found a map\n  hint: `env: { MODE: fast }`"),
        ("environment: [A=b]", "hint: `env: { MODE: fast }`"),
        ("env: { clear: { A: b } }", "`env.clear`: expected text, found a map\n  hint: variables stand in `env` itself"),
    ];
    for (rest, want) in table {
        let text = said(rest);
        assert!(text.contains(want), "{rest}: {text}");
    }
    assert!(said("apiVersion: apps/v1\nkind: Deployment\n").contains("this is a document of Kubernetes"));
}

#[test]
fn a_document_of_another_system_is_one_mistake() {
    let whole = |text: &str| try_load(text).unwrap_err().to_string();
    #[rustfmt::skip]
    let table = [
        ("version: \"3\"\nservices: { web: { image: a } }\nvolumes: [a]\nconfigs: {}\n", "web.yaml:2:1: `services`: unknown key\n  hint: this is a compose file"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {}\nspec: { containers: [] }\n", "this is a document of Kubernetes"),
        ("job: web\ndatacenters: [dc1]\ngroup: {}\n", "this is a job of Nomad"),
    ];
    for (text, want) in table {
        let said = whole(text);
        assert!(said.contains(want), "{text}: {said}");
        assert_eq!(said.matches("hint: ").count(), 1, "{text}: {said}");
    }
    let own = said("version: 3\nservices: 2\nreplicas: x\n");
    assert_eq!(own.matches("hint: ").count(), 3, "a manifest with a key of theirs is told all: {own}");
    assert!(said("template: {}\n").contains("hint: a file of the service: `files:"));
}

#[test]
fn keys_with_an_x_hold_anchors() {
    let text = "x-env: &env { MODE: fast }\nservice: web\nimage: nginx:1\nenv: { <<: *env, spring.profiles.active: prod }\n";
    let spec = spec_of(text);
    assert_eq!((spec.env["MODE"].as_str(), spec.env["spring.profiles.active"].as_str()), ("fast", "prod"));
    assert!(
        said("env: { spring.profiles.active: \"${P}\" }").contains("--set env.\"spring.profiles.active\"=…")
    );
}

#[test]
fn lists_of_compose_are_written_as_maps() {
    #[rustfmt::skip]
    let table = [
        ("ports: [\"8080:80\", \"127.0.0.1:9443:443/tcp\"]",
         "`ports`: expected a map, found a list\n  hint: write a map by name: `ports: { http: { container: 80, host: 8080 }, port-443: { container: 443, host: 9443 } }`"),
        ("ports: [3000]", "`ports: { http: 3000 }`"),
        ("ports: [\"53:53/udp\", \"53:53\"]", "hint: ports are TCP: leave out those of UDP"),
        ("ports: [8000-8010]", "`ports: { http: 80 }`"),
        ("ports: [\"53:53\", { target: 53, protocol: UDP }]", "hint: ports are TCP"),
        ("ports: [{ containerPort: 80, hostPort: 8080 }, { target: 443, name: tls }]", "`ports: { http: { container: 80, host: 8080 }, tls: 443 }`"),
        ("ports: [\"127.0.0.1:8080:80\"]", "host: 8080 } }`; it is open at every address of the host, not at 127.0.0.1 alone"),
        ("ports: { dns: \"53:53/udp\" }", "hint: ports are TCP: leave out those of UDP"),
        ("ports: { dns: \"8000-8010\" }", "hint: a range is not taken: name each port, like `dns: 8000`"),
        ("ports: { web: \"127.0.0.1:8080:80\" }", "write `web: { container: 80, host: 8080 }`; it is open at every address"),
        ("env: [{ name: A, value: b }]", "`env: { A: b }`"),
        ("security: { capabilities: { add: [NET_ADMIN], drop: [ALL] } }", "write `capabilities: [NET_ADMIN]`"),
        ("health: /health", "write `health: { readiness: { http: /health } }`"),
        ("ports: { http: 80 }\nhealth: { readiness: { exec: { command: [a, b] } } }", "write `exec: [a, b]`"),
        ("volumes: [\"db_data:/var/lib/pg\", \"./conf:/etc/app:ro\", \"/srv/x:/x\", /cache]",
         "`volumes: { db-data: { mount: /var/lib/pg }, data-1: { mount: /etc/app, host_path: /srv/…, read_only: true }, data-2: { mount: /x, host_path: /srv/x }, … }`"),
        ("env: [MODE=fast, \"N=1\"]", "`env: { MODE: fast, N: \"1\" }`"),
        ("command: /bin/sh -c \"echo hi\"", "`command`: expected a list, found text\n  hint: write `[/bin/sh, \"-c\", \"echo hi\"]`"),
        ("resources: { cpu: 500m }", "hint: in cores: `0.5`"),
        ("resources: { memory: 512M }", "hint: `512MiB`, or with units of 1000 `512MB`"),
        ("resources: { memory: 1Gi }", "hint: `1GiB`"),
        ("ports: { http: 08080 }", "`08080` is not a whole number"),
        ("ports: { http: 80.5 }", "`80.5` is not a whole number"),
    ];
    for (rest, want) in table {
        let text = said(rest);
        assert!(text.contains(want), "{rest}: {text}");
    }
}

#[test]
fn a_variable_that_nothing_replaces_is_refused() {
    let text = said("env: { URL: \"http://${HOST:-x}/\" }");
    assert!(
        text.starts_with("web.yaml:3:13: `env.URL`: has `${HOST}`, which is not replaced\n  hint: "),
        "{text}"
    );
    assert!(text.contains("--set env.URL=") && text.contains("`$${HOST}` is the text itself"), "{text}");
    let text = try_load("service: web\nimage: web:${TAG}\n").unwrap_err().to_string();
    assert!(text.contains("hint: `${TAG}` is not replaced; give the image with `--set image=…`"), "{text}");
    let spec = load_one("service: web\nimage: nginx:1\nenv: { A: \"$${X} $Y $(z)\", B: \"100$\" }\n")
        .into_spec(image(), |_| Err(String::new()))
        .unwrap();
    assert_eq!((spec.env["A"].as_str(), spec.env["B"].as_str()), ("${X} $Y $(z)", "100$"));
}

/// Words in backticks of the first column of the tables in the chapter about other systems.
fn keys_of_the_guide() -> Vec<String> {
    let guide = include_str!("../../../../docs/guide.md");
    let (_, chapter) = guide.split_once("## 16. Coming from").unwrap();
    let rows =
        chapter.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.split('|').nth(1));
    let words = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    // Rows that name no key of a file: values, and commands.
    words
        .filter(|word| {
            !word.contains([':', ' ', '"', '/']) && !word.starts_with(|c: char| c.is_ascii_digit())
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_guide_and_the_hints_know_the_same_keys() {
    let keys = keys_of_the_guide();
    assert!(keys.len() > 70, "the tables are found: {keys:?}");
    let ours = schema();
    for key in &keys {
        let last = key.rsplit('.').next().unwrap();
        let is_told =
            all().any(|foreign| paths(foreign.path).iter().any(|path| path.rsplit('.').next() == Some(last)));
        let is_ours = ours["properties"].get(key.split('.').next().unwrap()).is_some();
        // Below a key that has a hint of its own.
        let is_below = all().any(|foreign| key.starts_with(&format!("{}.", foreign.path)));
        assert!(is_told || is_ours || is_below, "`{key}` stands in the guide and has no hint");
    }
}
