//! Fields of views that have a new name: this program reads either, so that it understands a coordinator of the version
//! before as well as one that has dropped the old names.

use serde::de::DeserializeOwned;
use serde_json::Value;
use windlass_proto::json::{self, JsonError};

/// The old and the new name of a field, in objects that have the field named first: others, as labels, keep theirs.
const NAMES: [(&str, &str, &str); 9] = [
    ("healthy", "wanted", "desired"),
    ("healthy", "in_doubt", "unknown"),
    ("healthy", "leaving", "terminating"),
    ("passed", "wanted", "desired"),
    ("in_flight", "wanted", "desired"),
    ("slot", "id", "instance"),
    ("scheduling", "name", "host"),
    ("after_ms", "made_from", "inputs"),
    ("service", "left_out", "omitted"),
];

/// Reads a view.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    let mut value: Value = json::decode("view", bytes)?;
    fill(&mut value);
    serde_json::from_value(value).map_err(|source| JsonError::Malformed { field: "view", source })
}

/// Gives every field that has two names both of them.
fn fill(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (beside, old, new) in NAMES {
                if !map.contains_key(beside) {
                    continue;
                }
                match (map.get(old).cloned(), map.get(new).filter(|value| !value.is_null()).cloned()) {
                    (Some(value), None) => drop(map.insert(new.to_owned(), value)),
                    (None, Some(value)) => drop(map.insert(old.to_owned(), value)),
                    _ => {}
                }
            }
            map.values_mut().for_each(fill);
        }
        Value::Array(items) => items.iter_mut().for_each(fill),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use windlass_core::view::{GateView, RecomputedView};

    use super::*;

    #[test]
    fn old_and_new_names_are_both_understood() {
        for (beside, old, new) in NAMES {
            for given in [old, new] {
                let mut value = json!([{ "a": { beside: 1, given: 7 } }]);
                fill(&mut value);
                assert_eq!(value[0]["a"], json!({ beside: 1, old: 7, new: 7 }), "{given}");
            }
            let mut labels = json!({ "labels": { old: "x" } });
            fill(&mut labels);
            assert_eq!(labels, json!({ "labels": { old: "x" } }), "names of others stay");
        }
    }

    #[test]
    fn a_coordinator_without_the_old_names_is_read() {
        let gate = json!({ "gate": "quality", "step": 1, "passed": 2, "desired": 3 });
        let recomputed = json!({ "rollout": "00000000-0000-0000-0000-000000000000", "service": "web", "verdicts": [], "differing": 0, "omitted": 4 });
        for document in [gate.clone(), {
            let mut old = gate;
            old["wanted"] = old["desired"].take();
            old.as_object_mut().unwrap().remove("desired");
            old
        }] {
            let read: GateView = decode(document.to_string().as_bytes()).unwrap();
            assert_eq!((read.desired, read.wanted), (3, 3), "{document}");
        }
        let read: Result<RecomputedView, _> = decode(recomputed.to_string().as_bytes());
        let read = read.unwrap();
        assert_eq!((read.omitted, read.left_out), (4, 4));
    }
}
