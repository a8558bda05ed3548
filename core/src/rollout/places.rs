//! Whether a slot may stay on its host, and the words for a slot that finds none.

use std::collections::BTreeMap;

use crate::fleet::Scheduling;
use crate::host::Liveness;
use crate::id::{HostId, SlotId};
use crate::placement::{self, Unfit};
use crate::release::{Release, Scale};

use super::planner::Planner;

impl Planner<'_> {
    /// Whether the slot's host is to be emptied.
    pub(crate) fn is_draining(&self, slot: &SlotId) -> bool {
        self.member_of(slot).is_some_and(|member| member.scheduling == Scheduling::Draining)
    }

    /// Whether the slot stays on its host for `release`.
    pub(crate) fn fits(&self, slot: &SlotId, release: &Release) -> bool {
        let Some(member) = self.member_of(slot).filter(|_| !self.slots[slot].is_leaving()) else {
            return false;
        };
        let fits = match placement::eligible(self.slots[slot].host(), member, release) {
            Ok(()) => true,
            // Facts of a host that is away are old; it keeps its slot until it returns.
            Err(Unfit::Policy(_) | Unfit::Platform(..) | Unfit::TooOld) => {
                member.liveness != Liveness::Connected
            }
            Err(
                Unfit::NotConnected(_)
                | Unfit::NotScheduling(_)
                | Unfit::Recovering
                | Unfit::Labels(_)
                | Unfit::Volume(_)
                | Unfit::NoRoom(_),
            ) => false,
            // Its data is there. Without an ingress its calls are refused, and nothing is lost.
            Err(Unfit::NoIngress) => release.spec.pins_slots() || release.spec.scale == Scale::PerHost,
        };
        fits && (member.scheduling != Scheduling::Draining || release.spec.pins_slots())
    }
}

/// The reasons for which no host takes a slot, host by host, at most five.
pub(crate) fn why_nowhere(refused: &BTreeMap<HostId, Unfit>) -> String {
    if refused.is_empty() {
        return "the fleet has no hosts: `windlass host token HOST` makes the token with which `windlass-agent join` adds one"
            .to_owned();
    }
    let mut texts: Vec<String> = refused.iter().take(5).map(|(host, why)| format!("{host}: {why}")).collect();
    if refused.len() > 5 {
        texts.push(format!("and {} more", refused.len() - 5));
    }
    texts.join("; ")
}
