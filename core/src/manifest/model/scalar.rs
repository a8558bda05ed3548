//! The scalars of a manifest. Each has a format name in the JSON Schema by which `shape` finds its
//! parser, and a pattern for editors.

use std::fmt;
use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

use crate::traffic::Weight;
use crate::units::Span;

const SPAN: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";

/// A duration, for editors.
pub(crate) fn span(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "duration-text", "pattern": SPAN, "minLength": 2, "examples": ["10s", "5m"] })
}

/// A size, for editors.
pub(crate) fn size(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "size-text", "pattern": "^[0-9]+([KMGT]iB|[kMGT]?B)$", "examples": ["512MiB", "6GiB"] })
}

/// A number or a share, for editors.
pub(crate) fn amount(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["integer", "string"], "format": "amount-text", "pattern": "^[0-9]+%?$", "minimum": 0, "examples": [1, "25%"] })
}

/// A share, for editors.
pub(crate) fn percent(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "percent-text", "pattern": "^[0-9]+([.][0-9])?%$", "examples": ["5%"] })
}

/// A list of shares, for editors.
pub(crate) fn shares(generator: &mut SchemaGenerator) -> Schema {
    let items = percent(generator);
    json_schema!({ "type": "array", "items": items, "examples": [["10%", "50%", "100%"]] })
}

/// A lowercase DNS label, for editors.
pub(crate) fn label(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "label", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" })
}

/// The protocol of a port, for editors.
pub(crate) fn protocol(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["http", "h2c", "grpc", "tcp"], "default": "http" })
}

/// A list of labels, for editors.
pub(crate) fn labels(generator: &mut SchemaGenerator) -> Schema {
    let items = label(generator);
    json_schema!({ "type": "array", "items": items })
}

/// Text that may be written without quotes even where it looks like a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
#[schemars(extend("type" = ["string", "number", "boolean"]))]
pub(crate) struct Text(pub(crate) String);

/// A value that an answer's JSON has: text, a number, `true` or `false`, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
#[schemars(extend("type" = ["string", "number", "boolean"], "format" = "json-scalar"))]
pub(crate) struct JsonScalar(pub(crate) serde_json::Value);

/// Thousandths of a core, written as cores: `0.5`, `2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Cpu {
    pub(crate) millis: u32,
}

/// Not a number of cores.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a number of cores (like `0.5` or `2`, at most three decimals)")]
pub(crate) struct InvalidCpu(String);

impl FromStr for Cpu {
    type Err = InvalidCpu;
    fn from_str(text: &str) -> Result<Self, InvalidCpu> {
        let invalid = || InvalidCpu(text.chars().take(40).collect());
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(decimals) || decimals.len() > 3 {
            return Err(invalid());
        }
        let whole: u32 = whole.parse().map_err(|_| invalid())?;
        let thousandths: u32 = format!("{decimals:0<3}").parse().map_err(|_| invalid())?;
        let millis = whole.checked_mul(1000).and_then(|m| m.checked_add(thousandths)).ok_or_else(invalid)?;
        Ok(Self { millis })
    }
}

impl TryFrom<String> for Cpu {
    type Error = InvalidCpu;
    fn try_from(text: String) -> Result<Self, InvalidCpu> {
        text.parse()
    }
}

impl Serialize for Cpu {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.millis) / 1000.0)
    }
}

impl schemars::JsonSchema for Cpu {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cpu".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["number", "string"], "format": "cpu-text", "exclusiveMinimum": 0, "maximum": 1024, "examples": [0.5, 2] })
    }
}

/// Permission bits, written in octal: `0644`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Mode(pub(crate) u32);

/// Not permission bits.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a file mode (octal permission bits, like `0644`)")]
pub(crate) struct InvalidMode(String);

impl FromStr for Mode {
    type Err = InvalidMode;
    fn from_str(text: &str) -> Result<Self, InvalidMode> {
        let invalid = || InvalidMode(text.chars().take(40).collect());
        let digits = text.strip_prefix("0o").unwrap_or(text);
        if !(3..=4).contains(&digits.len()) || !digits.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
            return Err(invalid());
        }
        let bits = u32::from_str_radix(digits, 8).map_err(|_| invalid())?;
        // A file that is set-user-id or sticky has no place among configuration.
        if bits > 0o777 { Err(invalid()) } else { Ok(Self(bits)) }
    }
}

impl TryFrom<String> for Mode {
    type Error = InvalidMode;
    fn try_from(text: String) -> Result<Self, InvalidMode> {
        text.parse()
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> String {
        format!("{:04o}", mode.0)
    }
}

impl schemars::JsonSchema for Mode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Mode".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "format": "mode-text", "pattern": "^(0o|0)?[0-7]{3}$", "examples": ["0644"] })
    }
}

/// A duration, or `never`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum After {
    /// Not by itself.
    #[default]
    Never,
    /// After so long.
    Span(Span),
}

impl FromStr for After {
    type Err = <Span as FromStr>::Err;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" { Ok(Self::Never) } else { text.parse().map(Self::Span) }
    }
}

impl TryFrom<String> for After {
    type Error = <Span as FromStr>::Err;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Span(span) => span.fmt(f),
        }
    }
}

impl From<After> for String {
    fn from(after: After) -> String {
        after.to_string()
    }
}

impl schemars::JsonSchema for After {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "After".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = format!("^never$|{SPAN}");
        json_schema!({ "type": "string", "format": "after-text", "pattern": pattern, "minLength": 2, "examples": ["never", "5m"] })
    }
}

/// A share of the traffic, written in percent with at most one decimal: `10%`, `0.5%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Share(pub(crate) Weight);

/// Not a share.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a share (like `10%` or `0.5%`: one decimal, at most 100%)")]
pub(crate) struct InvalidShare(String);

impl FromStr for Share {
    type Err = InvalidShare;
    fn from_str(text: &str) -> Result<Self, InvalidShare> {
        let invalid = || InvalidShare(text.chars().take(40).collect());
        let number = text.strip_suffix('%').ok_or_else(invalid)?;
        let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || whole.len() > 3 || !digits(tenth) || tenth.len() != 1 {
            return Err(invalid());
        }
        let whole: u16 = whole.parse().map_err(|_| invalid())?;
        let tenth: u16 = tenth.parse().map_err(|_| invalid())?;
        Weight::try_from(whole * 10 + tenth).map(Self).map_err(|_| invalid())
    }
}

impl TryFrom<String> for Share {
    type Error = InvalidShare;
    fn try_from(text: String) -> Result<Self, InvalidShare> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> String {
        share.0.to_string()
    }
}
