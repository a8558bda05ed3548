//! Names and numbers of the domain. Each is a type of its own, parsed once at the edge, so that a
//! service cannot be passed where a host is meant. Fleets and slots are copied often, and maps are searched by names: see `text`.

mod text;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use text::Text;

/// A name that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not {} {what} name (lowercase letters, digits and `-`, 1 to 63 characters, no `-` at either end)",
    if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
)]
pub struct InvalidName {
    /// Which kind of name was expected.
    pub what: &'static str,
    /// The given text, cut to 80 characters.
    pub text: String,
}

fn check_label(what: &'static str, text: &str) -> Result<(), InvalidName> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ok = (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if ok { Ok(()) } else { Err(InvalidName { what, text: text.chars().take(80).collect() }) }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, schemars::JsonSchema)]
        #[serde(try_from = "String")]
        #[schemars(with = "String")]
        pub struct $type(Text);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                check_label($what, text)?;
                Ok(Self(Text::new(text)))
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.as_str().to_owned()
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

name!(
    /// Name of a fleet: all hosts under one trust root.
    FleetId,
    "fleet"
);
name!(
    /// Name of a host: a machine with an agent. A lowercase DNS label.
    HostId,
    "host"
);
name!(
    /// Name of an environment: a named space of services with its own policy.
    EnvironmentId,
    "environment"
);
name!(
    /// Name of a service, unique within its environment.
    ServiceName,
    "service"
);
name!(
    /// Name of a person or machine that holds an operator certificate.
    OperatorName,
    "operator"
);

/// Identity of a service: *environment/name*.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct ServiceId {
    /// The environment it lives in.
    pub environment: EnvironmentId,
    /// Its name there.
    pub name: ServiceName,
}

impl ServiceId {
    /// Joins the two parts.
    pub fn new(environment: EnvironmentId, name: ServiceName) -> Self {
        Self { environment, name }
    }
}

impl Serialize for ServiceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.environment, self.name)
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl FromStr for ServiceId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName { what: "environment/service", text: text.chars().take(80).collect() };
        let (environment, name) = text.split_once('/').ok_or_else(invalid)?;
        Ok(Self { environment: environment.parse()?, name: name.parse()? })
    }
}

impl TryFrom<String> for ServiceId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<ServiceId> for String {
    fn from(id: ServiceId) -> String {
        id.to_string()
    }
}

/// A place for one container of a service on a host; it outlives releases. Written
/// `environment/service/index`. An index is never used again for another host.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct SlotId {
    /// The service it belongs to.
    pub service: ServiceId,
    /// Rises per service.
    pub index: u32,
}

impl SlotId {
    /// The slot of `service` with number `index`.
    pub fn new(service: ServiceId, index: u32) -> Self {
        Self { service, index }
    }
}

impl Serialize for SlotId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.index)
    }
}

impl fmt::Debug for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl FromStr for SlotId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName { what: "slot", text: text.chars().take(80).collect() };
        let (service, index) = text.rsplit_once('/').ok_or_else(invalid)?;
        let canonical = index == "0" || !index.starts_with('0');
        let digits = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
        if !canonical || !digits {
            return Err(invalid());
        }
        Ok(Self { service: service.parse()?, index: index.parse().map_err(|_| invalid())? })
    }
}

impl TryFrom<String> for SlotId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<SlotId> for String {
    fn from(id: SlotId) -> String {
        id.to_string()
    }
}

/// The rising number of a service's release, `r7`. Assigned by the client that signs, checked by the
/// coordinator against reuse with other content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Counter(pub u64);

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("r{}", self.0))
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl FromStr for Counter {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName { what: "release (like `r7`)", text: text.chars().take(80).collect() };
        let digits = text.strip_prefix('r').ok_or_else(invalid)?;
        let number: u64 = digits.parse().map_err(|_| invalid())?;
        if number == 0 || digits != number.to_string() {
            return Err(invalid());
        }
        Ok(Self(number))
    }
}

impl TryFrom<String> for Counter {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Counter> for String {
    fn from(counter: Counter) -> String {
        counter.to_string()
    }
}

/// Identity of a rollout: a UUID (version 7), given from outside.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct RolloutId(Arc<str>);

impl RolloutId {
    /// The identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RolloutId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let ok = (8..=36).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if ok {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName { what: "rollout", text: text.chars().take(80).collect() })
        }
    }
}

impl TryFrom<String> for RolloutId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<RolloutId> for String {
    fn from(id: RolloutId) -> String {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        #[rustfmt::skip]
        let table = [
            ("web-1", true), ("a", true), ("", false), ("Web", false), ("-a", false), ("a-", false),
            ("a_b", false), ("a/b", false), ("..", false), ("a\n", false),
        ];
        for (text, want) in table {
            assert_eq!(text.parse::<HostId>().is_ok(), want, "{text:?}");
        }
        assert!("a".repeat(63).parse::<HostId>().is_ok());
        assert!("a".repeat(64).parse::<HostId>().is_err());
    }

    #[test]
    fn slots_and_counters_have_one_spelling() {
        let slot: SlotId = "production/web/10".parse().unwrap();
        assert_eq!(slot.to_string(), "production/web/10");
        for bad in [
            "production/web/01",
            "production/web/",
            "web/1",
            "production/web/+1",
            "production/web/4294967296",
        ] {
            assert!(bad.parse::<SlotId>().is_err(), "{bad}");
        }
        assert_eq!("r7".parse(), Ok(Counter(7)));
        for bad in ["7", "r0", "r07", "r", "r-1", "r+1", "r18446744073709551616"] {
            assert!(bad.parse::<Counter>().is_err(), "{bad}");
        }
    }
}
