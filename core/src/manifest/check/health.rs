//! Probes.

use crate::manifest::model::{Manifest, Probe};
use crate::manifest::{defaults, lower};
use crate::release;

use super::super::closest::closest;
use super::Findings;
use super::request::Place;

const MAX_COUNT: u32 = 1000;
const MAX_PATH: usize = 2048;
/// A path that a hint repeats is at most so long.
const SHOWN: usize = 80;

pub(super) fn check(manifest: &Manifest, findings: &mut Findings<'_>) {
    for (key, probe) in manifest.health.probes() {
        kind(key, probe, findings);
        port(key, probe, manifest, findings);
        numbers(key, probe, findings);
        if let Some(path) = &probe.http {
            let odd = path.chars().any(|c| c.is_whitespace() || c.is_control() || c == '#');
            if !path.starts_with('/') || odd || path.len() > MAX_PATH {
                let hint = path_of(path).map(|path| format!("did you mean `{path}`?"));
                let hint = hint.as_deref().unwrap_or("begins with `/`, like `/health`");
                findings.error(&["health", key, "http"], "is not the path of a request", hint);
            }
        }
        close(key, probe, manifest, findings);
        if probe.exec.as_ref().is_some_and(|argv| argv.first().is_none_or(String::is_empty)) {
            findings.error(&["health", key, "exec"], "names no program", "a list, like `[\"pg_isready\"]`");
        }
    }
    if let Some(startup) = &manifest.health.startup {
        patience(startup, manifest, findings);
    }
}

/// The path in `http://localhost/health` or `health`.
fn path_of(text: &str) -> Option<String> {
    let path = match text.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/".to_owned(), |at| rest[at..].to_owned()),
        None => format!("/{text}"),
    };
    let is_plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.?=&".contains(&b));
    (is_plain && !text.starts_with('/') && path.len() <= SHOWN).then_some(path)
}

fn kind(key: &str, probe: &Probe, findings: &mut Findings<'_>) {
    let kinds =
        [("http", probe.http.is_some()), ("tcp", probe.tcp.is_some()), ("exec", probe.exec.is_some())];
    let given: Vec<&str> = kinds.iter().filter(|(_, given)| *given).map(|(kind, _)| *kind).collect();
    match given.as_slice() {
        [_] => {}
        [] => findings.error(
            &["health", key],
            "asks nothing",
            "one of `http: /path`, `tcp: port-name`, `exec: [program]`",
        ),
        several => {
            let list = several.join(" and ");
            findings.error(
                &["health", key],
                format!("asks {list} at once"),
                "keep one (in an overlay, set the other to `null`)",
            );
        }
    }
    if let Some(field) = probe.keys_of_http().first().filter(|_| probe.http.is_none()) {
        findings.error(&["health", key, field], "goes with `http` only", "");
    }
    if probe.port.is_some() && probe.http.is_none() {
        findings.error(
            &["health", key, "port"],
            "goes with `http` only",
            "`tcp` names its port itself: `tcp: http`",
        );
    }
}

/// The request of a probe and its answer, beyond a path.
fn close(key: &str, probe: &Probe, manifest: &Manifest, findings: &mut Findings<'_>) {
    if let release::Check::Request(asked) = lower::probe(probe, &defaults::READINESS).check {
        let mut at = Place { key: "health", index: key.to_owned(), manifest, findings };
        at.message(&asked.request.method, &asked.request.headers, &asked.request.body);
        at.tls(asked.request.tls.as_ref(), false);
        at.expect(&asked.expect);
    }
}

fn port(key: &str, probe: &Probe, manifest: &Manifest, findings: &mut Findings<'_>) {
    let asked = match (&probe.http, &probe.tcp) {
        (Some(_), _) => ("port", probe.port.as_deref()),
        (None, Some(name)) => ("tcp", Some(name.as_str())),
        (None, None) => return,
    };
    match asked {
        (_, None) => findings.error(
            &["health", key],
            "asks a port, and the service has none",
            "`ports: { http: 3001 }`",
        ),
        (field, Some(name)) if !manifest.ports.contains_key(name) => {
            let known = || manifest.ports.keys().map(String::as_str);
            let hint = match (closest(name, known()), manifest.ports.is_empty()) {
                _ if manifest.port_called(name).is_some() => {
                    let called = manifest.port_called(name).unwrap_or_default();
                    format!("a port goes by its name: `{field}: {called}`")
                }
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, true) => "the service has no ports; `ports: { http: 3001 }`".to_owned(),
                (None, false) => format!("known ports: {}", known().collect::<Vec<_>>().join(", ")),
            };
            let shown: String = name.chars().take(63).collect();
            findings.error(&["health", key, field], format!("there is no port `{shown}`"), &hint);
        }
        (_, Some(_)) => {}
    }
}

fn numbers(key: &str, probe: &Probe, findings: &mut Findings<'_>) {
    for (field, span) in [("every", probe.every), ("timeout", probe.timeout)] {
        if span.is_some_and(|span| span.duration().as_millis() < 100) {
            findings.error(&["health", key, field], "must be at least 100ms", "");
        }
    }
    for (field, count) in [("failures", probe.failures), ("successes", probe.successes)] {
        if count.is_some_and(|count| !(1..=MAX_COUNT).contains(&count)) {
            findings.error(&["health", key, field], format!("must be from 1 to {MAX_COUNT}"), "");
        }
    }
    let only_one = matches!(key, "startup" | "liveness") && probe.successes.is_some_and(|count| count > 1);
    if only_one {
        let reason = format!("one success is enough for `{key}`");
        findings.error(&["health", key, "successes"], reason, "`readiness` may ask for more");
    }
}

/// A start that may take longer than a rollout may go without progress would never be waited for.
fn patience(startup: &Probe, manifest: &Manifest, findings: &mut Findings<'_>) {
    let (Some(every), Some(failures)) = (startup.every, startup.failures) else { return };
    let whole = every.duration().saturating_mul(failures);
    if whole > manifest.progress_deadline.duration() {
        let reason = format!(
            "is shorter than the {} a start may take (`health.startup`: failures × every)",
            crate::time::display_duration(whole)
        );
        findings.warning(&["progress_deadline"], reason, "make it longer, or the rollout fails first");
    }
}
