//! The refusals of an agent, each with the class of attack or mistake that it stops.

use serde::{Deserialize, Serialize};

/// A verdict of the agent's verification, with the class of the attack or mistake it stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Refusal {
    /// The class; stable, for scripts and counters.
    pub code: RefusalCode,
    /// The details, for people.
    pub detail: String,
}

/// Bytes of a detail: enough for all checks of a release.
const DETAIL: usize = 4 * 1024;

impl Refusal {
    /// A refusal of that class.
    pub fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// Cuts what is longer than an agent of ours makes it.
    pub fn bound(&mut self) {
        super::vitals::cut(&mut self.detail, DETAIL);
    }
}

/// Classes of refusal: one per rule of the verification table.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// Step 1: over a size bound.
    TooLarge,
    /// Step 2: the peer is not a coordinator of this fleet.
    WrongPeer,
    /// Steps 3 and 6: not what the format says.
    Malformed,
    /// Step 3: another payload type.
    WrongType,
    /// Step 4: no signature by a key that the trust document names for this.
    UnknownKey,
    /// Step 5: a signature does not hold.
    BadSignature,
    /// Step 5: fewer distinct keys signed than asked for.
    BelowThreshold,
    /// Step 7: for another fleet or host.
    WrongAudience,
    /// Step 8: too late.
    Expired,
    /// Step 8: from the future.
    NotYetValid,
    /// Step 9: not newer than the last.
    Stale,
    /// Step 9: the same number with other content.
    Equivocation,
    /// Step 9: another epoch than the trust document's.
    WrongEpoch,
    /// Step 10: the release named does not verify.
    UnsignedRelease,
    /// Step 10: below the floor.
    BelowFloor,
    /// Step 10: revoked.
    Revoked,
    /// Step 10: failed on this host before.
    Quarantined,
    /// Step 10: its placement does not allow this host.
    WrongHost,
    /// Step 11: host policy; the rule stands in the detail.
    Policy,
    /// Step 12: disk, memory, GPU, port or name; what stands in the detail.
    NoRoom,
    /// Step 14: the image is not the one named.
    WrongImage,
    /// A check that the release asks for before its first start failed; which ones stand in the detail.
    CheckFailed,
}

impl RefusalCode {
    /// Every code, in the order of the steps.
    pub const ALL: [Self; 22] = [
        Self::TooLarge,
        Self::WrongPeer,
        Self::Malformed,
        Self::WrongType,
        Self::UnknownKey,
        Self::BadSignature,
        Self::BelowThreshold,
        Self::WrongAudience,
        Self::Expired,
        Self::NotYetValid,
        Self::Stale,
        Self::Equivocation,
        Self::WrongEpoch,
        Self::UnsignedRelease,
        Self::BelowFloor,
        Self::Revoked,
        Self::Quarantined,
        Self::WrongHost,
        Self::Policy,
        Self::NoRoom,
        Self::WrongImage,
        Self::CheckFailed,
    ];

    /// The code as documents, counters and people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::WrongPeer => "wrong_peer",
            Self::Malformed => "malformed",
            Self::WrongType => "wrong_type",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::BelowThreshold => "below_threshold",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Stale => "stale",
            Self::Equivocation => "equivocation",
            Self::WrongEpoch => "wrong_epoch",
            Self::UnsignedRelease => "unsigned_release",
            Self::BelowFloor => "below_floor",
            Self::Revoked => "revoked",
            Self::Quarantined => "quarantined",
            Self::WrongHost => "wrong_host",
            Self::Policy => "policy",
            Self::NoRoom => "no_room",
            Self::WrongImage => "wrong_image",
            Self::CheckFailed => "check_failed",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.detail.is_empty() {
            f.write_str(self.code.as_str())
        } else {
            write!(f, "{}: {}", self.code.as_str(), self.detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed_once_and_written_as_documents_write_it() {
        for (at, code) in RefusalCode::ALL.iter().enumerate() {
            assert_eq!(*code as usize, at, "in the order of the enum, so none is left out");
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        assert_eq!(RefusalCode::ALL.len(), RefusalCode::CheckFailed as usize + 1);
    }
}
