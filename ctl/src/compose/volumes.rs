//! `volumes`, `tmpfs` and `configs`.

use serde_json::{Map, Value, json};

use super::draft::{Draft, take};
use super::note::Found;
use super::scalar::flag;
use super::values::{label, text, texts};

/// One mount.
struct Mount {
    source: String,
    target: String,
    is_read_only: bool,
}

pub(super) fn fill(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    let volumes = draft.list(service, "volumes");
    for (n, value) in volumes.iter().enumerate() {
        let key = format!("volumes.{n}");
        match value {
            Value::Object(long) => self::long(draft, &key, long),
            short => match text(short) {
                Some(text) => self::short(draft, &key, &text),
                None => draft.say(&key, "it is no volume", "write it by hand"),
            },
        }
    }
    if let Some(tmpfs) = take(service, "tmpfs") {
        texts(tmpfs).iter().for_each(|path| scratch(draft, "tmpfs", path));
    }
    configs(draft, service);
    if take(service, "secrets").is_some() {
        draft.say(
            "secrets",
            "sealed secrets come later",
            "a folder of the host works: `volumes: { secrets: { mount: /run/secrets, host_path: /srv/secrets, \
             read_only: true } }`",
        );
    }
}

fn long(draft: &mut Draft<'_>, key: &str, long: &Map<String, Value>) {
    let get = |key: &str| long.get(key).and_then(text).unwrap_or_default();
    let mount = Mount {
        source: get("source"),
        target: get("target"),
        is_read_only: long.get("read_only").and_then(flag) == Some(true),
    };
    let folder = super::values::at(long, &["volume", "subpath"])
        .or_else(|| super::values::at(long, &["image", "subpath"]));
    if folder.is_some() {
        return draft.say(
            key,
            "a volume is mounted whole, so this mount is left out",
            "name a folder of the host: `volumes: { data: { mount: /data, host_path: /srv/data } }`",
        );
    }
    if mount.target.is_empty() {
        return draft.say(key, "it has no `target`", "write it by hand");
    }
    match get("type").as_str() {
        "tmpfs" => scratch(draft, key, &mount.target),
        "bind" => bind(draft, key, mount),
        "volume" | "" => named(draft, key, mount),
        other => draft.say(
            key,
            &format!("a mount of type `{other}` is not supported"),
            "`volumes` has named ones and folders of the host",
        ),
    }
}

/// `data:/data`, `./conf:/etc/app:ro`, `/data`.
fn short(draft: &mut Draft<'_>, key: &str, text: &str) {
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default().to_owned();
    let Some(target) = parts.next().map(str::to_owned) else {
        return named(draft, key, Mount { source: String::new(), target: first, is_read_only: false });
    };
    let options: Vec<&str> = parts.next().map(|options| options.split(',').collect()).unwrap_or_default();
    let is_read_only = options.contains(&"ro");
    options.iter().for_each(|option| self::option(draft, key, option));
    let is_path = first.starts_with(['/', '.', '~']);
    let mount = Mount { source: first, target, is_read_only };
    if is_path { bind(draft, key, mount) } else { named(draft, key, mount) }
}

/// An option of a mount in its short form.
fn option(draft: &mut Draft<'_>, key: &str, option: &str) {
    let (reason, hint) = match option {
        "" | "ro" | "rw" | "cached" | "delegated" | "consistent" | "rprivate" | "private" => return,
        "z" | "Z" => (
            "labels of SELinux are not set",
            "set the label on the folder of the host: `chcon -t container_file_t`",
        ),
        "nocopy" => (
            "a named volume is made by the agent on its host",
            "`host_path` names a folder that is filled by hand",
        ),
        "shared" | "rshared" | "slave" | "rslave" => (
            "mounts are private: nothing that is mounted later is seen",
            "mount it on the host before the service starts",
        ),
        _ => (
            "the option is not known",
            "`volumes: { data: { mount: /data, read_only: true } }` has what there is",
        ),
    };
    draft.say(key, &format!("`{option}` is not carried over: {reason}"), hint);
}

fn named(draft: &mut Draft<'_>, key: &str, mount: Mount) {
    let name = if mount.source.is_empty() { label(&mount.target) } else { label(&mount.source) };
    if is_shared(draft, &mount.source) {
        draft.say(
            key,
            &format!(
                "other services use the volume `{}` too, and here each service has volumes of its own",
                mount.source
            ),
            "share a folder of the host: `host_path: /srv/…`",
        );
    }
    add(draft, &name, mount.target, None, mount.is_read_only);
}

/// Returns whether another service of the file names the volume.
fn is_shared(draft: &Draft<'_>, source: &str) -> bool {
    let services = draft.file.get("services").and_then(Value::as_object);
    let names = |service: &Value| {
        let volumes = service.get("volumes").and_then(Value::as_array).into_iter().flatten();
        volumes.clone().any(|volume| match volume {
            Value::String(text) => text.split(':').next() == Some(source) && text.contains(':'),
            other => other.get("source").and_then(Value::as_str) == Some(source),
        })
    };
    !source.is_empty()
        && services.into_iter().flat_map(Map::values).filter(|service| names(service)).count() > 1
}

/// A file beside the compose file becomes a file of the release; a folder stays one of the host.
fn bind(draft: &mut Draft<'_>, key: &str, mount: Mount) {
    let source = mount.source.as_str();
    let is_absolute = source.starts_with('/');
    let found = draft.find(source);
    if let (Found::File(from), false) = (&found, is_absolute) {
        return draft.set(&["files", &mount.target], json!({ "from": from }));
    }
    let path = if is_absolute {
        source.trim_end_matches('/').to_owned()
    } else {
        folder(draft, source, &mount.target)
    };
    let reason = match (found, is_absolute) {
        (Found::File(_), true) => format!("`{source}` is a file of the host, not of the release"),
        (_, true) => format!("`{source}` is a folder of the host"),
        (Found::Missing, false) if !source.starts_with('~') => format!(
            "`{source}` is not beside the compose file; `{path}` stands for a folder. If it is a file, write \
             `files: {{ {}: {{ from: {source} }} }}`",
            mount.target
        ),
        (_, false) => format!("`{source}` lies beside the compose file; `{path}` stands for it"),
    };
    draft.say(key, &reason, "it must be there on every host, and `mounts` in its policy.toml must allow it");
    let name = label(path.rsplit('/').next().unwrap_or("data"));
    add(draft, &name, mount.target, Some(path), mount.is_read_only);
}

/// The folder of the host that stands for a path beside the compose file: one for each path.
fn folder(draft: &mut Draft<'_>, source: &str, target: &str) -> String {
    let source = source.trim_end_matches('/');
    if let Some(known) = draft.folders.get(source) {
        return known.clone();
    }
    let last = |path: &str| {
        let part = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        part.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')).collect::<String>()
    };
    let is_name = |part: &String| !part.trim_matches('.').is_empty();
    let part = [last(source), last(target)].into_iter().find(is_name).unwrap_or_else(|| "data".to_owned());
    let first = format!("/srv/{}/{part}", draft.service);
    let others = (2..).map(|n| format!("{first}-{n}"));
    let is_free = |path: &String| !draft.folders.values().any(|taken| taken == path);
    let path = std::iter::once(first.clone()).chain(others).find(is_free).unwrap_or(first);
    draft.folders.insert(source.to_owned(), path.clone());
    path
}

fn add(draft: &mut Draft<'_>, name: &str, target: String, host_path: Option<String>, is_read_only: bool) {
    let mut free = name.to_owned();
    let mut n = 1;
    while draft.get(&["volumes", &free]).is_some() {
        n += 1;
        free = format!("{name}-{n}");
    }
    let target = if target.len() > 1 { target.trim_end_matches('/').to_owned() } else { target };
    let mut volume = Map::from_iter([("mount".to_owned(), json!(target))]);
    volume.extend(host_path.map(|path| ("host_path".to_owned(), json!(path))));
    if is_read_only {
        volume.insert("read_only".to_owned(), json!(true));
    }
    draft.set(&["volumes", &free], Value::Object(volume));
}

fn scratch(draft: &mut Draft<'_>, key: &str, path: &str) {
    let (path, options) = path.split_once(':').unwrap_or((path, ""));
    if !options.is_empty() {
        draft.say(
            key,
            &format!("options of a scratch mount (`{options}`) are not taken"),
            "`resources.memory` limits it",
        );
    }
    let mut all = draft.get(&["security", "tmpfs"]).and_then(Value::as_array).cloned().unwrap_or_default();
    all.push(json!(path));
    draft.set(&["security", "tmpfs"], Value::Array(all));
}

/// A config that is a file becomes a file of the release.
fn configs(draft: &mut Draft<'_>, service: &Map<String, Value>) {
    let used = draft.list(service, "configs");
    for config in &used {
        let name = config.as_str().or_else(|| config.get("source")?.as_str()).unwrap_or_default().to_owned();
        let target =
            config.get("target").and_then(Value::as_str).map_or_else(|| format!("/{name}"), str::to_owned);
        let from = super::values::at(draft.file, &["configs", &name]);
        let (file, content) =
            (from.and_then(|from| from.get("file")), from.and_then(|from| from.get("content")));
        match (file.and_then(text), content.and_then(text)) {
            (Some(file), _) => {
                let from = draft.path_of(&file).unwrap_or(file);
                draft.set(&["files", &target], json!({ "from": from }));
            }
            (None, Some(content)) => draft.set(&["files", &target], json!({ "content": content })),
            (None, None) if from.is_some_and(|from| from.get("environment").is_some()) => draft.say(
                "configs",
                &format!(
                    "the config `{name}` is a variable of whoever runs compose, which a release cannot read"
                ),
                "`files: { /path: { from: FILE } }`, or `env: { NAME: value }`",
            ),
            (None, None) => draft.say(
                "configs",
                &format!("the config `{name}` is not in the file"),
                "`files: { /path: { from: FILE } }`",
            ),
        }
        // A number is the mode itself, text has its octal digits.
        let mode = match config.get("mode") {
            Some(Value::Number(bits)) => bits.as_u64().map(|bits| format!("{bits:04o}")),
            other => other.and_then(text),
        };
        if let Some(mode) = mode.filter(|_| draft.get(&["files", &target]).is_some()) {
            draft.set(&["files", &target, "mode"], json!(mode));
        }
    }
}
