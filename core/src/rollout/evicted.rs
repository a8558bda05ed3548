//! Hosts that are no members any more: nobody waits for them, and their slots go at once.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::placement::Candidates;
use crate::plan::Phase;
use crate::release::{Release, Scale};

use super::draft::Draft;
use super::placing::why_nowhere;
use super::seen::Waiting;
use super::{Chosen, State};

pub(super) fn step(draft: &mut Draft<'_>) {
    let gone: Vec<SlotId> = draft
        .slots
        .iter()
        .filter(|(_, a)| draft.snapshot.fleet.member(&a.host).is_none())
        .map(|(slot, _)| slot.clone())
        .collect();
    let places = matches!(draft.state(), Some(State::Pending | State::Preparing | State::Advancing));
    for slot in &gone {
        let release = draft.release(&draft.slots[slot].want.release);
        let pins = release.is_some_and(|r| r.spec.pins_slots() && r.spec.scale != Scale::PerHost);
        draft.drop_slot(slot);
        if pins && !places && !draft.slots.contains_key(slot) {
            draft.service.given_up += 1;
        }
    }
    if matches!(draft.state(), Some(State::Preparing | State::Advancing)) {
        place_again(draft);
    }
}

/// How many slots the new release lacks: they went with their hosts, and no place was found yet.
pub(super) fn missing(draft: &Draft<'_>, to: &Digest, release: &Release) -> u32 {
    let Some(wanted) = draft.service.replicas_for(release) else { return 0 };
    let have =
        draft.slots.iter().filter(|(slot, a)| &a.want.release == to && !draft.is_leaving(slot)).count();
    let have = u32::try_from(have).unwrap_or(u32::MAX);
    wanted.saturating_sub(draft.service.given_up).saturating_sub(have)
}

/// Slots that the new release lost with a host are made elsewhere, if there is a place. What finds none is waited for only
/// where nothing else may stop without it, and otherwise left to the care of the service afterwards.
fn place_again(draft: &mut Draft<'_>) {
    let Some((to, release)) = draft.target() else { return };
    let missing = missing(draft, &to.digest, release);
    if missing == 0 {
        return;
    }
    let candidates = Candidates::of(draft.snapshot.fleet, release);
    let mut filling = candidates.fill(&draft.taken(), &draft.own());
    for _ in 0..missing {
        let place = match filling.next_place() {
            Ok(place) => place,
            Err(refused) => {
                draft.wait(Waiting::Place(why_nowhere(&refused)));
                return draft.wake_soon();
            }
        };
        let good = draft.rollout().is_to_good();
        let because = Chosen::Best { own: place.own, memory_reserved: place.memory_reserved };
        let host = place.host.clone();
        if let Some(slot) = draft.add_slot(place.host, to.digest, Phase::Pulled, good, place.gpus, None) {
            draft.placed(&slot, &host, because);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fleet::Scheduling;
    use crate::observation::InstanceState;
    use crate::plan::Previous;
    use crate::rollout::tests::fixture::{at, fleet, reference, release, report, steady};
    use crate::rollout::{Kind, Snapshot, Target, advance, start};

    use super::*;

    /// Found by the simulation (seed 419): one of two went with its host, and the other stopped for the new release.
    #[test]
    fn what_has_gone_with_its_host_counts_as_down_until_it_has_a_place() {
        let first = |json: &mut serde_json::Value| {
            json["spec"]["strategy"]["rolling"]["order"] = "stop_first".into();
        };
        let (mut fleet, old, new) = (fleet(3), release(1, first), release(2, first));
        let (service, mut slots, mut releases) = steady(&old, 3, &mut fleet);
        releases.insert(reference(&new).digest, new.clone());
        let (release, kind, actor) = (reference(&new), Kind::Deploy, "ada".to_owned());
        let target = Target { release, kind, actor, supersede: false, retry_quarantined: false };
        let id = "00000001".parse().unwrap();
        let (service, mut rollout, _) = start(&service, None, target, id, at(100)).unwrap();
        rollout.state = State::Advancing;
        for assignment in slots.values_mut() {
            let want = &mut assignment.want;
            (want.release, want.good, want.phase) = (reference(&new).digest, false, Phase::Pulled);
            want.previous = Some(Previous { release: reference(&old).digest, phase: Phase::Running });
        }
        report(&slots, &releases, &mut fleet, InstanceState::Healthy);
        let evicted = slots.values().next().unwrap().host.clone();
        fleet.members.remove(&evicted);
        for (scheduling, begun, made) in [(Scheduling::Cordoned, 0, 0), (Scheduling::Ready, 0, 1)] {
            fleet.members.values_mut().for_each(|member| member.scheduling = scheduling);
            let next = advance(&Snapshot {
                service: &service,
                slots: &slots,
                rollout: Some(&rollout),
                releases: &releases,
                fleet: &fleet,
                now: at(110),
            });
            let stops = next.slots.values().filter(|a| a.want.order == crate::plan::Order::StopFirst).count();
            let said: Vec<String> = next.waiting.iter().map(ToString::to_string).collect();
            assert_eq!((stops, next.slots.len()), (begun, 2 + made), "{scheduling:?}: {said:?}");
            let waits = said.iter().any(|text| text.contains("a host that takes one more"));
            assert_eq!(waits, made == 0, "{scheduling:?}: {said:?}");
        }
    }
}
