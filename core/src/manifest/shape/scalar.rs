//! Scalars: text that has a format, words of a list, numbers with bounds.

use serde_json::Value;

use crate::release::StatusRange;
use crate::units::{Amount, Size, Span};

use super::super::closest::closest;
use super::super::foreign;
use super::super::model::{After, Cpu, Mode, Share};
use super::reading::{accepts_only, words};

/// The reason, and a hint.
pub(super) type Refusal = (String, Option<String>);

/// Checks that `raw` is text of this format; `unit` is the one of a duration that has none.
pub(super) fn text(raw: &str, format: &str, unit: &str, schema: &Value) -> Result<(), Refusal> {
    fn parse<T: std::str::FromStr<Err: ToString>>(raw: &str) -> Result<(), Refusal> {
        raw.parse::<T>().map(drop).map_err(|error| (error.to_string(), None))
    }
    match format {
        "duration-text" => parse::<Span>(raw).map_err(|refusal| with_unit::<Span>(refusal, raw, unit)),
        "after-text" => parse::<After>(raw).map_err(|refusal| with_unit::<After>(refusal, raw, unit)),
        "size-text" => parse::<Size>(raw)
            .map_err(|refusal| with_unit::<Size>(refusal, raw, "MiB"))
            .map_err(|(reason, hint)| (reason, hint.or_else(|| foreign::size(raw)))),
        "amount-text" => parse::<Amount>(raw),
        "status-text" => parse::<StatusRange>(raw),
        "percent-text" => parse::<Share>(raw).map_err(|refusal| with_unit::<Share>(refusal, raw, "%")),
        "cpu-text" => parse::<Cpu>(raw).map_err(|(reason, _)| (reason, foreign::cpu(raw))),
        "mode-text" => parse::<Mode>(raw),
        "label" => parse::<crate::id::ServiceName>(raw).map_err(|_| {
            (
                format!("`{}` is not a name", cut(raw)),
                Some("lowercase letters, digits and `-`, 1 to 63 characters".into()),
            )
        }),
        _ => one_of(raw, schema),
    }
}

/// `10` where `10s` was meant.
fn with_unit<T: std::str::FromStr>((reason, hint): Refusal, raw: &str, unit: &str) -> Refusal {
    let whole = format!("{raw}{unit}");
    let is_number = !raw.is_empty() && raw.bytes().all(|b| b.is_ascii_digit()) && whole.parse::<T>().is_ok();
    (reason, if is_number { Some(format!("with a unit: `{whole}`")) } else { hint })
}

fn one_of(raw: &str, schema: &Value) -> Result<(), Refusal> {
    let allowed = words(schema);
    if allowed.is_empty() || allowed.contains(&raw) {
        return Ok(());
    }
    let list = allowed.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let near = closest(raw, allowed.iter().copied()).map(|word| format!("did you mean `{word}`?"));
    let udp = raw.eq_ignore_ascii_case("udp") && allowed.contains(&"tcp");
    let hint = if udp { Some("ports are TCP; a UDP port is not published".to_owned()) } else { near };
    Err((format!("`{}` is not one of {list}", cut(raw)), hint))
}

/// Checks that the number is whole where it must be, and within its bounds.
pub(super) fn in_range(value: &serde_json::Number, raw: &str, schema: &Value) -> Result<(), Refusal> {
    let (largest, is_said) = match schema.get("format").and_then(Value::as_str) {
        Some("uint16") => (Some(f64::from(u16::MAX)), true),
        // The largest that the type holds: `check` knows the bound of the key.
        Some("uint32") => (Some(f64::from(u32::MAX)), false),
        _ => (schema.get("maximum").and_then(Value::as_f64), true),
    };
    let smallest = schema.get("minimum").and_then(Value::as_f64);
    let number = value.as_f64().unwrap_or(f64::NAN);
    if accepts_only(schema, "integer") && !(value.is_u64() || value.is_i64()) {
        return Err((format!("`{}` is not a whole number", cut(raw)), None));
    }
    if smallest.is_some_and(|bound| number < bound) || largest.is_some_and(|bound| number > bound) {
        let is_above = largest.is_some_and(|bound| number > bound);
        let bounds =
            match (smallest.filter(|_| is_said || !is_above), largest.filter(|_| is_said || is_above)) {
                (Some(smallest), Some(largest)) => format!("from {smallest} to {largest}"),
                (Some(smallest), None) => format!("at least {smallest}"),
                (None, Some(largest)) => format!("at most {largest}"),
                (None, None) => String::new(),
            };
        return Err((format!("`{}` is out of range, expected {bounds}", cut(raw)), None));
    }
    Ok(())
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
