//! Reads the answers of providers. Whatever is not one finite number of now, or a verdict, is a named fault.

use std::time::Duration;

use serde_json::Value;

use super::{AnswerFault, Number, Said};
use crate::time::Timestamp;
use crate::units::Span;

/// The time that the clock of a provider may be ahead.
const AHEAD: Duration = Duration::from_secs(60);

/// The value of an instant query's answer, which came at `now`.
pub fn read_prometheus(bytes: &[u8], window: Span, now: Timestamp) -> Said {
    let Ok(answer) = serde_json::from_slice::<Value>(bytes) else {
        return Said::fault(AnswerFault::NotJson, "");
    };
    if answer["status"] == "error" {
        return Said::fault(AnswerFault::QueryFailed, answer["error"].as_str().unwrap_or_default());
    }
    let data = &answer["data"];
    let sample = match (data["resultType"].as_str(), data["result"].as_array()) {
        (Some("scalar"), Some(_)) => &data["result"],
        (Some("vector"), Some(series)) => match series.as_slice() {
            [] => return Said::fault(AnswerFault::Empty, "no series matches the query"),
            [one] => &one["value"],
            several => return Said::fault(AnswerFault::SeveralSeries, format!("{} series", several.len())),
        },
        (Some(other), Some(_)) => {
            let detail = format!("it is a `{other}`, and a gate wants an instant vector or a scalar");
            return Said::fault(AnswerFault::NotJson, detail);
        }
        _ => return Said::fault(AnswerFault::NotJson, "it is no answer of Prometheus to a query"),
    };
    let (Some(seconds), Some(value)) = (sample[0].as_f64(), sample[1].as_str()) else {
        return Said::fault(AnswerFault::NotJson, "its sample is no pair of a time and a value");
    };
    let Some(at) = at(seconds) else { return Said::fault(AnswerFault::NotJson, "its sample has no time") };
    if at > now + AHEAD {
        return Said::fault(AnswerFault::Future, format!("it is of {at}"));
    }
    if now.since(at) > window.duration() * 2 {
        return Said::fault(AnswerFault::Stale, format!("it is of {at}"));
    }
    match value.parse::<f64>() {
        Ok(value) => number(value),
        Err(_) => Said::fault(AnswerFault::NotJson, "its value is no number"),
    }
}

/// The number at `pointer`, or the verdict where there is no pointer.
pub fn read_json(bytes: &[u8], pointer: Option<&str>) -> Said {
    let Ok(answer) = serde_json::from_slice::<Value>(bytes) else {
        return Said::fault(AnswerFault::NotJson, "");
    };
    let Some(pointer) = pointer else {
        return match answer["verdict"].as_str() {
            Some("pass") => Said::Passes(true),
            Some("fail") => Said::Passes(false),
            _ => Said::fault(AnswerFault::Empty, "`verdict` is neither `pass` nor `fail`"),
        };
    };
    match answer.pointer(pointer) {
        None | Some(Value::Null) => Said::fault(AnswerFault::Empty, format!("nothing is at `{pointer}`")),
        Some(Value::Number(value)) => value
            .as_f64()
            .map_or_else(|| Said::fault(AnswerFault::NotANumber, format!("at `{pointer}`")), number),
        // JSON has no word for them; servers write them as text.
        Some(Value::String(text)) => match text.parse::<f64>() {
            Ok(value) => number(value),
            Err(_) => Said::fault(AnswerFault::NotJson, format!("a text is at `{pointer}`")),
        },
        Some(_) => Said::fault(AnswerFault::NotJson, format!("no number is at `{pointer}`")),
    }
}

/// The part of an answer of JSON that a verdict is made from: the value at `pointer`, or the verdict, at the same place. Nothing
/// of an answer that is a fault, so that a gate is no way to read pages.
pub fn kept_json(bytes: &[u8], pointer: Option<&str>) -> Vec<u8> {
    if matches!(read_json(bytes, pointer), Said::Fault { .. }) {
        return Vec::new();
    }
    let answer: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let pointer = pointer.unwrap_or("/verdict");
    let value = answer.pointer(pointer).cloned().unwrap_or_default();
    // An object finds by the same pointer what a list had at a number.
    let keys: Vec<&str> = pointer.split('/').skip(1).collect();
    let kept = keys.into_iter().rev().fold(value, |value, key| {
        let key = key.replace("~1", "/").replace("~0", "~");
        Value::Object([(key, value)].into_iter().collect())
    });
    kept.to_string().into_bytes()
}

fn number(value: f64) -> Said {
    match Number::new(value) {
        Some(number) => Said::Number(number),
        None if value.is_nan() => Said::fault(AnswerFault::NotANumber, ""),
        None => Said::fault(AnswerFault::Infinite, ""),
    }
}

/// A time in seconds since 1970, with a fraction.
#[expect(clippy::cast_possible_truncation, reason = "it is in the range of a timestamp")]
fn at(seconds: f64) -> Option<Timestamp> {
    let millis = seconds * 1000.0;
    (0.0..=2.5e14).contains(&millis).then(|| Timestamp::from_millis(millis.round() as i64))
}
