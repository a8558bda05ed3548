//! The keys beside the services, each with its fate: read by the services that name it, moot, or noted.

use serde_json::{Map, Value};

use super::keys::asks_for_nothing;
use super::note::Note;

/// Sections whose entries are maps, with keys that have fates of their own.
const SECTIONS: [&str; 3] = ["configs", "networks", "volumes"];

/// Reason and hint.
type Words = (&'static str, &'static str);

/// Notes every key beside the services that nothing carries over.
pub(super) fn fill(file: &Map<String, Value>, notes: &mut Vec<Note>) {
    let asking = file.iter().filter(|(key, value)| !key.starts_with("x-") && !asks_for_nothing(value));
    for (section, value) in asking {
        if let Some(words) = whole(section) {
            notes.push(note(section.clone(), words));
        }
        if SECTIONS.contains(&section.as_str()) {
            entries(section, value, notes);
        }
    }
}

fn note(key: String, (reason, hint): Words) -> Note {
    Note { key, reason: reason.to_owned(), hint: hint.to_owned() }
}

/// The note about a section as a whole.
fn whole(section: &str) -> Option<Words> {
    Some(match section {
        "version" | "services" | "volumes" | "configs" => return None,
        "name" => (
            "manifests have no project",
            "an environment keeps them apart from others: `windlass deploy FOLDER -e NAME`",
        ),
        "networks" => (
            "services do not find each other by sharing a network",
            "`uses: [db]` calls another service by its name; clients come by `route`",
        ),
        "secrets" => (
            "sealed secrets come later",
            "a folder of the host works: `volumes: { secrets: { mount: /run/secrets, host_path: /srv/secrets, read_only: true } }`",
        ),
        "include" => ("other files are not read", "import each of them"),
        "models" => ("models are not run beside a service", "run it as a service of its own"),
        _ => ("the key is not known", "look whether a manifest needs it: `windlass schema`"),
    })
}

fn entries(section: &str, value: &Value, notes: &mut Vec<Note>) {
    let Some(entries) = value.as_object() else {
        let words = ("it cannot be read", "compose has a map of names here");
        return notes.push(note(section.to_owned(), words));
    };
    for (name, entry) in entries.iter().filter(|(_, entry)| !entry.is_null()) {
        let Some(keys) = entry.as_object() else {
            let words = ("it cannot be read", "compose has a map here");
            notes.push(note(format!("{section}.{name}"), words));
            continue;
        };
        let asking = keys.iter().filter(|(key, value)| !key.starts_with("x-") && !asks_for_nothing(value));
        for (key, _) in asking.filter(|(key, value)| !is_moot(section, key, value)) {
            if let Some(words) = entry_key(section, key) {
                notes.push(note(format!("{section}.{name}.{key}"), words));
            }
        }
    }
}

/// Returns whether a key asks for what holds anyway.
fn is_moot(section: &str, key: &str, value: &Value) -> bool {
    matches!(
        (section, key, value.as_str()),
        ("volumes", "driver", Some("local")) | ("networks", "driver", Some("bridge"))
    )
}

/// The note about a key of an entry; none if a service that names the entry reads it.
fn entry_key(section: &str, key: &str) -> Option<Words> {
    Some(match (section, key) {
        ("configs", "file" | "content" | "environment") => return None,
        ("configs", "external") => {
            ("a config that is kept elsewhere cannot be read", "`files: { /path: { from: FILE } }`")
        }
        ("configs", _) => (
            "a file of a release has its path in the container, and no name, labels or template",
            "`files: { /path: { from: FILE } }`",
        ),
        ("networks", "external") => (
            "no network of others is joined",
            "the addresses of its members stand in `env`, or in the DNS of the hosts",
        ),
        ("networks", "internal") => {
            ("no network keeps containers from the outside", "a firewall of the hosts does")
        }
        ("networks", _) => {
            ("networks have no options: services share the network of their host", "remove the key")
        }
        ("volumes", "name") => (
            "a named volume is called after its service and slot",
            "copy the data of the old one, or name a folder of the host: `host_path`",
        ),
        ("volumes", "labels") => ("volumes carry the labels of Windlass", "remove the key"),
        (_, _) => (
            "a named volume is made by the agent on its host, empty",
            "copy the data, or name a folder of the host: `host_path`",
        ),
    })
}
