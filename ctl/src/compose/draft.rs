//! A manifest in the making.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use windlass_core::manifest::foreign_key;

use super::note::{Files, Found, Note};
use super::values::label;

/// A manifest in the making, and what it does not carry over.
pub(super) struct Draft<'f> {
    /// Its name in the compose file.
    name: String,
    /// Its name in the manifest.
    pub(super) service: String,
    /// The whole file.
    pub(super) file: &'f Map<String, Value>,
    files: &'f Files<'f>,
    /// Keys of the manifest.
    pub(super) keys: Map<String, Value>,
    /// Keys of the compose file that were read.
    read: Vec<&'static str>,
    /// Folders of the host that stand for folders beside the compose file, by the path there.
    pub(super) folders: BTreeMap<String, String>,
    pub(super) notes: Vec<Note>,
}

/// Keys that need no word: what they ask for is so anyway.
const SILENT: [&str; 1] = ["attach"];

impl<'f> Draft<'f> {
    pub(super) fn new(name: &str, file: &'f Map<String, Value>, files: &'f Files<'f>) -> Self {
        let service = label(name);
        let keys = Map::from_iter([("service".to_owned(), json!(service))]);
        let mut draft = Self {
            name: name.to_owned(),
            service,
            file,
            files,
            keys,
            read: Vec::new(),
            folders: BTreeMap::new(),
            notes: Vec::new(),
        };
        if draft.service != name {
            let reason = format!(
                "the service is called `{}`: names have lowercase letters, digits and `-`",
                draft.service
            );
            draft.say("", &reason, "nothing to do");
        }
        draft
    }

    /// What lies at a path of the compose file.
    pub(super) fn find(&self, path: &str) -> Found {
        (self.files)(path)
    }

    /// The path that the manifest names for a file beside the compose file.
    pub(super) fn path_of(&self, file: &str) -> Option<String> {
        match self.find(file) {
            Found::File(path) => Some(path),
            Found::Folder | Found::Missing => None,
        }
    }

    /// A key of the service in the compose file; notes that it was read.
    pub(super) fn take<'v>(
        &mut self,
        service: &'v Map<String, Value>,
        key: &'static str,
    ) -> Option<&'v Value> {
        self.read.push(key);
        service.get(key).filter(|value| !value.is_null())
    }

    /// Sets a key of the manifest, below others: `["resources", "cpu"]`.
    pub(super) fn set(&mut self, path: &[&str], value: Value) {
        let Some((last, above)) = path.split_last() else { return };
        let mut map = &mut self.keys;
        for key in above {
            let below = map.entry((*key).to_owned()).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(below) = below else { return };
            map = below;
        }
        map.insert((*last).to_owned(), value);
    }

    /// Takes a key of the manifest away, and the maps above it that are empty then.
    pub(super) fn remove(&mut self, path: &[String]) {
        let Some((last, above)) = path.split_last() else { return };
        let mut map = Some(&mut self.keys);
        for key in above {
            map = map.and_then(|map| map.get_mut(key)).and_then(Value::as_object_mut);
        }
        let Some(map) = map else { return };
        map.remove(last);
        if map.is_empty() && !above.is_empty() {
            self.remove(above);
        }
    }

    /// The value of a key of the manifest.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Value> {
        super::values::at(&self.keys, path)
    }

    /// A note about a key below the service.
    pub(super) fn note(&self, key: &str, reason: &str, hint: &str) -> Note {
        let dot = if key.is_empty() { "" } else { "." };
        Note {
            key: format!("services.{}{dot}{key}", self.name),
            reason: reason.to_owned(),
            hint: hint.to_owned(),
        }
    }

    /// Adds a note.
    pub(super) fn say(&mut self, key: &str, reason: &str, hint: &str) {
        self.notes.push(self.note(key, reason, hint));
    }

    /// Notes every key that nobody read.
    pub(super) fn rest(&mut self, service: &Map<String, Value>) {
        let unread = |key: &&String| {
            !self.read.contains(&key.as_str()) && !SILENT.contains(&key.as_str()) && !key.starts_with("x-")
        };
        let keys: Vec<String> = service
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, _)| key)
            .filter(unread)
            .cloned()
            .collect();
        for key in keys {
            match foreign_key(&key) {
                Some(hint) => self.say(&key, "a manifest has no such key", hint),
                None => self.say(
                    &key,
                    "the key is not known",
                    "look whether a manifest needs it: `windlass schema`",
                ),
            }
        }
    }
}
