//! Plain scalars as compose reads them: YAML 1.1, in which `0777` is 511 and `1e3` is text.

use serde_json::{Number, Value};

/// Spellings of the two truth values. As text they stay as they are written.
const YES: [&str; 3] = ["yes", "on", "true"];
const NO: [&str; 3] = ["no", "off", "false"];

/// The value of a plain scalar. A number that has another spelling than this program would write is text, so that no digit
/// is lost.
pub(super) fn plain(raw: &str) -> Value {
    match raw {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    let Some(decimal) = float(raw).or_else(|| integer(raw)) else { return Value::String(raw.to_owned()) };
    match serde_json::from_str::<Number>(&decimal) {
        Ok(number) if number.to_string() == decimal => Value::Number(number),
        _ => Value::String(decimal),
    }
}

/// Returns whether a scalar has the form of times and of two ports, `22:22`: a number to the base of 60.
pub(super) fn is_sexagesimal(raw: &str) -> bool {
    raw.contains(':') && integer(raw).is_some()
}

/// A truth value: `true`, or text that says the same.
pub(super) fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if YES.contains(&text.to_ascii_lowercase().as_str()) => Some(true),
        Value::String(text) if NO.contains(&text.to_ascii_lowercase().as_str()) => Some(false),
        _ => None,
    }
}

/// A whole number in decimal digits.
fn integer(raw: &str) -> Option<String> {
    let (sign, body) = match raw.strip_prefix('-') {
        Some(body) => ("-", body),
        None => ("", raw.strip_prefix('+').unwrap_or(raw)),
    };
    let digits: String = body.chars().filter(|c| *c != '_').collect();
    let signed = |number: u128| if number == 0 { "0".to_owned() } else { format!("{sign}{number}") };
    let in_base = |digits: &str, base| u128::from_str_radix(digits, base).ok().map(signed);
    if !body.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Some(bits) = digits.strip_prefix("0b") {
        return in_base(bits, 2);
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        return in_base(hex, 16);
    }
    if body.len() > 1 && body.starts_with('0') {
        return if digits == "0" { Some("0".to_owned()) } else { in_base(&digits, 8) };
    }
    if let Some((first, rest)) = digits.split_once(':') {
        let mut sum: u128 = plain_digits(first)?.parse().ok()?;
        for part in rest.split(':') {
            let part: u128 = plain_digits(part).filter(|part| part.len() <= 2)?.parse().ok()?;
            sum = Some(part).filter(|part| *part < 60)?.checked_add(sum.checked_mul(60)?)?;
        }
        return Some(signed(sum));
    }
    plain_digits(&digits).map(|digits| if digits == "0" { "0".to_owned() } else { format!("{sign}{digits}") })
}

fn plain_digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then_some(text)
}

/// A number with a point, in the shortest decimal digits that mean it.
fn float(raw: &str) -> Option<String> {
    let body = raw.strip_prefix(['-', '+']).unwrap_or(raw);
    let (whole, rest) = body.split_once('.')?;
    let (fraction, exponent) = match rest.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (rest, None),
    };
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    // `.5` has no sign in YAML 1.1, `+.5` is text.
    let is_whole = match whole {
        "" => body == raw && fraction.starts_with(|c: char| c.is_ascii_digit()),
        whole => whole.starts_with(|c: char| c.is_ascii_digit()),
    };
    let is_exponent =
        exponent.is_none_or(|e| e.strip_prefix(['-', '+']).is_some_and(|e| plain_digits(e).is_some()));
    if !is_whole || !is_digits(whole) || !is_digits(fraction) || !is_exponent {
        return None;
    }
    let number: f64 = raw.chars().filter(|c| *c != '_').collect::<String>().parse().ok()?;
    number.is_finite().then(|| written(number))
}

/// A float as Python writes it, which is what a container of compose finds.
fn written(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The second column is what docker-compose 1.29.2 hands to a container; it refuses truth values there.
    #[test]
    fn plain_scalars_are_read_as_compose_reads_them() {
        #[rustfmt::skip]
        let table = [
            ("y", "y"), ("n", "n"), ("yes", "yes"), ("NO", "NO"), ("on", "on"), ("True", "True"), ("0777", "511"), ("012", "10"), ("0", "0"), ("00", "0"),
            ("0123456789", "0123456789"), ("08", "08"), ("1e3", "1e3"), ("1.5e3", "1.5e3"), ("1.5e+3", "1500.0"),
            ("100000000000000000000", "100000000000000000000"), ("18446744073709551616", "18446744073709551616"),
            ("1.10", "1.1"), ("1.0", "1.0"), ("1.", "1.0"), (".5", "0.5"), ("+.5", "+.5"), ("0x1F", "31"), ("0o17", "0o17"), ("0b11", "3"), ("1_000", "1000"),
            ("_1", "_1"), ("1:30", "90"), ("22:22", "1342"), ("190:20:30", "685230"), ("1:60", "1:60"), ("8080:80", "8080:80"), ("-012", "-10"), ("-0", "0"),
            ("+5", "5"), ("-5", "-5"), ("1.0e+20", "1e+20"), ("0.00001", "1e-05"), ("123456789012345.5", "123456789012345.5"), ("2024-01-01", "2024-01-01"),
            ("1.2.3", "1.2.3"), ("5m", "5m"), ("0x", "0x"), ("1:", "1:"), ("-", "-"), ("1e", "1e"), (".", "."), ("..", ".."),
        ];
        for (raw, want) in table {
            assert_eq!(super::super::values::text(&plain(raw)).as_deref(), Some(want), "{raw}");
        }
        for raw in ["", "~", "null", "Null"] {
            assert_eq!(plain(raw), Value::Null, "{raw}");
        }
        assert_eq!((plain("80"), plain("0.5"), plain("true")), (json!(80), json!(0.5), json!(true)));
    }

    #[test]
    fn truth_values_are_read_in_every_spelling() {
        for (text, want) in [("yes", Some(true)), ("Off", Some(false)), ("TRUE", Some(true)), ("y", None)] {
            assert_eq!(flag(&json!(text)), want, "{text}");
        }
        assert_eq!((flag(&json!(true)), flag(&json!(1))), (Some(true), None));
    }
}
