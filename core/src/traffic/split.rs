//! The shares of two releases while the traffic of a service moves from one to the other.

use serde::{Deserialize, Serialize};

use super::bounds::is_match;
use super::{Match, MatchOn, Weight};
use crate::digest::Digest;

/// Two releases of a service, and their shares of its requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The release that the traffic moves to.
    pub new: Digest,
    /// Its share. The other one has the rest.
    pub weight: Weight,
    /// The release that the traffic moves from.
    pub old: Digest,
    /// Makes the positions of clients those of one rollout.
    pub salt: String,
    /// Requests that go to the new release whatever its share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<MatchRule>,
}

/// Rules of one step: a table has room for so many.
pub(crate) const MAX_RULES: usize = 16;

/// A header or cookie with a value: requests that have it go to the new release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchRule {
    /// Header or cookie.
    pub on: MatchOn,
    /// Its name; of a header in lower case.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Split {
    /// The share of a release; none for a third one.
    pub fn share(&self, release: &Digest) -> Weight {
        if release == &self.new {
            self.weight
        } else if release == &self.old {
            self.weight.rest()
        } else {
            Weight::NONE
        }
    }

    /// Whether a release is one of the two.
    pub fn names(&self, release: &Digest) -> bool {
        release == &self.new || release == &self.old
    }

    /// The other one of the two.
    pub fn beside(&self, release: &Digest) -> Option<Digest> {
        self.names(release).then_some(if release == &self.new { self.old } else { self.new })
    }

    /// Gives one of the two every request.
    pub fn give_all(&mut self, release: &Digest) {
        if self.names(release) {
            self.matches.clear();
            self.weight = if release == &self.new { Weight::ALL } else { Weight::NONE };
        }
    }

    /// The release with the larger share: its names and times count. At equal shares that is the one that had all.
    pub fn leads(&self) -> Digest {
        if self.weight > self.weight.rest() { self.new } else { self.old }
    }
}

/// Whether a rule compares the host name of a request: such rules are those of previews.
pub(crate) fn is_host_name(on: MatchOn, name: &str) -> bool {
    on == MatchOn::Header && name == "host"
}

impl MatchRule {
    /// Whether a table can carry it.
    pub fn is_valid(&self) -> bool {
        is_match(&self.name, &self.value) && !is_host_name(self.on, &self.name)
    }

    /// Whether a table has the rule as `rule`.
    pub(super) fn is(&self, rule: &Match) -> bool {
        self.on == rule.on && self.name == rule.name && self.value == rule.value
    }
}
