//! Hints about a value that stands in `--set`, in the form of a setting.

use super::super::node::display_path;
use super::super::problem::Origin;

/// The hint in the form of a setting, if `at` is one. `path` names the key that the problem is about.
pub(super) fn hint(at: &Origin, path: &[String], hint: String) -> String {
    let Origin::Given(text) = at else { return hint };
    let Some(setting) = text.strip_prefix("--set ") else { return hint };
    in_its_form(setting, path, &hint).unwrap_or(hint)
}

fn in_its_form(setting: &str, path: &[String], hint: &str) -> Option<String> {
    let (keys, said) = setting.split_once('=')?;
    let service = match keys.split_once(':') {
        Some((name, _)) if !name.contains(['"', '.']) => format!("{name}:"),
        Some(_) | None => String::new(),
    };
    let write = |path: &[String], value: &str| {
        let text = format!("{service}{}={value}", display_path(path));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "=.:/_-%,@+".contains(c);
        if text.chars().all(is_plain) { format!("--set {text}") } else { format!("--set '{text}'") }
    };
    let quoted = hint.split('`').nth(1)?;
    if let Some(key) = hint.strip_prefix("did you mean `").and_then(|rest| rest.strip_suffix("`?")) {
        let named = [path.split_last()?.1, &[key.to_owned()]].concat();
        return Some(format!("did you mean `{}`?", write(&named, said)));
    }
    if hint.starts_with("with a unit: `") || hint.starts_with("without quotes: `") {
        return Some(format!("write `{}`", write(path, quoted)));
    }
    if !hint.starts_with("write `") || quoted.contains('\'') {
        return None;
    }
    let rest = hint.strip_prefix(&format!("write `{quoted}`"))?;
    let (key, value) = quoted.split_once(": ")?;
    // `write `rolling: {}` below it` is about a key of the value, `write `replicas: 3`` about the key itself.
    let rest = rest.strip_prefix(" below it");
    let mut path = path.to_vec();
    match rest {
        Some(_) => path.push(key.to_owned()),
        None if path.last().is_some_and(|last| last == key) => {}
        None => return None,
    }
    let mut value = value;
    while let Some((key, below)) = only_entry(value) {
        path.push(key.to_owned());
        value = below;
    }
    Some(format!("write `{}`", write(&path, value)))
}

/// The key and the value of `{ key: value }`, if the map has one entry.
fn only_entry(map: &str) -> Option<(&str, &str)> {
    let inner = map.strip_prefix("{ ")?.strip_suffix(" }")?;
    let (key, value) = inner.split_once(": ")?;
    let mut depth = 0_i32;
    for c in value.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth == 0 => return None,
            _ => {}
        }
    }
    key.chars().all(|c| c.is_ascii_alphanumeric() || "_-/.".contains(c)).then_some((key, value))
}
