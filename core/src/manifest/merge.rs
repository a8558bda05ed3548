//! Layers one tree over another: maps merge key by key, everything else replaces, `null` takes away.

use super::node::{Entry, Kind, Node};

/// Lays `above` over `below`. What comes from `above` keeps its own position.
pub(super) fn merge(below: &mut Node, above: Node) {
    let Node { at, kind } = above;
    match (&mut below.kind, kind) {
        (Kind::Map(entries), Kind::Map(changes)) => {
            for change in changes {
                merge_entry(entries, change);
            }
        }
        (_, kind) => *below = without_nulls(Node { at, kind }),
    }
}

fn merge_entry(entries: &mut Vec<Entry>, change: Entry) {
    let place = entries.iter().position(|entry| entry.key == change.key);
    match (place, change.value.kind == Kind::Null) {
        (Some(index), true) => drop(entries.remove(index)),
        (Some(index), false) => {
            let entry = &mut entries[index];
            // A map that is only merged into keeps the position of its own key.
            if !matches!((&entry.value.kind, &change.value.kind), (Kind::Map(_), Kind::Map(_))) {
                entry.at = change.at;
            }
            merge(&mut entry.value, change.value);
        }
        (None, true) => {}
        (None, false) => {
            entries.push(Entry { value: without_nulls(change.value), key: change.key, at: change.at });
        }
    }
}

/// A layer's `null` inside something new takes away what was never there.
fn without_nulls(node: Node) -> Node {
    let kind = match node.kind {
        Kind::Map(entries) => Kind::Map(
            entries
                .into_iter()
                .filter(|entry| entry.value.kind != Kind::Null)
                .map(|entry| Entry { value: without_nulls(entry.value), ..entry })
                .collect(),
        ),
        kind @ (Kind::Null | Kind::Bool { .. } | Kind::Number { .. } | Kind::Text(_) | Kind::List(_)) => kind,
    };
    Node { at: node.at, kind }
}
