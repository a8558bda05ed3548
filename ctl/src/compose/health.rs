//! `healthcheck`.

use serde_json::{Map, Value, json};
use windlass_core::Span;

use super::draft::Draft;
use super::ports::name_of;
use super::values::{millis, text, words};

/// Keys of a `healthcheck`.
const KEYS: [&str; 7] =
    ["test", "disable", "interval", "timeout", "retries", "start_period", "start_interval"];

/// Compose's own defaults.
const EVERY: u64 = 30_000;
const RETRIES: u64 = 3;

pub(super) fn fill(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    let Some(Value::Object(check)) = draft.take(service, "healthcheck") else { return };
    let test = check.get("test");
    let is_off = check.get("disable") == Some(&Value::Bool(true))
        || test.and_then(words).is_some_and(|words| words.first().is_some_and(|word| word == "NONE"));
    if is_off {
        return draft.set(&["health", "image"], json!("off"));
    }
    let Some(ask) = test.and_then(|test| ask(draft, test)) else {
        return draft.say(
            "healthcheck.test",
            "it cannot be read",
            "`health: { readiness: { http: /health } }`",
        );
    };
    let every = check.get("interval").and_then(millis).unwrap_or(EVERY).max(100);
    let failures =
        check.get("retries").and_then(text).and_then(|text| text.parse().ok()).unwrap_or(RETRIES).max(1);
    let mut probe = ask.clone();
    probe.insert("every".to_owned(), span(every));
    probe.extend(
        check.get("timeout").and_then(millis).map(|timeout| ("timeout".to_owned(), span(timeout.max(100)))),
    );
    probe.insert("failures".to_owned(), json!(failures));
    draft.set(&["health", "readiness"], Value::Object(probe));
    if check.contains_key("start_interval") && !check.contains_key("start_period") {
        draft.say(
            "healthcheck.start_interval",
            "without `start_period` it means nothing",
            "`health: { startup: { http: /health, every: 2s, failures: 60 } }` waits for a slow start",
        );
    }
    for key in check.keys().filter(|key| !KEYS.contains(&key.as_str()) && !key.starts_with("x-")) {
        draft.say(
            &format!("healthcheck.{key}"),
            "the key is not known",
            "look at `health` in `windlass schema`",
        );
    }
    // Failures within the start period do not count: a startup probe that is asked all along it.
    if let Some(start) = check.get("start_period").and_then(millis).filter(|start| *start > 0) {
        let often = check.get("start_interval").and_then(millis).unwrap_or(2000).max(100);
        let mut startup = ask;
        startup.insert("every".to_owned(), span(often));
        startup
            .insert("failures".to_owned(), json!(start.div_ceil(often).saturating_add(failures).min(1000)));
        draft.set(&["health", "startup"], Value::Object(startup));
    }
}

fn span(millis: u64) -> Value {
    json!(Span::from_millis(millis).to_string())
}

/// The question of a probe: a request where the test is one, else a command.
fn ask(draft: &Draft<'_>, test: &Value) -> Option<Map<String, Value>> {
    let argv = match test {
        Value::String(_) => vec!["/bin/sh".to_owned(), "-c".to_owned(), text(test)?],
        list => {
            let mut list = words(list)?;
            let form = if list.is_empty() { return None } else { list.remove(0) };
            match form.as_str() {
                "CMD" => list,
                "CMD-SHELL" => vec!["/bin/sh".to_owned(), "-c".to_owned(), list.join(" ")],
                _ => return None,
            }
        }
    };
    let line = argv.last().filter(|_| argv.first().is_some_and(|word| word == "/bin/sh"));
    let asked = match line {
        Some(line) => windlass_core::manifest::split_words(line).unwrap_or_default(),
        None => argv.clone(),
    };
    if let Some((path, port)) = request(&asked)
        && let Some(name) = name_of(draft, port)
    {
        return Some(Map::from_iter([("http".to_owned(), json!(path)), ("port".to_owned(), json!(name))]));
    }
    (!argv.is_empty()).then(|| Map::from_iter([("exec".to_owned(), json!(argv))]))
}

/// `curl -f http://localhost:8080/health || exit 1`: a plain request of the container to itself.
fn request(words: &[String]) -> Option<(String, u16)> {
    let program = words.first()?.rsplit('/').next()?;
    let words = match words.iter().position(|word| word == "||") {
        Some(at) if words[at + 1..] == ["exit".to_owned(), "1".to_owned()] => &words[..at],
        Some(_) => return None,
        None => words,
    };
    let harmless = |word: &String| {
        matches!(
            word.as_str(),
            "-f" | "-s"
                | "-S"
                | "-fsS"
                | "-sf"
                | "-fs"
                | "-sS"
                | "-q"
                | "--fail"
                | "--silent"
                | "--spider"
                | "-qO-"
        )
    };
    let urls: Vec<&String> = words[1..].iter().filter(|word| word.starts_with("http://")).collect();
    let rest = words[1..].iter().filter(|word| !word.starts_with("http://"));
    if !matches!(program, "curl" | "wget") || urls.len() != 1 || !rest.clone().all(harmless) {
        return None;
    }
    let url = urls[0].strip_prefix("http://")?;
    let (host, path) = url.find('/').map_or((url, "/"), |at| url.split_at(at));
    let (host, port) = host.rsplit_once(':').unwrap_or((host, "80"));
    matches!(host, "localhost" | "127.0.0.1" | "0.0.0.0")
        .then(|| Some((path.to_owned(), port.parse().ok()?)))?
}
