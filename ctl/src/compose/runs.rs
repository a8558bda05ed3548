//! The process of a service: image, command, environment, user and capabilities.

use serde_json::{Map, Value, json};
use windlass_core::manifest::display_path;
use windlass_core::release::is_signal;

use super::draft::Draft;
use super::order::depends_on;
use super::values::{pairs, size, text, texts, variable, words};

pub(super) fn fill(draft: &mut Draft<'_>, service: &Map<String, Value>, all: &Map<String, Value>) {
    image(draft, service);
    for (theirs, ours) in [("entrypoint", "command"), ("command", "args")] {
        let Some(value) = draft.take(service, theirs) else { continue };
        match words(value) {
            Some(words) if words.iter().any(|word| word.contains("${")) => draft.say(
                theirs,
                "it has a variable without a default, which nothing replaces",
                &format!("write `{ours}` by hand"),
            ),
            Some(words) if !words.is_empty() => draft.set(&[ours], json!(words)),
            Some(_) => {}
            None => draft.say(theirs, "it cannot be split into words", &format!("`{ours}: [word, word]`")),
        }
    }
    environment(draft, service, all);
    security(draft, service);
    for (theirs, ours) in [("working_dir", "workdir")] {
        if let Some(value) = draft.take(service, theirs).and_then(text) {
            draft.set(&[ours], json!(value));
        }
    }
    match draft.take(service, "restart").and_then(text).as_deref() {
        Some("no" | "false") => draft.say(
            "restart",
            "a service goes on running: what ends is started again",
            "a command that runs once is a hook of a rollout: `hooks: { before: [{ run: [./migrate] }] }`",
        ),
        _ => drop(draft.take(service, "restart")),
    }
    let needed = depends_on(Some(&Value::Object(service.clone())));
    draft.take(service, "depends_on");
    if !needed.is_empty() {
        draft.say(
            "depends_on",
            &format!("nothing waits for {}; the manifests come in that order", needed.join(", ")),
            "`checks: [{ tcp: db.internal:5432 }]` asks before the first start of a release",
        );
    }
    options(draft, service);
    // Every service is on the network of its host, and nothing else is asked for.
    draft.take(service, "networks");
}

/// Options of the container that a manifest has under the same names.
fn options(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    if draft.take(service, "init") == Some(&Value::Bool(false)) {
        draft.set(&["init"], json!(false));
    }
    if let Some(limits) = draft.take(service, "ulimits").filter(|limits| limits.is_object()) {
        draft.set(&["ulimits"], limits.clone());
    }
    if let Some(shm) = draft.take(service, "shm_size") {
        match size(shm) {
            Some(shm) => draft.set(&["shm_size"], json!(shm)),
            None => draft.say("shm_size", "it cannot be read", "`shm_size: 256MiB`"),
        }
    }
    if let Some(signal) = draft.take(service, "stop_signal").and_then(text) {
        // `QUIT`, as Docker takes it too.
        let whole = format!("SIG{}", signal.to_ascii_uppercase().trim_start_matches("SIG"));
        draft.set(&["stop_signal"], json!(if is_signal(&signal) { signal } else { whole }));
    }
    for (name, value) in draft.take(service, "labels").map(pairs).unwrap_or_default() {
        let value = value.as_ref().and_then(text).unwrap_or_default();
        draft.set(&["labels", &name], json!(value));
    }
}

fn image(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    let image = draft.take(service, "image").cloned();
    let build = draft.take(service, "build").cloned();
    let pushed = format!("registry.example.com/{}:1", draft.service);
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
    let variables = draft.take(service, "environment").map(pairs).unwrap_or_default();
    for (name, value) in variables {
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
    if let Some(files) = draft.take(service, "env_file") {
        let files = match files {
            Value::Array(items) => {
                items.iter().filter_map(|item| text(item.get("path").unwrap_or(item))).collect()
            }
            one => texts(one),
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
    let user = draft.take(service, "user").and_then(text);
    if let Some(user) = &user {
        draft.set(&["security", "user"], json!(user));
    }
    if draft.take(service, "read_only") == Some(&Value::Bool(true)) {
        draft.set(&["security", "read_only_root"], json!(true));
    }
    let asked: Vec<String> = draft.take(service, "cap_add").map(texts).unwrap_or_default();
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
    // All are dropped already.
    draft.take(service, "cap_drop");
    let options = draft.take(service, "security_opt").map(texts).unwrap_or_default();
    let asks_more = |option: &String| !option.starts_with("no-new-privileges");
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
