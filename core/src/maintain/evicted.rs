//! Hosts that are no members any more: nobody waits for them, and their slots go at once.

use crate::digest::Digest;
use crate::placement::Candidates;
use crate::release::{Release, Scale};
use crate::rollout::Chosen;
use crate::rollout::model::State;
use crate::rollout::planner::{NewSlot, Planner};

/// Drops slots on hosts that are no members any more, and makes others for a rollout that needs them.
pub(crate) fn evicted(planner: &mut Planner<'_>) {
    let gone = planner.slots_that(|slot| planner.snapshot.fleet.member(slot.host()).is_none());
    let places = matches!(planner.state(), Some(State::Pending | State::Preparing | State::Advancing));
    for slot in &gone {
        let release = planner.release(&planner.slots[slot].release());
        let pins = release.is_some_and(|r| r.spec.pins_slots() && r.spec.scale != Scale::PerHost);
        planner.drop_slot(slot);
        if pins && !places && !planner.slots.contains_key(slot) {
            planner.service.given_up += 1;
        }
    }
    if matches!(planner.state(), Some(State::Preparing | State::Advancing)) {
        place_again(planner);
    }
}

/// The number of slots that the new release lacks: they went with their hosts, and no place was found yet.
pub(crate) fn missing(planner: &Planner<'_>, to: &Digest, release: &Release) -> u32 {
    let Some(wanted) = planner.service.replicas_for(release) else { return 0 };
    let have = planner.slots.values().filter(|slot| &slot.release() == to && !slot.is_leaving()).count();
    let have = u32::try_from(have).unwrap_or(u32::MAX);
    wanted.saturating_sub(planner.service.given_up).saturating_sub(have)
}

/// Slots that the new release lost with a host are made elsewhere, if there is a place. What finds none is waited for only
/// where nothing else may stop without it, and otherwise left to the care of the service afterwards.
fn place_again(planner: &mut Planner<'_>) {
    let Some((to, release)) = planner.target() else { return };
    let missing = missing(planner, &to.digest, release);
    if missing == 0 {
        return;
    }
    let candidates = Candidates::of(planner.snapshot.fleet, release);
    let mut filling = candidates.fill_again(&planner.taken(), &planner.own());
    for _ in 0..missing {
        let Some(place) = planner.next_place(&mut filling) else { return };
        let good = planner.rollout().is_to_good();
        let because = Chosen::Best { own: place.own, memory_reserved: place.memory_reserved, instead: None };
        let (host, gpus) = (place.host, place.gpus);
        let new = NewSlot { host, release: to.digest, runs: false, good, gpus, stands_in_for: None };
        planner.add_slot(new, Some(because));
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::report;
    use crate::fleet::Scheduling;
    use crate::observation::InstanceState;
    use crate::plan::Order;
    use crate::rollout::tests::midway::Midway;

    /// Found by the simulation (seed 419): one of two went with its host, and the other stopped for the new release.
    #[test]
    fn slot_of_an_evicted_host_counts_as_down_until_placed() {
        for (scheduling, made) in [(Scheduling::Cordoned, 0), (Scheduling::Ready, 1)] {
            let mut midway = Midway::new();
            let evicted = midway.slots.values().next().unwrap().host().clone();
            report(&midway.slots, &midway.releases, &mut midway.fleet, InstanceState::Healthy);
            midway.fleet.members.remove(&evicted);
            midway.fleet.members.values_mut().for_each(|member| member.scheduling = scheduling);
            midway.step();
            let stops = midway.slots.values().filter(|slot| slot.order() == Order::StopFirst).count();
            let said: Vec<String> = midway.waiting.iter().map(ToString::to_string).collect();
            assert_eq!((stops, midway.slots.len()), (0, 2 + made), "{scheduling:?}: {said:?}");
            let waits = said.iter().any(|text| text.contains("a host that takes one more"));
            assert_eq!(waits, made == 0, "{scheduling:?}: {said:?}");
        }
    }
}
