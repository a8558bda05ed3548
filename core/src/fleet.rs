//! The fleet as a decision sees it: every host with its liveness, facts and newest observation.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::capacity::Taken;
use crate::gate::{Answer, QuestionKey};
use crate::host::{HostFacts, Liveness, Usage};
use crate::id::{HostId, ServiceId, SlotId};
use crate::observation::Observation;
use crate::time::Timestamp;
use crate::traffic::{ServiceWindows, Traffic};

/// The fleet as a decision sees it. One that places nothing only looks at the hosts that it has slots on, so that
/// its cost follows the service and not the fleet.
pub trait Fleet: Debug {
    /// Since when it is watched: the start of this coordinator. No deadline counts the time before.
    fn since(&self) -> Timestamp;

    /// One host; `None` if it is no member.
    fn member(&self, host: &HostId) -> Option<&Member>;

    /// Every host, by name.
    fn all(&self) -> &BTreeMap<HostId, Member>;

    /// Traffic tables, and the ingresses that follow them; `None` where nothing is routed.
    fn traffic(&self) -> Option<&Traffic> {
        None
    }

    /// The windows of counters of a service; `None` where nothing of it was counted since this coordinator began.
    fn windows(&self, _service: &ServiceId) -> Option<&ServiceWindows> {
        None
    }

    /// The answer of a provider to the question of a gate; `None` as long as there is none.
    fn answer(&self, _question: &QuestionKey) -> Option<Answer> {
        None
    }

    /// The last measured use of an instance on a host; `None` where nobody has told since this coordinator began. A decision looks
    /// at the time: a host that is silent leaves old figures.
    fn usage(&self, _host: &HostId, _instance: &str) -> Option<Usage> {
        None
    }
}

/// All hosts, at one moment.
#[derive(Debug, Clone)]
pub struct FleetView {
    /// Since when it is watched: the start of this coordinator. No deadline counts the time before.
    pub since: Timestamp,
    /// By name. An evicted or banned host is not in here.
    pub members: BTreeMap<HostId, Member>,
}

/// One host, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Facts about it, as it last said.
    pub facts: Arc<HostFacts>,
    /// Whether the host is there.
    pub liveness: Liveness,
    /// When it was last heard of; `None` if not since the coordinator started.
    pub last_seen: Option<Timestamp>,
    /// For how long it has been silent with an agent that lives, by a clock that nobody sets. `None` if that is not
    /// known: it was not heard of since the coordinator started, or its agent ended the stream and may be dead, so
    /// that nobody is there who would stop anything.
    pub isolated_for: Option<Duration>,
    /// Whether it may get slots.
    pub scheduling: Scheduling,
    /// Whether an ingress on it counts: services that call others by name need one.
    pub has_ingress: bool,
    /// Whether its plan is still to be compared with a store that was set back. It gets none until then, see
    /// [`crate::recovery`].
    pub recovering: bool,
    /// Seq of the newest plan that was made for it.
    pub issued_seq: u64,
    /// Slots of that plan whose part is older than it: the seq of the first plan that had the part as it is now.
    pub parts: Arc<BTreeMap<SlotId, u64>>,
    /// Its last report on the stream that stands, if one does.
    pub observation: Option<Arc<Observation>>,
    /// Its last report on any stream.
    pub last_report: Option<Arc<Observation>>,
    /// The resources that slots of *other* services take of it.
    pub taken: Taken,
}

impl Member {
    /// Seq of the first plan that had the part of `slot` as the newest one has it. What the host says about that plan, or
    /// about a later one, is about this part; what it says about an earlier one tells nothing of the slot.
    pub fn part_since(&self, slot: &SlotId) -> u64 {
        self.parts.get(slot).copied().unwrap_or(self.issued_seq)
    }

    /// Returns whether the host is not heard of just now, and not lost either. Its last report is then old, and not
    /// false: it fell silent a moment ago, or has connected again and not reported yet.
    pub fn is_silent(&self) -> bool {
        match self.liveness {
            Liveness::Suspect => true,
            Liveness::Connected => self.observation.is_none() && self.last_report.is_some(),
            Liveness::Unknown | Liveness::Lost => false,
        }
    }
}

impl Fleet for FleetView {
    fn since(&self) -> Timestamp {
        self.since
    }

    fn member(&self, host: &HostId) -> Option<&Member> {
        self.members.get(host)
    }

    fn all(&self) -> &BTreeMap<HostId, Member> {
        &self.members
    }
}

/// Whether a host may get slots. Set by a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scheduling {
    /// Yes.
    #[default]
    Ready,
    /// It keeps what it has.
    Cordoned,
    /// Its instances move away.
    Draining,
}

impl Scheduling {
    /// The state as documents and tables write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        }
    }
}
