//! What an agent saw on its host. Observations are lossless: the newest is sent again until it is
//! acknowledged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{Counter, SlotId};
use crate::time::Timestamp;
use crate::units::Span;

/// Everything an agent says about its slots, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Rises with every change, since the agent started.
    pub revision: u64,
    /// The newest plan the agent has accepted and journaled; 0 if none.
    pub seq: u64,
    /// Can the engine be asked? What follows is the last known state if not.
    pub engine: EngineState,
    /// Why the newest plan that was offered is not in force, if it is not.
    pub plan_refusal: Option<Refusal>,
    /// Every slot that the plan lists or that has an instance.
    pub slots: Vec<SlotObservation>,
}

impl Observation {
    /// What was seen of one slot.
    pub fn slot(&self, slot: &SlotId) -> Option<&SlotObservation> {
        self.slots.iter().find(|seen| &seen.slot == slot)
    }
}

/// Can the engine be asked?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EngineState {
    /// Not asked yet.
    #[default]
    Unknown,
    /// It answers.
    Available,
    /// It does not; the reason in words.
    Unavailable(String),
}

/// What was seen of one slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotObservation {
    /// Which slot.
    pub slot: SlotId,
    /// The release that the plan in force wants here.
    pub release: Option<Digest>,
    /// How far the slot is.
    pub status: SlotStatus,
    /// Is the image of `release` on the host?
    pub pulled: bool,
    /// Progress of a pull under way.
    pub pull: Option<PullProgress>,
    /// The containers of this slot, the newest first.
    pub instances: Vec<Instance>,
}

impl SlotObservation {
    /// The newest instance of a release that has not failed.
    pub fn instance_of(&self, release: &Digest) -> Option<&Instance> {
        self.instances.iter().find(|seen| &seen.release == release && seen.state != InstanceState::Failed)
    }
}

/// How far a slot is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotStatus {
    /// The agent is working towards the plan.
    Converging,
    /// The slot is as the plan says.
    Settled,
    /// Nothing was started, for this reason; what ran, runs.
    Refused(Refusal),
    /// The planned release failed here, and its content is quarantined on this host.
    Failed {
        /// The fallback, once it is restored and serves again; `None` if there is none or not yet.
        restored: Option<Digest>,
        /// Why, with evidence.
        evidence: Box<Evidence>,
    },
}

/// A verdict of the agent's verification, with the class of the attack or mistake it stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Refusal {
    /// The class; stable, for scripts and counters.
    pub code: RefusalCode,
    /// What exactly, for people.
    pub detail: String,
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
}

impl RefusalCode {
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

/// Progress of a pull.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PullProgress {
    /// Bytes here.
    pub done: u64,
    /// Bytes in all, as far as known.
    pub total: u64,
}

/// A container of a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its name, unique in the fleet; the label `windlass.instance`.
    pub id: String,
    /// The engine's id of the container.
    pub container: Option<String>,
    /// Its release.
    pub release: Digest,
    /// The number of its release.
    pub counter: Counter,
    /// What it is.
    pub state: InstanceState,
    /// Since when it is that.
    pub since: Timestamp,
    /// Has it been healthy for min ready, without a break until now? Judged by the agent's clock.
    pub available: bool,
    /// Where its ports answer, by name: `address:port`.
    pub endpoints: BTreeMap<String, String>,
    /// How often it was started again.
    pub restarts: u32,
}

/// What an instance is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Its image is being pulled.
    Pulling,
    /// It was started and has never been ready.
    Starting,
    /// It has been ready and is not now.
    Unready,
    /// It is ready.
    Healthy,
    /// It finishes what it has.
    Draining,
    /// It is stopped and kept for return.
    Standby,
    /// It is stopped.
    Stopped,
    /// It failed; kept for inspection.
    Failed,
    /// The host refused it.
    Refused,
}

impl InstanceState {
    /// The state as documents and tables write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pulling => "pulling",
            Self::Starting => "starting",
            Self::Unready => "unready",
            Self::Healthy => "healthy",
            Self::Draining => "draining",
            Self::Standby => "standby",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }

    /// Does its process run?
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Starting | Self::Unready | Self::Healthy | Self::Draining)
    }
}

/// Why an instance failed, with what a person needs to see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Evidence {
    /// The instance, if one was made.
    pub instance: Option<String>,
    /// Its release.
    pub release: Digest,
    /// The number of its release.
    pub counter: Counter,
    /// Which clock ran.
    pub clock: Clock,
    /// What happened.
    pub reason: FailureReason,
    /// Exit code of the process, if it ended.
    pub exit_code: Option<i64>,
    /// Did the kernel kill it for memory?
    pub oom_killed: bool,
    /// How often it had been started again.
    pub restarts: u32,
    /// The last lines it wrote, the oldest first; at most 20, each at most 500 bytes.
    pub log: Vec<String>,
    /// The last answers to its probes, the oldest first; at most 10.
    pub probes: Vec<ProbeResult>,
    /// When it was judged, by the host's clock.
    pub at: Timestamp,
}

/// The four clocks of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Until its image is there.
    Pull,
    /// Until its process runs.
    Start,
    /// Until it has been healthy for min ready.
    Health,
    /// Until its rollout succeeded.
    Soak,
}

impl Clock {
    /// The clock as documents and tables write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Start => "start",
            Self::Health => "health",
            Self::Soak => "soak",
        }
    }
}

/// What happened to an instance that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// The image could not be pulled.
    PullFailed {
        /// What the engine or registry said.
        message: String,
    },
    /// No byte of the image came for this long.
    PullStalled {
        /// How long.
        after: Span,
    },
    /// The container could not be made or started.
    StartFailed {
        /// What the engine said.
        message: String,
    },
    /// A port of the host is taken by somebody else.
    PortTaken {
        /// Which.
        port: u16,
    },
    /// The process ended.
    Exited {
        /// With this code.
        code: i64,
    },
    /// The kernel killed it for memory.
    OutOfMemory,
    /// It was not healthy in time.
    NotHealthyInTime {
        /// The deadline that passed.
        deadline: Span,
    },
    /// Its liveness probe failed.
    LivenessFailed,
    /// It was healthy once, and then not ready for too long.
    UnreadyTooLong {
        /// How long.
        after: Span,
    },
}

impl std::fmt::Display for FailureReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PullFailed { message } => write!(f, "the image could not be pulled: {message}"),
            Self::PullStalled { after } => write!(f, "the pull got no byte for {after}"),
            Self::StartFailed { message } => write!(f, "the container could not be started: {message}"),
            Self::PortTaken { port } => write!(f, "port {port} of the host is taken"),
            Self::Exited { code } => write!(f, "the process exited with code {code}"),
            Self::OutOfMemory => f.write_str("the process was killed for running out of memory"),
            Self::NotHealthyInTime { deadline } => write!(f, "it was not healthy within {deadline}"),
            Self::LivenessFailed => f.write_str("its liveness probe failed"),
            Self::UnreadyTooLong { after } => write!(f, "it was unready for {after}"),
        }
    }
}

/// One answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProbeResult {
    /// When it was asked.
    pub at: Timestamp,
    /// `startup`, `readiness` or `liveness`.
    pub probe: String,
    /// Was the answer good?
    pub ok: bool,
    /// What came back: `HTTP 503`, `connection refused`, `exit 1`, `timed out after 3s`.
    pub detail: String,
}
