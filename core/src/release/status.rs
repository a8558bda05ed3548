//! States of an answer: one, or all from one to another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A status, or a range of them, both ends included; written `200` or `"200-299"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct StatusRange {
    first: u16,
    last: u16,
}

/// A status as it is written.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
enum Written {
    /// One.
    One(u16),
    /// From one to another: `200-299`.
    Text(String),
}

/// Neither a status nor a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a status from 100 to 599, nor a range like `200-299`")]
pub struct InvalidStatus(String);

impl StatusRange {
    /// The states from `first` to `last`.
    pub const fn new(first: u16, last: u16) -> Self {
        Self { first, last }
    }

    /// Returns whether `status` is one of them.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }

    /// Returns whether there are such states.
    pub(crate) fn is_good(self) -> bool {
        self.first >= 100 && self.last <= 599 && self.first <= self.last
    }

    /// Returns whether it is a range.
    pub(crate) const fn is_several(self) -> bool {
        self.first != self.last
    }
}

impl From<u16> for StatusRange {
    fn from(status: u16) -> Self {
        Self::new(status, status)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_several() { write!(f, "{}-{}", self.first, self.last) } else { self.first.fmt(f) }
    }
}

impl FromStr for StatusRange {
    type Err = InvalidStatus;
    fn from_str(text: &str) -> Result<Self, InvalidStatus> {
        let invalid = || InvalidStatus(text.chars().take(40).collect());
        let number = |text: &str| {
            let plain = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| plain).ok_or_else(invalid)
        };
        let range = match text.split_once('-') {
            Some((first, last)) => Self::new(number(first)?, number(last)?),
            None => Self::from(number(text)?),
        };
        if range.is_good() { Ok(range) } else { Err(invalid()) }
    }
}

impl TryFrom<Written> for StatusRange {
    type Error = InvalidStatus;
    fn try_from(written: Written) -> Result<Self, InvalidStatus> {
        match written {
            // Whether there is such a status is checked where everything is.
            Written::One(status) => Ok(status.into()),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<StatusRange> for Written {
    fn from(range: StatusRange) -> Self {
        if range.is_several() { Self::Text(range.to_string()) } else { Self::One(range.first) }
    }
}

impl schemars::JsonSchema for StatusRange {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StatusRange".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["integer", "string"],
            "format": "status-text",
            "pattern": "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$",
            "minimum": 100,
            "maximum": 599,
            "examples": [200, "200-299"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_stays_a_number_and_a_range_is_text() {
        for (json, holds, not) in [("200", 200, 201), ("\"200-299\"", 299, 300), ("\"401-401\"", 401, 400)] {
            let range: StatusRange = serde_json::from_str(json).unwrap();
            assert!(range.contains(holds) && !range.contains(not), "{json}");
        }
        let ranges = [StatusRange::from(204), StatusRange::new(200, 399), StatusRange::new(401, 401)];
        assert_eq!(serde_json::to_string(&ranges).unwrap(), r#"[204,"200-399",401]"#);
        for wrong in ["", "20", "2xx", "600", "200-", "299-200", "200-600", "-200", "+20", "200-2999", "099"]
        {
            assert!(wrong.parse::<StatusRange>().is_err(), "{wrong}");
        }
    }
}
