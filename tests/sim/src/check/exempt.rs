//! Reasons for which an apparent violation is none: each has a name, is counted, and is printed at the end of a run.

use std::collections::BTreeMap;

use super::Checks;
use crate::strict::Oracle;

/// A reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exemption {
    /// A stop: the instance, or another one in its slot, had failed by itself.
    Broken,
    /// A stop: it was begun while the host was alone, or a person had told the service to stop.
    Excused,
    /// A stop: the host's journal was taken away, or a lie stood in it.
    Misled,
    /// A stop: it had not begun to serve when the plan was made.
    Unforeseen,
    /// A stop: its release came below the floor.
    BelowFloor,
    /// A stop of what requests are led to: that ingress did not count when the stop was decided.
    NotCounted,
    /// A stop of what requests are led to: the drain timeout had passed.
    TimedOut,
    /// A stop of what requests are led to: its host was out of reach, or no member, when the stop was decided.
    HostLost,
    /// A stop of what requests are led to: the coordinator that decided it was restored since, or had been.
    SetBack,
    /// A share that rises before its release is at strength: it had most of the requests already.
    Leads,
    /// A share that rises before its release is at strength: an instance ended, or failed, by itself.
    Ended,
    /// A share that rises before its release is at strength: an instance is on a host that is out of reach.
    Unreachable,
}

impl Exemption {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Broken,
        Self::Excused,
        Self::Misled,
        Self::Unforeseen,
        Self::BelowFloor,
        Self::NotCounted,
        Self::TimedOut,
        Self::HostLost,
        Self::SetBack,
        Self::Leads,
        Self::Ended,
        Self::Unreachable,
    ];
}

/// The count of each.
pub type Exempted = BTreeMap<Exemption, u64>;

impl Checks {
    /// Whether something is excused for this reason: in a restricted run only what the manifest itself says, that a stop waits no
    /// longer than its drain timeout.
    pub(super) fn exempts(&mut self, why: Exemption) -> bool {
        let exempts = self.oracle == Oracle::Full || why == Exemption::TimedOut;
        if exempts {
            *self.exempted.entry(why).or_default() += 1;
        }
        exempts
    }
}
