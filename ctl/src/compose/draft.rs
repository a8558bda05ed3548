//! A manifest in the making.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::note::{Files, Found, Note};
use super::values::{label, millis, shown, text};

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
    /// Folders of the host that stand for folders beside the compose file, by the path there.
    pub(super) folders: BTreeMap<String, String>,
    pub(super) notes: Vec<Note>,
}

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

    /// Returns the file or folder at a path that the compose file names.
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

    /// The list under a key of the service; a value that is none is noted.
    pub(super) fn list(&mut self, service: &Map<String, Value>, key: &str) -> Vec<Value> {
        match take(service, key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items.clone(),
            Some(other) => {
                self.odd(key, other, "compose has a list here");
                Vec::new()
            }
        }
    }

    /// The text under the last part of `path` in `map`; a list or a map is noted.
    pub(super) fn text(&mut self, map: &Map<String, Value>, path: &str) -> Option<String> {
        let value = take(map, path.rsplit('.').next()?)?;
        let read = text(value);
        if read.is_none() {
            self.odd(path, value, "compose has a text here");
        }
        read
    }

    /// A duration under the last part of `path` in `map`; one that cannot be read is noted.
    pub(super) fn millis(&mut self, map: &Map<String, Value>, path: &str) -> Option<u64> {
        let value = take(map, path.rsplit('.').next()?)?;
        let read = millis(value);
        if read.is_none() {
            self.odd(path, value, "write it with its unit, like `1m30s`");
        }
        read
    }

    /// Notes a value that cannot be read.
    pub(super) fn odd(&mut self, key: &str, value: &Value, hint: &str) {
        self.say_once(key, &format!("`{}` cannot be read", shown(value)), hint);
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

    /// Adds a note that is not there yet.
    pub(super) fn say_once(&mut self, key: &str, reason: &str, hint: &str) {
        let note = self.note(key, reason, hint);
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// A key of a map of the compose file.
pub(super) fn take<'v>(map: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    map.get(key).filter(|value| !value.is_null())
}
