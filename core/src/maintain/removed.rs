//! A service that a person removed: its slots go, and hosts say when nothing is left there.

use crate::fleet::Member;
use crate::host::Liveness;
use crate::id::{HostId, ServiceId};
use crate::observation::Observation;
use crate::rollout::planner::Planner;
use crate::slot::{Slot, Waiting};

/// The slots go at once: a host that is lost gets a plan without them when it returns.
pub(super) fn step(planner: &mut Planner<'_>) {
    for slot in planner.keys() {
        let host = planner.host(&slot);
        planner.drop_slot(&slot);
        if planner.slots.get(&slot).is_none_or(Slot::is_leaving) {
            planner.service.leaving.insert(host);
        }
    }
    // Reports from before the hosts heard of it say nothing.
    if !planner.touched.is_empty() {
        return;
    }
    let id = planner.service.id.clone();
    let hosts: Vec<HostId> = planner.service.leaving.iter().cloned().collect();
    for host in hosts {
        match planner.snapshot.fleet.member(&host) {
            Some(member) if !is_clean(member, &id) => {
                planner.wait(Waiting::Gone { host, liveness: member.liveness });
            }
            Some(_) | None => drop(planner.service.leaving.remove(&host)),
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
