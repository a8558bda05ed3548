//! `healthcheck`.

use serde_json::{Map, Value, json};
use windlass_core::Span;

use super::draft::{Draft, take};
use super::ports::name_of;
use super::scalar::flag;
use super::values::{text, words};

/// Compose's own defaults.
const EVERY: u64 = 30_000;
const RETRIES: u64 = 3;

pub(super) fn fill(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    let Some(Value::Object(check)) = take(service, "healthcheck") else { return };
    let test = check.get("test");
    let is_off = check.get("disable").and_then(flag) == Some(true)
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
    let every = draft.millis(check, "healthcheck.interval").unwrap_or(EVERY);
    if every < 100 {
        draft.say("healthcheck.interval", "a probe is asked ten times a second at most", "`every: 100ms`");
    }
    let every = every.max(100);
    let retries = draft.text(check, "healthcheck.retries").map(|text| text.parse::<u64>());
    if let Some(Err(_)) = retries {
        draft.say("healthcheck.retries", "it is no number", "`failures: 3`");
    }
    let failures = retries.and_then(Result::ok).unwrap_or(RETRIES).max(1);
    let mut probe = ask.clone();
    probe.insert("every".to_owned(), span(every));
    probe.extend(
        draft
            .millis(check, "healthcheck.timeout")
            .map(|timeout| ("timeout".to_owned(), span(timeout.max(100)))),
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
    // Failures within the start period do not count: a startup probe that is asked all along it.
    if let Some(start) = draft.millis(check, "healthcheck.start_period").filter(|start| *start > 0) {
        let often = draft.millis(check, "healthcheck.start_interval").unwrap_or(2000).max(100);
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
    if let Some(request) = request(&asked)
        && let Some(name) = name_of(draft, request.port)
    {
        let mut probe =
            Map::from_iter([("http".to_owned(), json!(request.path)), ("port".to_owned(), json!(name))]);
        probe.extend(request.tls.map(|tls| ("tls".to_owned(), tls)));
        return Some(probe);
    }
    (!argv.is_empty()).then(|| Map::from_iter([("exec".to_owned(), json!(argv))]))
}

/// A request of a container to itself.
struct Request {
    path: String,
    port: u16,
    /// `tls` of the probe, where it speaks TLS.
    tls: Option<Value>,
}

/// `curl -f http://localhost:8080/health || exit 1`: a plain request of the container to itself.
fn request(words: &[String]) -> Option<Request> {
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
    // They take every certificate.
    let lax = |word: &String| {
        matches!(
            word.as_str(),
            "-k" | "--insecure"
                | "-fk"
                | "-kf"
                | "-fsk"
                | "-fskS"
                | "-fsSk"
                | "-sk"
                | "-ks"
                | "--no-check-certificate"
        )
    };
    let (urls, rest): (Vec<&String>, Vec<&String>) = words[1..].iter().partition(|word| word.contains("://"));
    let is_lax = rest.iter().any(|word| lax(word));
    let [url] = urls.as_slice() else { return None };
    if !matches!(program, "curl" | "wget") || !rest.iter().all(|word| harmless(word) || lax(word)) {
        return None;
    }
    let (scheme, url) = url.split_once("://")?;
    let usual = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return None,
    };
    let (host, path) = url.find('/').map_or((url, "/"), |at| url.split_at(at));
    let (host, port) = host.rsplit_once(':').unwrap_or((host, usual));
    // The certificate is for the name that was asked for.
    let tls = match (scheme, host) {
        ("https", _) if is_lax => Some(json!({ "verify": "off" })),
        ("https", "localhost") => Some(json!({ "name": host })),
        ("https", _) => Some(json!({})),
        _ => None,
    };
    let is_itself = matches!(host, "localhost" | "127.0.0.1" | "0.0.0.0");
    let port = port.parse().ok().filter(|_| is_itself)?;
    Some(Request { path: path.to_owned(), port, tls })
}
