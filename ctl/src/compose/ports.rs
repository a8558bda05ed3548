//! `ports` and `expose`.

use serde_json::{Map, Value, json};

use super::draft::{Draft, take};
use super::values::text;

/// Ports that speak something else than HTTP, with their names.
const KNOWN: [(u16, &str); 12] = [
    (5432, "postgres"),
    (3306, "mysql"),
    (6379, "redis"),
    (27017, "mongodb"),
    (5672, "amqp"),
    (9092, "kafka"),
    (4222, "nats"),
    (1433, "mssql"),
    (11211, "memcached"),
    (1883, "mqtt"),
    (22, "ssh"),
    (25, "smtp"),
];

/// Ports in a range that are written one by one.
const MAX_RANGE: u16 = 32;

/// One published port.
struct Published {
    container: u16,
    host: Option<u16>,
}

pub(super) fn fill(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    let published = draft.list(service, "ports");
    for (n, value) in published.iter().enumerate() {
        let key = format!("ports.{n}");
        match value {
            Value::Object(long) => self::long(draft, &key, long),
            short => match text(short) {
                Some(text) => self::short(draft, &key, &text),
                None => draft.say(&key, "it is no port", "write it by hand"),
            },
        }
    }
    let fixed: Vec<String> = draft
        .get(&["ports"])
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::values)
        .filter_map(|port| port.get("host")?.as_u64())
        .map(|port| port.to_string())
        .collect();
    if !fixed.is_empty() {
        draft.say(
            "ports",
            &format!("a fixed port of the host ({}) needs its host's leave", fixed.join(", ")),
            &format!(
                "`host_ports = [{}]` in policy.toml of every host; or leave `host` away and use `route`",
                fixed.join(", ")
            ),
        );
    }
    for value in draft.list(service, "expose") {
        let written = text(&value).unwrap_or_default();
        let (number, protocol) = written.split_once('/').unwrap_or((&written, "tcp"));
        match number.parse() {
            _ if !is_tcp(draft, "expose", protocol) => {}
            Ok(container) => add(draft, &Published { container, host: None }),
            Err(_) => draft.odd("expose", &value, "name each port in `ports`"),
        }
    }
}

fn long(draft: &mut Draft<'_>, key: &str, long: &Map<String, Value>) {
    let number = |key: &str| long.get(key).and_then(text).and_then(|text| text.parse().ok());
    if !is_tcp(draft, key, long.get("protocol").and_then(Value::as_str).unwrap_or("tcp")) {
        return;
    }
    let Some(container) = number("target") else {
        return draft.say(key, "it names no port of the container", "write it by hand");
    };
    let is_open =
        is_on_every_address(draft, key, long.get("host_ip").and_then(Value::as_str).unwrap_or_default());
    let host = number("published");
    if let Some(published) = take(long, "published").filter(|_| host.is_none()) {
        draft.odd(
            &format!("{key}.published"),
            published,
            "name each port in `ports`, like `{ container: 80, host: 8080 }`",
        );
    }
    // A port 0 is one that the engine chooses.
    add(draft, &Published { container, host: host.filter(|port| *port > 0 && is_open) });
}

/// `80`, `8080:80`, `127.0.0.1:8080:80`, `8000-8002:80-82`, each with `/tcp` or `/udp`.
fn short(draft: &mut Draft<'_>, key: &str, written: &str) {
    let (plain, protocol) = written.split_once('/').unwrap_or((written, "tcp"));
    if !is_tcp(draft, key, protocol) {
        return;
    }
    let (rest, container) = plain.rsplit_once(':').unwrap_or(("", plain));
    let (address, host) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (Some(containers), Some(hosts)) =
        (range(container), if host.is_empty() { Some(None) } else { range(host).map(Some) })
    else {
        return draft.say(key, &format!("`{written}` is no port"), "write it by hand");
    };
    let length = containers.1 - containers.0;
    if length >= MAX_RANGE || hosts.is_some_and(|hosts| hosts.1 - hosts.0 != length) {
        return draft.say(key, "a range of ports like this is not carried over", "name each port in `ports`");
    }
    let hosts = hosts.filter(|_| is_on_every_address(draft, key, address));
    for n in 0..=length {
        add(draft, &Published { container: containers.0 + n, host: hosts.map(|hosts| hosts.0 + n) });
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

/// Returns whether a protocol is TCP; another one is noted.
fn is_tcp(draft: &mut Draft<'_>, key: &str, protocol: &str) -> bool {
    let is_tcp = protocol.eq_ignore_ascii_case("tcp");
    if !is_tcp {
        let reason = format!("ports are TCP; a {} port is not published", protocol.to_ascii_uppercase());
        draft.say(key, &reason, "run it beside Windlass, or behind a TCP port");
    }
    is_tcp
}

/// Returns whether a port is published on every address of the host. One that is not loses its fixed number, so that nothing
/// is open to others under the number that was meant for a few.
fn is_on_every_address(draft: &mut Draft<'_>, key: &str, address: &str) -> bool {
    let address = address.trim_matches(['[', ']']);
    let is_open = matches!(address, "" | "0.0.0.0" | "::");
    if !is_open {
        let reason = format!(
            "ports are published on the address of the host, not on {address} only: its fixed number is left away"
        );
        let hint = "other services reach it by `uses`, people by `route`; the agent draws a port, which the host's firewall can close";
        draft.say(key, &reason, hint);
    }
    is_open
}

fn add(draft: &mut Draft<'_>, port: &Published) {
    let known = KNOWN.iter().find(|(number, _)| *number == port.container).map(|(_, name)| *name);
    let is_first = draft.get(&["ports"]).is_none();
    let name = match known {
        Some(name) => name.to_owned(),
        None if is_first => "http".to_owned(),
        None => format!("port-{}", port.container),
    };
    if name_of(draft, port.container).is_some() {
        return;
    }
    let value = match (port.host, known) {
        (None, None) => json!(port.container),
        (host, known) => {
            let mut map = Map::from_iter([("container".to_owned(), json!(port.container))]);
            map.extend(host.map(|host| ("host".to_owned(), json!(host))));
            map.extend(known.map(|_| ("protocol".to_owned(), json!("tcp"))));
            Value::Object(map)
        }
    };
    draft.set(&["ports", &name], value);
}

/// The name of a port of the container, if the manifest has it.
pub(super) fn name_of(draft: &Draft<'_>, container: u16) -> Option<String> {
    let ports = draft.get(&["ports"])?.as_object()?;
    let number = |value: &Value| value.get("container").unwrap_or(value).as_u64();
    ports.iter().find(|(_, value)| number(value) == Some(u64::from(container))).map(|(name, _)| name.clone())
}
