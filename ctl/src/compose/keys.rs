//! The keys of a service, each with its fate: read, moot, or noted. A key that is not here is noted too, so that nothing
//! is dropped in silence.

use serde_json::{Map, Value};
use windlass_core::manifest::foreign_key;

use super::draft::Draft;

/// The fate of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// A reader carries it over, and notes what it cannot.
    Read,
    /// A map, or a list of maps: the keys below it have fates of their own.
    Within,
    /// It asks for what holds anyway, or for what has no meaning here.
    Moot,
    /// It is not carried over: reason and hint.
    Note(&'static str, &'static str),
}

use Fate::{Moot, Note, Read, Within};

const ADDRESS: Fate =
    Note("a container has no address of its own choice", "`uses: [db]` calls another service by its name");
const LINK: Fate =
    Note("networks have no options: services share the network of their host", "remove the key");
const OWNER: Fate =
    Note("a file belongs to root, or to the numeric `security.user`", "`security: { user: \"1000:1000\" }`");
const SELINUX: Fate = Note(
    "labels of SELinux are not set",
    "set the label on the folder of the host: `chcon -t container_file_t`",
);
const ROLLBACK: Fate = Note(
    "a rollback goes the way of `strategy`, and as fast as it may",
    "`strategy: { rolling: { batch: 2 } }`",
);
const RESTARTS: Fate = Note(
    "what ends is started again, with growing pauses and without a last attempt",
    "`rollback_on: { restarts: 1 }` says when that rolls a release back",
);

/// Keys below a service, `*` for any one key. Items of a list have the key of the list.
#[rustfmt::skip]
const KEYS: &[(&str, Fate)] = &[
    ("image", Read), ("build", Read), ("entrypoint", Read), ("command", Read), ("working_dir", Read), ("environment", Read), ("env_file", Read),
    ("user", Read), ("read_only", Read), ("cap_add", Read), ("security_opt", Read), ("init", Read), ("ulimits", Read), ("shm_size", Read),
    ("stop_signal", Read), ("stop_grace_period", Read), ("labels", Read), ("restart", Read), ("depends_on", Read), ("scale", Read), ("cpus", Read),
    ("mem_limit", Read), ("mem_reservation", Read), ("pids_limit", Read), ("gpus", Read), ("expose", Read), ("tmpfs", Read), ("secrets", Read),
    ("attach", Moot), ("cap_drop", Moot),

    ("ports", Within), ("ports.target", Read), ("ports.published", Read), ("ports.protocol", Read), ("ports.host_ip", Read), ("ports.mode", Moot),
    ("ports.name", Note("the name of a port is made of its number", "ports are named by the keys of `ports`: rename it there, and where `port:` names it")),
    ("ports.app_protocol", Note("a port speaks HTTP, or `protocol: tcp`", "`ports: { db: { container: 5432, protocol: tcp } }`")),

    ("volumes", Within), ("volumes.type", Read), ("volumes.source", Read), ("volumes.target", Read), ("volumes.read_only", Read),
    ("volumes.consistency", Moot), ("volumes.bind", Within), ("volumes.bind.create_host_path", Moot), ("volumes.bind.selinux", SELINUX),
    ("volumes.bind.propagation", Note("mounts are private: nothing that is mounted later is seen", "mount it on the host before the service starts")),
    ("volumes.bind.recursive", Note("mounts below the folder come along", "name the folders below it one by one")),
    ("volumes.volume", Within), ("volumes.volume.subpath", Read),
    ("volumes.volume.nocopy", Note("a named volume is made by the agent on its host", "`host_path` names a folder that is filled by hand")),
    ("volumes.volume.labels", Note("volumes carry the labels of Windlass", "remove the key")),
    ("volumes.tmpfs", Within),
    ("volumes.tmpfs.size", Note("options of a scratch mount are not taken", "`resources.memory` limits it")),
    ("volumes.tmpfs.mode", Note("options of a scratch mount are not taken", "every process of the container may write there")),

    ("configs", Within), ("configs.source", Read), ("configs.target", Read), ("configs.mode", Read), ("configs.uid", OWNER), ("configs.gid", OWNER),

    ("healthcheck", Within), ("healthcheck.test", Read), ("healthcheck.disable", Read), ("healthcheck.interval", Read), ("healthcheck.timeout", Read),
    ("healthcheck.retries", Read), ("healthcheck.start_period", Read), ("healthcheck.start_interval", Read),

    ("networks", Within), ("networks.*", Within),
    ("networks.*.aliases", Note("services are found by their own names only", "`uses: [db]` calls another service by its name")),
    ("networks.*.ipv4_address", ADDRESS), ("networks.*.ipv6_address", ADDRESS), ("networks.*.link_local_ips", ADDRESS),
    ("networks.*.mac_address", ADDRESS), ("networks.*.priority", LINK), ("networks.*.gw_priority", LINK), ("networks.*.driver_opts", LINK),
    ("networks.*.interface_name", LINK),

    ("deploy", Within), ("deploy.mode", Read), ("deploy.replicas", Read),
    ("deploy.labels", Note("these are labels of a service of Swarm, and no container has them", "`labels: { team: shop }` are those of its containers")),
    ("deploy.resources", Within), ("deploy.resources.limits", Within), ("deploy.resources.reservations", Within),
    ("deploy.resources.limits.cpus", Read), ("deploy.resources.limits.memory", Read), ("deploy.resources.limits.pids", Read),
    ("deploy.resources.reservations.cpus", Read), ("deploy.resources.reservations.memory", Read), ("deploy.resources.reservations.pids", Read),
    ("deploy.resources.reservations.devices", Within), ("deploy.resources.reservations.devices.capabilities", Read),
    ("deploy.resources.reservations.devices.count", Read), ("deploy.resources.reservations.devices.device_ids", Read),
    ("deploy.resources.reservations.devices.driver", Moot),
    ("deploy.resources.reservations.devices.options", Note("options of the driver are not taken", "variables of the driver stand in `env`")),
    ("deploy.resources.reservations.generic_resources", Note("only cores, memory and GPUs are counted", "`placement: { require: { ssd: yes } }` asks for a label of the host")),
    ("deploy.update_config", Within), ("deploy.update_config.parallelism", Read), ("deploy.update_config.delay", Read), ("deploy.update_config.order", Read),
    ("deploy.update_config.monitor", Read), ("deploy.update_config.failure_action", Read),
    ("deploy.update_config.max_failure_ratio", Note("one instance that fails fails its release", "`on_failure: pause` waits for a person")),
    ("deploy.rollback_config", Within), ("deploy.rollback_config.parallelism", ROLLBACK), ("deploy.rollback_config.delay", ROLLBACK),
    ("deploy.rollback_config.order", ROLLBACK), ("deploy.rollback_config.monitor", ROLLBACK), ("deploy.rollback_config.max_failure_ratio", ROLLBACK),
    ("deploy.rollback_config.failure_action", ROLLBACK),
    ("deploy.restart_policy", Within), ("deploy.restart_policy.condition", Read), ("deploy.restart_policy.delay", RESTARTS),
    ("deploy.restart_policy.max_attempts", RESTARTS), ("deploy.restart_policy.window", RESTARTS),
    ("deploy.placement", Within), ("deploy.placement.constraints", Read), ("deploy.placement.preferences", Read),
    ("deploy.placement.max_replicas_per_node", Note("a service has as few instances on one host as there is room elsewhere", "`per_host: true` runs one on every host")),
    ("deploy.endpoint_mode", Note("there is no virtual address: `uses` and `route` find instances that are ready", "remove the key")),
];

/// Notes every key of a service that nothing carries over.
pub(super) fn rest(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    walk(draft, service, &mut Vec::new());
}

fn walk<'v>(draft: &mut Draft<'_>, map: &'v Map<String, Value>, path: &mut Vec<&'v str>) {
    let asking = map.iter().filter(|(key, value)| !key.starts_with("x-") && !asks_for_nothing(value));
    for (key, value) in asking {
        path.push(key);
        let shown = path.join(".");
        match fate(path) {
            Some(Read | Moot) => {}
            Some(Within) => within(draft, value, path),
            Some(Note(reason, hint)) => draft.say_once(&shown, reason, hint),
            None => match foreign_key(key).filter(|_| path.len() == 1) {
                Some(hint) => draft.say_once(&shown, "a manifest has no such key", hint),
                None => draft.say_once(
                    &shown,
                    "a manifest has no such key",
                    "a container may ask of its host what stands in `resources`, `security` and `volumes`: `windlass schema`",
                ),
            },
        }
        path.pop();
    }
}

fn within<'v>(draft: &mut Draft<'_>, value: &'v Value, path: &mut Vec<&'v str>) {
    match value {
        Value::Object(map) => walk(draft, map, path),
        // Items that are no maps are the business of their reader.
        Value::Array(items) => {
            items.iter().filter_map(Value::as_object).for_each(|item| walk(draft, item, path))
        }
        other => draft.odd(&path.join("."), other, "compose has a map or a list here"),
    }
}

fn fate(path: &[&str]) -> Option<Fate> {
    let fits = |pattern: &str| {
        let mut keys = path.iter();
        pattern.split('.').all(|part| keys.next().is_some_and(|key| part == "*" || part == *key))
            && keys.next().is_none()
    };
    KEYS.iter().find(|(pattern, _)| fits(pattern)).map(|(_, fate)| *fate)
}

/// Returns whether a value is `false` or empty. Readers see it all the same.
pub(super) fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
    }
}
