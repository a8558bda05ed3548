//! Points in time and durations as the domain sees them: whole milliseconds, handed in from outside.

mod pace;

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use pace::Pace;

/// A point in time: milliseconds since 1970-01-01 UTC. In documents it is RFC 3339 with milliseconds
/// (`2026-11-22T13:07:44.000Z`).
#[derive(
    Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Timestamp(i64);

/// The year 9999, the last that RFC 3339 can write, in milliseconds.
const MAX_MILLIS: i64 = 253_402_207_200_000;

impl Timestamp {
    /// The beginning of time, for tests and "never".
    pub const ZERO: Self = Self(0);

    /// From milliseconds since 1970, clamped to 1970..9999.
    pub const fn from_millis(millis: i64) -> Self {
        if millis < 0 {
            Self(0)
        } else if millis > MAX_MILLIS {
            Self(MAX_MILLIS)
        } else {
            Self(millis)
        }
    }

    /// The time as people read it: RFC 3339 without its milliseconds.
    pub fn to_the_second(self) -> String {
        Self(self.0 / 1000 * 1000).to_string().replace(".000Z", "Z")
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The time since `earlier`; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        let millis = i64::try_from(rhs.as_millis()).unwrap_or(MAX_MILLIS);
        Self::from_millis(self.0.saturating_add(millis))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        let millis = i64::try_from(rhs.as_millis()).unwrap_or(MAX_MILLIS);
        Self::from_millis(self.0.saturating_sub(millis))
    }
}

/// Text that is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time (RFC 3339, like `2026-11-22T13:07:44.000Z`)")]
pub struct InvalidTimestamp(String);

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let invalid = || InvalidTimestamp(text.chars().take(80).collect());
        if text.len() > 40 {
            return Err(invalid());
        }
        let parsed: jiff::Timestamp = text.parse().map_err(|_| invalid())?;
        let millis = parsed.as_millisecond();
        if !(0..=MAX_MILLIS).contains(&millis) {
            return Err(invalid());
        }
        Ok(Self(millis))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidTimestamp;
    fn try_from(text: String) -> Result<Self, InvalidTimestamp> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(at: Timestamp) -> String {
        at.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes a duration the way people do: `0s`, `750ms`, `10s`, `5m`, `1h30m`, `24h`, `7d`.
pub fn display_duration(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        // A day is written as 24h, as people write it; only whole weeks of hours become days.
        if unit == "d" && millis < 2 * size {
            continue;
        }
        let count = millis / size;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
            millis %= size;
        }
    }
    text
}

/// Writes a duration that was measured: `750ms`, `4.9s`, `12s`, `1m5s`. Below ten seconds with tenths, above without.
pub fn display_measured(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0..1000 => display_duration(Duration::from_millis(u64::try_from(millis).unwrap_or_default())),
        1000..10_000 => {
            let tenths = millis / 100;
            let dot = if tenths.is_multiple_of(10) { String::new() } else { format!(".{}", tenths % 10) };
            format!("{}{dot}s", tenths / 10)
        }
        _ => display_duration(Duration::from_secs(duration.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_round_trip() {
        let at: Timestamp = "2026-11-22T13:07:44.123Z".parse().unwrap();
        assert_eq!(at.to_string(), "2026-11-22T13:07:44.123Z");
        assert_eq!(at.to_the_second(), "2026-11-22T13:07:44Z");
        assert_eq!(Timestamp::ZERO.to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(at.since(at + Duration::from_secs(1)), Duration::ZERO);
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn durations_read_well() {
        #[rustfmt::skip]
        let table = [(0, "0s"), (750, "750ms"), (1500, "1s500ms"), (10_000, "10s"), (90_000, "1m30s"), (86_400_000, "24h"), (604_800_000, "7d")];
        for (millis, want) in table {
            assert_eq!(display_duration(Duration::from_millis(millis)), want);
        }
    }

    #[test]
    fn measured_times_are_written_with_tenths() {
        let table = [
            (0, "0s"),
            (80, "80ms"),
            (1000, "1s"),
            (4962, "4.9s"),
            (9999, "9.9s"),
            (12_700, "12s"),
            (65_400, "1m5s"),
        ];
        for (millis, want) in table {
            assert_eq!(display_measured(Duration::from_millis(millis)), want);
        }
    }
}
