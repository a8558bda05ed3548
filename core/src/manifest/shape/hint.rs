//! Hints about a value of the wrong kind: the same in the form that its key takes, else an example.

use serde_json::Value;

use super::super::foreign;
use super::super::node::{Kind, Node};
use super::super::render::scalar as word;
use super::reading::{property, types, words};

/// A value that a hint repeats is at most so long.
const SHOWN: usize = 80;

/// Values that keys take: `*` is any one key, `#` an item of a list. A test reads each of them at its place.
#[rustfmt::skip]
pub(in crate::manifest) const EXAMPLES: &[(&str, &str)] = &[
    ("service", "web"),
    ("image", "registry.example.com/team/web:1.5.2"),
    ("replicas", "3"),
    ("replicas.min", "2"),
    ("replicas.max", "10"),
    ("placement", "{ require: { role: app } }"),
    ("placement.require", "{ role: app }"),
    ("placement.hosts", "[web-1, web-2]"),
    ("ports", "{ http: 80 }"),
    ("ports.*", "80"),
    ("ports.*.container", "80"),
    ("env", "{ MODE: fast }"),
    ("uses", "[api]"),
    ("files", "{ /etc/app.toml: { from: app.toml } }"),
    ("files.*", "{ from: app.toml }"),
    ("volumes", "{ data: { mount: /data } }"),
    ("volumes.*", "{ mount: /data }"),
    ("volumes.*.mount", "/data"),
    ("resources", "{ cpu: 0.5, memory: 512MiB }"),
    ("resources.gpus", "1"),
    ("resources.gpus.count", "1"),
    ("security", "{ user: \"1000:1000\" }"),
    ("security.tmpfs", "[/tmp]"),
    ("security.capabilities", "[NET_BIND_SERVICE]"),
    ("ulimits", "{ nofile: 65536 }"),
    ("ulimits.*", "65536"),
    ("ulimits.*.soft", "1024"),
    ("ulimits.*.hard", "65536"),
    ("labels", "{ team: shop }"),
    ("health", "{ readiness: { exec: [pg_isready] } }"),
    ("health.startup", "{ exec: [pg_isready], every: 2s, failures: 60 }"),
    ("health.readiness", "{ exec: [pg_isready], every: 5s }"),
    ("health.liveness", "{ exec: [pg_isready], every: 10s }"),
    ("health.*.expect", "{ status: 200 }"),
    ("health.*.headers", "{ Accept: text/plain }"),
    ("health.*.tls", "{ verify: off }"),
    ("checks", "[{ tcp: \"db.internal:5432\" }]"),
    ("checks.#", "{ tcp: \"db.internal:5432\" }"),
    ("checks.#.expect", "{ status: 200 }"),
    ("checks.#.files_exist", "{ volume: models, paths: [bert.bin] }"),
    ("checks.#.files_exist.volume", "models"),
    ("checks.#.files_exist.paths", "[bert.bin]"),
    ("warm_up", "[{ http: / }]"),
    ("warm_up.#", "{ http: / }"),
    ("warm_up.#.http", "/"),
    ("smoke", "[{ http: /health }]"),
    ("smoke.#", "{ http: /health }"),
    ("smoke.#.http", "/health"),
    ("smoke.#.expect", "{ status: 200 }"),
    ("route", "{ host: api.example.com }"),
    ("route.host", "api.example.com"),
    ("route.#", "{ host: api.example.com }"),
    ("route.#.host", "api.example.com"),
    ("strategy", "{ rolling: {} }"),
    ("strategy.*", "{}"),
    ("strategy.canary.steps", "[10%, 50%, 100%]"),
    ("strategy.blue_green.steps", "[10%, 50%, 100%]"),
    ("strategy.canary.match", "{ header: { x-canary: \"1\" } }"),
    ("rollback_on", "{ restarts: 1 }"),
    ("rollback_on.error_rate", "5%"),
    ("rollback_on.error_rate.max", "5%"),
    ("rollback_on.status_5xx", "{ count: 10, within: 1m }"),
    ("rollback_on.status_5xx.count", "10"),
    ("rollback_on.status_5xx.within", "1m"),
    ("rollback_on.p95", "500ms"),
    ("rollback_on.p95.max", "500ms"),
    ("on_lost", "{ replace_after: 5m }"),
    ("gates", "{ errors: { error_rate: { max: 1% } } }"),
    ("gates.*", "{ error_rate: { max: 1% } }"),
    ("gates.*.error_rate", "{ max: 1% }"),
    ("gates.*.error_rate.max", "1%"),
    ("gates.*.p95", "{ max: 500ms }"),
    ("gates.*.p95.max", "500ms"),
    ("gates.*.crashes", "{ max: 0 }"),
    ("gates.*.crashes.max", "0"),
    ("gates.*.gpu_errors", "{ max: 0 }"),
    ("gates.*.gpu_errors.max", "0"),
    ("gates.*.memory", "{ max: 90% }"),
    ("gates.*.memory.max", "90%"),
    ("gates.*.cpu", "{ max: 90% }"),
    ("gates.*.cpu.max", "90%"),
    ("gates.*.gpu_memory", "{ max: 90% }"),
    ("gates.*.gpu_memory.max", "90%"),
    ("gates.*.http.url", "http://judge.internal/verdict"),
    ("gates.*.prometheus.url", "http://prometheus.internal:9090"),
    ("gates.*.prometheus.query", "up"),
    ("hooks", "{ before: [{ run: [./migrate] }] }"),
    ("hooks.*", "[{ run: [./migrate] }]"),
    ("hooks.*.#", "{ run: [./migrate] }"),
    ("hooks.*.#.run", "[./migrate]"),
];

/// The hint about the value at `path`, which `schema` does not take; `root` is the whole document.
pub(super) fn of(path: &[String], node: &Node, schema: &Value, root: &Node) -> Option<String> {
    let is = |kind: &str| types(schema).any(|known| known == kind);
    let raw = node.raw().unwrap_or_default();
    if let Kind::Text(text) = &node.kind
        && property(schema, text).is_some()
    {
        // `strategy: rolling`
        return Some(format!("write `{text}: {{}}` below it"));
    }
    let is_whole = matches!(node.kind, Kind::Map(_) | Kind::List(_));
    if let Some(theirs) = foreign::hint(path).filter(|_| is_whole) {
        return Some(theirs.to_owned());
    }
    if let ([ports, name], Kind::Text(text)) = (path, &node.kind)
        && ports == "ports"
        && let Some(said) = foreign::one_port(name, text)
    {
        return Some(said);
    }
    if let Some(value) = ours(path, node) {
        return Some(write(path, &value));
    }
    if let Kind::List(items) = &node.kind
        && let Some(map) = foreign::list(path, items)
    {
        return Some(map);
    }
    if matches!(node.kind, Kind::Number { .. } | Kind::Text(_))
        && let Some(named) = port(path, raw, root)
    {
        return Some(named);
    }
    let is_scalar = matches!(node.kind, Kind::Bool { .. } | Kind::Number { .. } | Kind::Text(_));
    if is_scalar && is("boolean") {
        match raw.to_lowercase().as_str() {
            "yes" | "on" | "y" | "1" => return Some(write(path, "true")),
            "no" | "off" | "n" | "0" => return Some(write(path, "false")),
            _ => return Some("`true` or `false`".to_owned()),
        }
    }
    let allowed = words(schema);
    if is_scalar && is("string") && !allowed.is_empty() {
        return Some(format!("one of `{}`", allowed.join("`, `")));
    }
    if is_scalar && is("string") && !has_format(schema) {
        return Some(format!("put quotes around it: \"{raw}\""));
    }
    if is_scalar && is("array") && takes_text(schema) {
        let text = if let Kind::Text(text) = &node.kind { Some(text) } else { None };
        return Some(text.map_or_else(|| format!("write `[\"{raw}\"]`"), |text| foreign::command(text)));
    }
    if (is("integer") || is("number")) && raw.parse::<f64>().is_ok_and(f64::is_finite) {
        return Some(format!("without quotes: `{raw}`"));
    }
    example(path, schema).map(|value| write(path, &value))
}

/// The hint about the key at `path`, which has to be there.
pub(super) fn missing(path: &[String], schema: &Value) -> Option<String> {
    let value = example(path, schema)?;
    path.last().map(|key| format!("add `{}: {value}`", word(key)))
}

/// `key: value`, or the value where it is an item of a list.
fn write(path: &[String], value: &str) -> String {
    match path.last().filter(|key| key.parse::<usize>().is_err()) {
        Some(key) => format!("write `{}: {value}`", word(key)),
        None => format!("write `{value}`"),
    }
}

/// Returns whether text has to be of some form.
fn has_format(schema: &Value) -> bool {
    let choices = ["anyOf", "oneOf"].iter().filter_map(|key| schema.get(*key)?.as_array()).flatten();
    choices.chain([schema]).any(|choice| choice.get("format").is_some())
}

/// Returns whether the items of a list are text.
fn takes_text(schema: &Value) -> bool {
    let choices = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    let items = choices.chain([schema]).find_map(|choice| choice.get("items"));
    items.is_some_and(|items| types(items).all(|kind| kind == "string"))
}

/// A short form, as the form that the key takes.
fn ours(path: &[String], node: &Node) -> Option<String> {
    let keys: Vec<&str> = path.iter().map(String::as_str).collect();
    match (keys.as_slice(), &node.kind) {
        (["volumes", _], Kind::Text(text)) => foreign::volume(text),
        (["files", _], Kind::Text(text)) if !text.is_empty() => Some(format!("{{ from: {} }}", word(text))),
        (["route"], Kind::Text(text)) => route(text),
        // An item of a list, and no key of a map.
        (["route", at], Kind::Text(text)) if at.parse::<usize>().is_ok() => route(text),
        (["gates", _, "p95" | "error_rate" | "memory" | "cpu" | "gpu_memory"], Kind::Text(text)) => {
            Some(format!("{{ max: {} }}", word(text)))
        }
        (["health"], Kind::Text(text)) if text.starts_with('/') => {
            Some(format!("{{ readiness: {{ http: {} }} }}", word(text)))
        }
        (["health", _], Kind::Text(text)) if text.starts_with('/') => {
            Some(format!("{{ http: {} }}", word(text)))
        }
        ([.., "exec"], Kind::Map(_)) => node.get("command").map(flow),
        (["gates", _, "crashes" | "gpu_errors"], Kind::Number { raw, .. }) => {
            Some(format!("{{ max: {raw} }}"))
        }
        (["security", "capabilities"], Kind::Map(_)) => node.get("add").map(flow),
        ([.., "expect"], Kind::Number { raw, .. }) => Some(format!("{{ status: {raw} }}")),
        (["warm_up" | "smoke"], Kind::Text(text)) if text.starts_with('/') => {
            Some(format!("[{{ http: {} }}]", word(text)))
        }
        (["warm_up" | "smoke", _], Kind::Text(text)) if text.starts_with('/') => {
            Some(format!("{{ http: {} }}", word(text)))
        }
        (["hooks", _], Kind::Text(text)) => run(text).map(|run| format!("[{run}]")),
        (["hooks", _, _], Kind::Text(text)) => run(text),
        // One where several may stand.
        (["hooks", _] | ["smoke"] | ["warm_up"] | ["checks"], Kind::Map(entries)) if !entries.is_empty() => {
            let text = flow(node);
            (text.len() <= SHOWN).then(|| format!("[{text}]"))
        }
        _ => None,
    }
}

fn run(text: &str) -> Option<String> {
    let words: Vec<String> = foreign::split_words(text)?.iter().map(|one| word(one)).collect();
    (!words.is_empty()).then(|| format!("{{ run: [{}] }}", words.join(", ")))
}

/// `a.example.com`, `https://a.example.com/api`.
fn route(text: &str) -> Option<String> {
    let plain = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, path) = plain.find('/').map_or((plain, ""), |at| plain.split_at(at));
    let host = host.split(':').next().unwrap_or_default();
    let is_host =
        host.contains('.') && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.*".contains(&b));
    let path = path.trim_end_matches('/');
    let path = if path.is_empty() { String::new() } else { format!(", path: {}", word(path)) };
    is_host.then(|| format!("{{ host: {}{path} }}", word(&host.to_lowercase())))
}

/// The number of a port, where its name is wanted.
fn port(path: &[String], raw: &str, root: &Node) -> Option<String> {
    let keys: Vec<&str> = path.iter().map(String::as_str).collect();
    let field = match keys.as_slice() {
        ["health", _, field @ ("tcp" | "port")]
        | ["warm_up" | "smoke" | "route", _, field @ "port"]
        | ["route", field @ "port"] => *field,
        _ => return None,
    };
    let number: u16 = raw.parse().ok()?;
    let ports = root.get("ports").map(Node::entries).unwrap_or_default();
    let is_it = |value: &Node| {
        value.get("container").unwrap_or(value).raw().and_then(|raw| raw.parse().ok()) == Some(number)
    };
    match ports.iter().find(|entry| is_it(&entry.value)) {
        Some(entry) => Some(format!("write `{field}: {}`: a port goes by its name", word(&entry.key))),
        None => Some(format!("a port goes by its name: `ports: {{ main: {number} }}`, and `{field}: main`")),
    }
}

/// A value that the key takes: of the table, else of the schema.
fn example(path: &[String], schema: &Value) -> Option<String> {
    let fits = |of: &str| {
        let mut parts = of.split('.');
        let is_item = |key: &str| key.parse::<usize>().is_ok();
        let is_at = |part: &str, key: &str| part == "*" || part == key || (part == "#" && is_item(key));
        path.iter().all(|key| parts.next().is_some_and(|part| is_at(part, key))) && parts.next().is_none()
    };
    if let Some((_, value)) = EXAMPLES.iter().find(|(of, _)| fits(of)) {
        return Some((*value).to_owned());
    }
    match schema.get("examples").and_then(|all| all.get(0)).or_else(|| schema.get("default"))? {
        Value::String(text) => Some(word(text)),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(word)).collect();
            items.map(|items| format!("[{}]", items.join(", ")))
        }
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(_) | Value::Null | Value::Object(_) => None,
    }
}

/// A value in one line.
fn flow(node: &Node) -> String {
    match &node.kind {
        Kind::Text(text) => word(text),
        Kind::Bool { raw, .. } | Kind::Number { raw, .. } => raw.clone(),
        Kind::Null => "null".to_owned(),
        Kind::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Kind::Map(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|entry| format!("{}: {}", word(&entry.key), flow(&entry.value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}
