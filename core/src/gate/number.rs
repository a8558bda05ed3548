//! A finite number.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A finite number: never NaN, never infinite.
#[derive(Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schemars(with = "f64")]
pub struct Number(f64);

// No number is unequal to itself: NaN is none.
impl Eq for Number {}

impl Number {
    /// Nothing.
    pub const ZERO: Self = Self(0.0);

    /// A number, if it is finite.
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value))
    }

    /// Six digits of a number, and nothing below 1e-15: enough for people.
    pub(super) fn rounded(value: f64) -> Self {
        let rounded = format!("{value:.5e}").parse().unwrap_or(value);
        Self::new(rounded).filter(|number| number.0.abs() >= 1e-15).unwrap_or(Self::ZERO)
    }

    /// Whether it is read as it was written: one with at most 15 digits is.
    pub fn is_exact(self) -> bool {
        let written = serde_json::to_string(&self);
        written.is_ok_and(|text| serde_json::from_str::<Self>(&text).is_ok_and(|read| read == self))
    }

    /// Its value.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Number {
    type Error = &'static str;

    fn try_from(value: f64) -> Result<Self, Self::Error> {
        Self::new(value).ok_or("the number is not finite")
    }
}

impl From<Number> for f64 {
    fn from(number: Number) -> Self {
        number.0
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value) = self;
        let size = value.abs();
        if size != 0.0 && !(1e-4..1e15).contains(&size) {
            write!(f, "{value:e}")
        } else {
            write!(f, "{value}")
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
