//! Values as compose writes them: text that may be a number, lists that may be one word, durations and sizes.

use serde_json::{Map, Value};
use windlass_core::manifest::split_words;

use super::interpolate::DOLLAR;

/// A scalar as text; `None` for lists, maps and nothing.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.replace(DOLLAR, "$")),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A value as a message shows it, cut where it is long.
pub(super) fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let whole = text(value).unwrap_or_else(|| value.to_string());
    let cut: String = whole.chars().take(LONGEST).collect();
    if cut.len() < whole.len() { format!("{cut}…") } else { cut }
}

/// A variable that has no default, in a value.
pub(super) fn variable(value: &Value) -> Option<&str> {
    let (_, rest) = value.as_str()?.split_once("${")?;
    rest.split_once('}').map(|(name, _)| name)
}

/// A list of words: a list, or text that is split as a shell does.
pub(super) fn words(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        Value::String(_) => split_words(&text(value)?),
        _ => None,
    }
}

/// A list of texts, or one.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    }
}

/// `KEY=value` pairs: a map, or a list of them. A key without a value has `None`. The second list has what is no pair.
pub(super) fn pairs(value: &Value) -> (Vec<(String, Option<Value>)>, Vec<&Value>) {
    let mut odd = Vec::new();
    let pairs = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), Some(value.clone()).filter(|v| !v.is_null())))
            .collect(),
        Value::Array(items) => items
            .iter()
            .filter_map(|item| match item.as_str().map(|pair| (pair, pair.split_once('='))) {
                Some((_, Some((key, value)))) => {
                    Some((key.to_owned(), Some(Value::String(value.to_owned()))))
                }
                Some((pair, None)) => Some((pair.to_owned(), None)),
                None => {
                    odd.push(item);
                    None
                }
            })
            .collect(),
        other => {
            odd.push(other);
            Vec::new()
        }
    };
    (pairs, odd)
}

/// A duration of compose, in milliseconds: `1m30s`, `1.5s`, `500ms`.
pub(super) fn millis(value: &Value) -> Option<u64> {
    let text = text(value)?;
    let mut rest = text.as_str();
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[..letters] {
            "h" => 3_600_000.0,
            "m" => 60_000.0,
            "s" => 1000.0,
            "ms" => 1.0,
            "us" => 0.001,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[letters..];
    }
    whole(total)
}

/// A size of compose as a manifest writes it: `512m`, `1gb`, or a number of bytes.
pub(super) fn size(value: &Value) -> Option<String> {
    let text = text(value)?.to_lowercase();
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let number: f64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim_end_matches('b').trim_end_matches('i') {
        "" => 1.0,
        "k" => 1024.0,
        "m" => 1024.0 * 1024.0,
        "g" => 1024.0 * 1024.0 * 1024.0,
        "t" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    whole(number * unit).map(|bytes| windlass_core::Size::from_bytes(bytes).to_string())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within the range")]
fn whole(number: f64) -> Option<u64> {
    (0.0..9e15).contains(&number).then(|| number.round() as u64)
}

/// Cores as a manifest writes them, with at most three decimals.
pub(super) fn cores(value: &Value) -> Option<Value> {
    let cores: f64 = text(value)?.parse().ok()?;
    let millis = whole(cores * 1000.0).filter(|millis| *millis > 0)?;
    let number = match (millis % 1000, millis / 1000) {
        (0, whole) => whole.to_string(),
        (rest, whole) => format!("{whole}.{rest:03}").trim_end_matches('0').to_owned(),
    };
    serde_json::from_str(&number).ok()
}

/// The value at a path of keys.
pub(super) fn at<'v>(map: &'v Map<String, Value>, path: &[&str]) -> Option<&'v Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(map.get(*first)?, |value, key| value.get(*key)).filter(|value| !value.is_null())
}

/// A name as a manifest wants it: lowercase letters, digits and `-`.
pub(super) fn label(name: &str) -> String {
    let plain: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .take(63)
        .collect();
    let plain = plain.trim_matches('-');
    if plain.is_empty() { "service".to_owned() } else { plain.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_of_compose_are_read() {
        #[rustfmt::skip]
        let times = [("1m30s", Some(90_000)), ("1.5s", Some(1500)), ("500ms", Some(500)), ("5000us", Some(5)), ("10", None), ("soon", None)];
        for (text, want) in times {
            assert_eq!(millis(&json!(text)), want, "{text}");
        }
        #[rustfmt::skip]
        let sizes = [("512m", Some("512MiB")), ("1gb", Some("1GiB")), ("1.5g", Some("1536MiB")), ("64M", Some("64MiB")), ("2x", None)];
        for (text, want) in sizes {
            assert_eq!(size(&json!(text)).as_deref(), want, "{text}");
        }
        assert_eq!(size(&json!(1_048_576)).as_deref(), Some("1MiB"));
        assert_eq!(
            (cores(&json!("0.50")), cores(&json!(2)), cores(&json!("0.12345"))),
            (Some(json!(0.5)), Some(json!(2)), Some(json!(0.123)))
        );
        assert_eq!((label("My_App.v2").as_str(), label("__").as_str()), ("my-app-v2", "service"));
    }
}
