//! A service that a person removed: its slots go, and hosts say when nothing is left there.

use crate::fleet::Member;
use crate::host::Liveness;
use crate::id::{HostId, ServiceId};
use crate::observation::Observation;
use crate::rollout::draft::Draft;
use crate::slot::{Slot, Waiting};

/// The slots go at once: a host that is lost gets a plan without them when it returns.
pub(super) fn step(draft: &mut Draft<'_>) {
    for slot in draft.keys() {
        let host = draft.host(&slot);
        draft.drop_slot(&slot);
        if draft.slots.get(&slot).is_none_or(Slot::is_leaving) {
            draft.service.leaving.insert(host);
        }
    }
    // What hosts said before they heard of it, says nothing.
    if !draft.touched.is_empty() {
        return;
    }
    let id = draft.service.id.clone();
    let hosts: Vec<HostId> = draft.service.leaving.iter().cloned().collect();
    for host in hosts {
        match draft.snapshot.fleet.member(&host) {
            Some(member) if !is_clean(member, &id) => {
                draft.wait(Waiting::Gone { host, liveness: member.liveness });
            }
            Some(_) | None => drop(draft.service.leaving.remove(&host)),
        }
    }
}

/// Whether the host says, about its newest plan, that it has nothing of the service.
fn is_clean(member: &Member, service: &ServiceId) -> bool {
    let empty = |seen: &Observation| {
        seen.seq >= member.issued_seq
            && !seen.slots.iter().any(|slot| &slot.slot.service == service && !slot.instances.is_empty())
    };
    member.liveness == Liveness::Connected && member.observation.as_deref().is_some_and(empty)
}
