//! Whether a slot may stay on its host, and the words for a slot that finds none.

use std::collections::BTreeMap;

use crate::fleet::Scheduling;
use crate::host::Liveness;
use crate::id::{HostId, SlotId};
use crate::placement::{self, Filling, Place, Unfit};
use crate::release::{Release, Scale};
use crate::slot::Waiting;

use super::planner::Planner;

impl Planner<'_> {
    /// Whether the slot's host is to be emptied.
    pub(crate) fn is_draining(&self, slot: &SlotId) -> bool {
        self.member_of(slot).is_some_and(|member| member.scheduling == Scheduling::Draining)
    }

    /// The next place for a slot. Where there is none, it is waited for.
    pub(crate) fn next_place(&mut self, filling: &mut Filling<'_>) -> Option<Place> {
        match filling.next_place() {
            Ok(place) => Some(place),
            Err(refused) => {
                self.wait(Waiting::Place(why_nowhere(&refused)));
                self.wake_soon();
                None
            }
        }
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

    /// The reason for which the host of a slot, which is there, may not run `release`: its policy, its platform or its agent.
    pub(super) fn forbidden(&self, slot: &SlotId, release: &Release) -> Option<Unfit> {
        let member = self.member_of(slot).filter(|member| member.liveness == Liveness::Connected)?;
        let why = placement::eligible(self.slots[slot].host(), member, release).err()?;
        let is_final = matches!(why, Unfit::Policy(_) | Unfit::Platform(..) | Unfit::TooOld);
        (is_final && !self.slots[slot].is_leaving()).then_some(why)
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
