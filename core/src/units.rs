//! Quantities as people write them: `10s`, `512MiB`, `25%`. Each has one canonical spelling, which is
//! also how it stands in signed documents.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::display_duration;

/// Text that is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}")]
pub struct InvalidQuantity {
    what: &'static str,
    text: String,
}

fn invalid(what: &'static str, text: &str) -> InvalidQuantity {
    InvalidQuantity { what, text: text.chars().take(80).collect() }
}

macro_rules! as_text {
    ($type:ident) => {
        impl TryFrom<String> for $type {
            type Error = InvalidQuantity;
            fn try_from(text: String) -> Result<Self, InvalidQuantity> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

/// A length of time: whole milliseconds, at most 366 days. Written `750ms`, `10s`, `1m30s`, `24h`, `7d`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Span(Duration);

const MAX_SPAN: Duration = Duration::from_secs(366 * 24 * 3600);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// Whole seconds, cut at 366 days.
    pub const fn from_secs(seconds: u64) -> Self {
        if seconds > MAX_SPAN.as_secs() { Self(MAX_SPAN) } else { Self(Duration::from_secs(seconds)) }
    }

    /// Whole milliseconds, cut at 366 days.
    pub fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis).min(MAX_SPAN))
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Returns whether the span is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&display_duration(self.0))
    }
}

impl FromStr for Span {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let bad = || invalid("duration (like `10s`, `5m`, `1h30m` or `24h`)", text);
        let mut rest = text;
        let mut total: u64 = 0;
        let mut last = u64::MAX;
        if rest.is_empty() || rest.len() > 40 {
            return Err(bad());
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let letters = rest[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
            let count: u64 = rest[..digits].parse().map_err(|_| bad())?;
            let unit: u64 = match &rest[digits..digits + letters] {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(bad()),
            };
            if unit >= last {
                return Err(bad());
            }
            last = unit;
            let part = count.checked_mul(unit).ok_or_else(bad)?;
            total = total.checked_add(part).ok_or_else(bad)?;
            rest = &rest[digits + letters..];
        }
        let span = Duration::from_millis(total);
        if span > MAX_SPAN {
            return Err(bad());
        }
        Ok(Self(span))
    }
}

as_text!(Span);

/// A number of bytes. Written with a binary or decimal unit: `512MiB`, `6GiB`, `100MB`, `17B`.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Size(u64);

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1000),
    ("B", 1),
];

impl Size {
    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Size {
    /// The size as people read it, with one decimal at most: `21.2 GiB`, `512 MiB`.
    pub fn rounded(self) -> String {
        let units = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        let Some((unit, bytes)) = units.into_iter().find(|(_, bytes)| self.0 >= *bytes) else {
            return format!("{} B", self.0);
        };
        let tenths = u128::from(self.0) * 10 / u128::from(bytes);
        match tenths % 10 {
            0 => format!("{} {unit}", tenths / 10),
            tenth => format!("{}.{tenth} {unit}", tenths / 10),
        }
    }
}

/// Thousandths of a core as cores, as people read and manifests write them: `0.5`, `2`.
pub fn cores(millis: u64) -> String {
    match millis % 1000 {
        0 => (millis / 1000).to_string(),
        rest => format!("{}.{rest:03}", millis / 1000).trim_end_matches('0').to_owned(),
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, bytes) in UNITS {
            if self.0 != 0 && self.0.is_multiple_of(bytes) {
                return f.pad(&format!("{}{unit}", self.0 / bytes));
            }
        }
        f.pad("0B")
    }
}

impl FromStr for Size {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let bad = || invalid("size (like `512MiB` or `6GiB`)", text);
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = text[..digits].parse().map_err(|_| bad())?;
        let unit = UNITS.iter().find(|(unit, _)| *unit == &text[digits..]).ok_or_else(bad)?;
        count.checked_mul(unit.1).map(Self).ok_or_else(bad)
    }
}

as_text!(Size);

/// A part of something countable: a number, or a percentage of the whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "RawAmount", into = "RawAmount")]
#[schemars(with = "RawAmount")]
pub enum Amount {
    /// A number.
    Count(u32),
    /// A percentage of the whole, 0 to 100.
    Percent(u8),
}

/// The spelling of an amount: `3`, `"3"` or `"25%"`.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
enum RawAmount {
    Count(u32),
    Text(String),
}

impl Amount {
    /// The amount of `whole`, rounded up.
    pub fn of_up(self, whole: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => scaled(whole, percent, 99),
        }
    }

    /// The amount of `whole`, rounded down.
    pub fn of_down(self, whole: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => scaled(whole, percent, 0),
        }
    }
}

fn scaled(whole: u32, percent: u8, round: u64) -> u32 {
    let exact = (u64::from(whole) * u64::from(percent) + round) / 100;
    u32::try_from(exact).unwrap_or(u32::MAX)
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Amount {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let bad = || invalid("number or percentage (like `3` or `25%`, at most `100%`)", text);
        match text.strip_suffix('%') {
            Some(digits) => {
                let percent: u8 = digits.parse().map_err(|_| bad())?;
                if percent > 100 { Err(bad()) } else { Ok(Self::Percent(percent)) }
            }
            None => text.parse().map(Self::Count).map_err(|_| bad()),
        }
    }
}

impl TryFrom<RawAmount> for Amount {
    type Error = InvalidQuantity;
    fn try_from(raw: RawAmount) -> Result<Self, InvalidQuantity> {
        match raw {
            RawAmount::Count(count) => Ok(Self::Count(count)),
            RawAmount::Text(text) => text.parse(),
        }
    }
}

impl From<Amount> for RawAmount {
    fn from(amount: Amount) -> RawAmount {
        match amount {
            Amount::Count(count) => RawAmount::Count(count),
            Amount::Percent(percent) => RawAmount::Text(format!("{percent}%")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        #[rustfmt::skip]
        let table = [("10s", Some(10_000)), ("5m", Some(300_000)), ("1m30s", Some(90_000)), ("24h", Some(86_400_000)),
            ("0s", Some(0)), ("750ms", Some(750)), ("10", None), ("s", None), ("", None), ("-1s", None), ("1s1m", None),
            ("1s1s", None), ("1.5s", None), ("99999999999999999999s", None), ("400d", None), ("1é", None), ("10 s", None)];
        for (text, want) in table {
            let got = text.parse::<Span>().ok().map(|s| s.duration().as_millis());
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn sizes() {
        #[rustfmt::skip]
        let table = [("512MiB", Some(512 << 20)), ("6GiB", Some(6 << 30)), ("0B", Some(0)), ("100MB", Some(100_000_000)),
            ("512", None), ("512mib", None), ("MiB", None), ("999999999TiB", None), ("1.5GiB", None)];
        for (text, want) in table {
            assert_eq!(text.parse::<Size>().ok().map(Size::bytes), want, "{text}");
        }
        assert_eq!(Size::from_bytes(1536 << 20).to_string(), "1536MiB");
        #[rustfmt::skip]
        let rounded = [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (22_748_862_873, "21.1 GiB"), (512 << 20, "512 MiB"),
            (u64::MAX, "16777215.9 TiB")];
        for (bytes, want) in rounded {
            assert_eq!(Size::from_bytes(bytes).rounded(), want);
        }
        let cores: Vec<String> = [0, 500, 2000, 1250, 100_000].map(super::cores).into();
        assert_eq!(cores, ["0", "0.5", "2", "1.25", "100"]);
    }

    #[test]
    fn amounts_round_as_asked() {
        assert_eq!(Amount::Percent(25).of_up(6), 2);
        assert_eq!(Amount::Percent(25).of_down(6), 1);
        assert_eq!(Amount::Percent(25).of_up(1), 1);
        assert_eq!(Amount::Percent(0).of_up(9), 0);
        assert_eq!(Amount::Count(3).of_up(1), 3);
        assert!("101%".parse::<Amount>().is_err());
    }
}
