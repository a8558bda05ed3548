//! The process of a service: image, command, environment, user and capabilities.

use serde_json::{Map, Value, json};
use windlass_core::manifest::display_path;
use windlass_core::release::is_signal;

use super::draft::{Draft, take};
use super::order::depends_on;
use super::scalar::flag;
use super::values::{pairs, shown, size, text, texts, variable, words};

pub(super) fn fill(draft: &mut Draft<'_>, service: &Map<String, Value>, all: &Map<String, Value>) {
    image(draft, service);
    for (theirs, ours) in [("entrypoint", "command"), ("command", "args")] {
        let Some(value) = take(service, theirs) else { continue };
        match words(value) {
            Some(words) if words.iter().any(|word| word.contains("${")) => draft.say(
                theirs,
                "it has a variable without a default, which nothing replaces",
                &format!("write `{ours}` by hand"),
            ),
            Some(words) if !words.is_empty() => draft.set(&[ours], json!(words)),
            Some(_) => draft.say(
                theirs,
                "an empty one clears the image's own, which a manifest cannot",
                &format!("`{ours}: [/program]` names what runs"),
            ),
            None => draft.say(theirs, "it cannot be split into words", &format!("`{ours}: [word, word]`")),
        }
    }
    environment(draft, service, all);
    security(draft, service);
    if let Some(folder) = draft.text(service, "working_dir") {
        draft.set(&["workdir"], json!(folder));
    }
    if let Some(policy) = draft.text(service, "restart") {
        restart(draft, "restart", &policy);
    }
    let needed = depends_on(Some(&Value::Object(service.clone())));
    if let Some(value) = take(service, "depends_on").filter(|value| !value.is_array() && !value.is_object()) {
        draft.odd("depends_on", value, "compose has a list or a map here");
    }
    let services = draft.file.get("services").and_then(Value::as_object);
    let is_there = |name: &String| services.is_some_and(|services| services.contains_key(name));
    let (needed, unknown): (Vec<String>, Vec<String>) = needed.into_iter().partition(is_there);
    if !unknown.is_empty() {
        let text = format!("there is no service {} in the file", unknown.join(", "));
        draft.say("depends_on", &text, "take it out, or import its file too");
    }
    if !needed.is_empty() {
        draft.say(
            "depends_on",
            &format!("nothing waits for {}; the manifests come in that order", needed.join(", ")),
            "`checks: [{ tcp: db.internal:5432 }]` asks before the first start of a release",
        );
    }
    options(draft, service);
}

/// A policy of restarts, under either of its keys.
pub(super) fn restart(draft: &mut Draft<'_>, key: &str, policy: &str) {
    match policy {
        "always" | "unless-stopped" | "any" => {}
        "no" | "false" | "none" => draft.say(
            key,
            "a service goes on running: what ends is started again",
            "a command that runs once is a hook of a rollout: `hooks: { before: [{ run: [./migrate] }] }`",
        ),
        policy => draft.say(
            key,
            &format!(
                "`{policy}` is not carried over: what ends is started again, with growing pauses and without a last attempt"
            ),
            "`rollback_on: { restarts: 1 }` says when that rolls a release back",
        ),
    }
}

/// Options of the container that a manifest has under the same names.
fn options(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    if take(service, "init").and_then(flag) == Some(false) {
        draft.set(&["init"], json!(false));
    }
    ulimits(draft, service);
    if let Some(shm) = take(service, "shm_size") {
        match size(shm) {
            Some(shm) => draft.set(&["shm_size"], json!(shm)),
            None => draft.say("shm_size", "it cannot be read", "`shm_size: 256MiB`"),
        }
    }
    if let Some(signal) = draft.text(service, "stop_signal") {
        // `QUIT`, as Docker takes it too.
        let whole = format!("SIG{}", signal.to_ascii_uppercase().trim_start_matches("SIG"));
        draft.set(&["stop_signal"], json!(if is_signal(&signal) { signal } else { whole }));
    }
    for (name, value) in named(draft, service, "labels") {
        let value = value.as_ref().and_then(text).unwrap_or_default();
        draft.set(&["labels", &name], json!(value));
    }
}

/// Pairs under a key; what is no pair is noted.
fn named(draft: &mut Draft<'_>, service: &Map<String, Value>, key: &str) -> Vec<(String, Option<Value>)> {
    let (pairs, odd) = take(service, key).map(pairs).unwrap_or_default();
    for value in odd {
        draft.odd(key, value, "compose has a map here, or a list of `NAME=value`");
    }
    pairs
}

/// Limits by name: a number, soft and hard, or Docker's own `nofile=1024:2048` in a list.
fn ulimits(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    for (name, value) in named(draft, service, "ulimits") {
        let key = format!("ulimits.{name}");
        let written = value.as_ref().and_then(text).unwrap_or_default();
        let (soft, hard) = written.split_once(':').unwrap_or((&written, &written));
        let limit = match (&value, soft.parse::<i64>(), hard.parse::<i64>()) {
            (Some(Value::Object(both)), ..) => Value::Object(both.clone()),
            (_, Ok(soft), Ok(hard)) if soft == hard => json!(soft),
            (_, Ok(soft), Ok(hard)) => json!({ "soft": soft, "hard": hard }),
            _ => {
                draft.odd(&key, &value.unwrap_or_default(), "`ulimits: { nofile: 65536 }`");
                continue;
            }
        };
        draft.set(&["ulimits", &name], limit);
    }
}

fn image(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    let image = take(service, "image").cloned();
    let build = take(service, "build").cloned();
    let pushed = format!("registry.example.com/{}:1", draft.service);
    if let Some(image) = image.as_ref().filter(|image| text(image).is_none()) {
        draft.odd("image", image, "name the image in the manifest");
    }
    if let Some(build) = build {
        let folder = build.as_str().or_else(|| build.get("context")?.as_str()).unwrap_or(".").to_owned();
        let name = image.as_ref().and_then(text).unwrap_or_else(|| pushed.clone());
        let push = format!("docker build -t {name} {folder} && docker push {name}");
        draft.say("build", "images are built elsewhere and come from a registry", &push);
    } else if image.is_none() {
        draft.say("image", "there is neither `image` nor `build`", "name the image in the manifest");
    }
    match image {
        Some(image) if variable(&image).is_some() => {
            let reason = format!("`{}` has a variable without a default", image.as_str().unwrap_or_default());
            draft.say("image", &reason, "name the image at each deploy: `--set image=…`");
            draft.set(&["image"], json!(text(&image).unwrap_or_default()));
        }
        Some(image) => draft.set(&["image"], json!(text(&image).unwrap_or(pushed))),
        None => draft.set(&["image"], json!(pushed)),
    }
}

fn environment(draft: &mut Draft<'_>, service: &Map<String, Value>, all: &Map<String, Value>) {
    for (name, value) in named(draft, service, "environment") {
        let key = format!("environment.{name}");
        let Some(value) = value else {
            draft.say(
                &key,
                "its value comes from the shell",
                &format!("`--set {}=…`, or write it into `env`", display_path(&["env", &name])),
            );
            continue;
        };
        if let Some(variable) = variable(&value) {
            let reason = format!("`${{{variable}}}` has no default, and nothing replaces it");
            draft.say(
                &key,
                &reason,
                &format!(
                    "`--set {}=…`; a secret stands in a folder of the host",
                    display_path(&["env", &name])
                ),
            );
            continue;
        }
        let Some(text) = text(&value) else {
            draft.say(&key, "it is no text", "write it into `env`");
            continue;
        };
        if let Some(other) =
            all.keys().filter(|other| *other != &draft.service).find(|other| names(&text, other))
        {
            let reason = format!("it seems to name the service `{other}`");
            draft.say(&key, &reason, &format!("`uses: [{other}]` calls its port that speaks HTTP by that name; for another protocol write an address"));
        }
        // `${` stands for itself in a value.
        draft.set(&["env", &name], json!(text.replace("${", "$${")));
    }
    if let Some(files) = take(service, "env_file") {
        let name = |file: &Value| shown(file.get("path").unwrap_or(file));
        let files = match files {
            Value::Array(items) => items.iter().map(name).collect(),
            one => vec![name(one)],
        };
        draft.say(
            "env_file",
            &format!("{} was not read: it may hold secrets", files.join(", ")),
            "write plain values into `env`; secrets into a folder of the host",
        );
    }
}

/// Returns whether a value has the host name `service` in it: `db`, `db:5432`, `http://db/`, `user@db:5432`.
fn names(value: &str, service: &str) -> bool {
    let is_edge = |c: Option<char>, edges: &str| c.is_none_or(|c| edges.contains(c));
    value.match_indices(service).any(|(at, _)| {
        let (before, after) = (value[..at].chars().next_back(), value[at + service.len()..].chars().next());
        let is_host = before.is_some() || after == Some(':') || after.is_none() && value == service;
        is_edge(before, "/@,") && is_edge(after, ":/,") && is_host
    })
}

fn security(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    let user = draft.text(service, "user");
    if let Some(user) = &user {
        draft.set(&["security", "user"], json!(user));
    }
    if take(service, "read_only").and_then(flag) == Some(true) {
        draft.set(&["security", "read_only_root"], json!(true));
    }
    let asked: Vec<String> = take(service, "cap_add").map(texts).unwrap_or_default();
    let (all, named): (Vec<String>, Vec<String>) = asked.into_iter().partition(|name| name == "ALL");
    if !all.is_empty() {
        draft.say(
            "cap_add",
            "`ALL` is never given",
            "name each capability: `security: { capabilities: [NET_ADMIN] }`",
        );
    }
    let has_none = named.is_empty();
    if !has_none {
        draft.set(&["security", "capabilities"], json!(named));
        draft.say("cap_add", "the host's policy must allow each capability", "`capabilities` in policy.toml");
    }
    let options = take(service, "security_opt").map(texts).unwrap_or_default();
    let asks_more = |option: &String| {
        !matches!(option.as_str(), "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true")
    };
    if options.iter().any(asks_more) {
        draft.say(
            "security_opt",
            "options of the engine are not carried over",
            "no new privileges are gained, whatever is said",
        );
    }
    if user.is_none() && has_none {
        draft.say(
            "user",
            "containers get no capability, not even as root: `chown`, `setuid` and ports below 1024 may fail",
            "`security: { capabilities: [CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID] }` where an image starts as root and \
             changes its user",
        );
    }
}
