//! The decisions that rollouts record, held to what the model saw: checked after every step of every
//! simulation here.

use windlass_core::plan::Order;
use windlass_core::rollout::{Decision, Rollout, RolloutCommand, SLOTS, State, What};
use windlass_core::view::{self, ExplainView};

use super::fleet::{Behaviour, spec};
use super::seeds;
use super::world::World;

impl World {
    /// Takes in what the last decision wrote, as the ledger does: with the rollout, and only then.
    pub(crate) fn write_story(&mut self) {
        let seed = self.seed;
        let Some(rollout) = &mut self.rollout else { return };
        let fresh = rollout.log.take_fresh();
        for decision in &fresh {
            if matches!(decision.what, What::Started { .. }) {
                self.decisions.clear();
            }
            assert_eq!(decision.n as usize, self.decisions.len(), "seed {seed}: numbered without a gap");
            check(seed, decision);
            self.decisions.push(decision.clone());
        }
        assert_eq!(rollout.log.written() as usize, self.decisions.len(), "seed {seed}: nothing got lost");
        assert_eq!(last_state(&self.decisions), rollout.state, "seed {seed}: {:#?}", self.decisions.last());
        check_failures(seed, rollout, &self.decisions);
    }

    fn explain(&self) -> ExplainView {
        let (rollout, fleet) = (self.rollout.as_ref().unwrap(), self.fleet());
        let shown = view::rollout(
            rollout,
            &self.service,
            &self.slots,
            &self.releases,
            &fleet,
            &[],
            windlass_core::Timestamp::ZERO,
        );
        let explained = view::explain(shown, &rollout.log, self.decisions.clone());
        // The coordinator's output is the command line's input.
        let shown = serde_json::to_vec(&explained).unwrap();
        match serde_json::from_slice::<ExplainView>(&shown) {
            Ok(read) => assert_eq!(read, explained),
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&shown)),
        }
        explained
    }

    fn kinds(&self) -> Vec<String> {
        let kind =
            |d: &Decision| serde_json::to_value(&d.what).unwrap()["decision"].as_str().unwrap().to_owned();
        let mut kinds: Vec<String> = self.decisions.iter().map(kind).collect();
        kinds.dedup();
        kinds
    }
}

fn last_state(decisions: &[Decision]) -> State {
    let state = |decision: &Decision| {
        if let What::Moved { to, .. } | What::Steered { to, .. } = &decision.what { Some(*to) } else { None }
    };
    decisions.iter().rev().find_map(state).unwrap_or(State::Pending)
}

/// A decision must follow from the numbers that stand beside it.
fn check(seed: u64, decision: &Decision) {
    if let What::Begun { slots, more, stood, allowed } = &decision.what {
        let begun = u32::try_from(slots.len()).unwrap() + more;
        if let Some(batch) = allowed.batch {
            assert!(stood.in_flight + begun <= batch, "seed {seed}: {decision:#?}");
        }
        let stops = slots.iter().filter(|slot| slot.order == Some(Order::StopFirst)).count();
        let explained = slots.iter().filter(|slot| slot.because.is_some()).count();
        assert_eq!(stops, explained, "seed {seed}: stop-first has a reason: {decision:#?}");
        assert!(slots.len() <= SLOTS && !slots.is_empty(), "seed {seed}");
    }
    if let What::Available { slots, available, of, .. } = &decision.what {
        assert!(available <= of && slots.len() <= *available as usize, "seed {seed}: {decision:#?}");
    }
    if let What::Moved { from, to, .. } = &decision.what {
        assert!(!from.is_final() && from != to, "seed {seed}: {decision:#?}");
    }
}

fn check_failures(seed: u64, rollout: &Rollout, decisions: &[Decision]) {
    for failure in &rollout.failures {
        let told = decisions.iter().any(|decision| {
            matches!(&decision.what, What::Failed { failure: told, .. } if told.slot == failure.slot)
        });
        assert!(told, "seed {seed}: {} failed and nobody says so", failure.slot);
    }
}

#[test]
fn a_rollout_that_succeeds_says_where_when_and_why() {
    let mut world = World::settled(7, 3, spec(3));
    world.deploy(Behaviour::Good);
    assert_eq!(world.run_to_end(), State::Succeeded);
    let kinds = world.kinds();
    for kind in ["started", "placed", "pulled", "begun", "available", "moved"] {
        assert!(kinds.iter().any(|told| told == kind), "no `{kind}` in {kinds:?}");
    }
    let explained = world.explain();
    let mut arrived = 0;
    for told in &explained.decisions {
        if let What::Available { slots, .. } = &told.decision.what {
            assert!(slots.iter().all(|slot| slot.after_ms.is_some()), "{told:#?}");
            arrived += slots.len();
        }
    }
    assert_eq!(arrived, 3, "each slot arrives once");
    assert!(explained.decisions.last().unwrap().text.contains("the service is at r2"));
    assert_eq!(explained.left_out, 0);
}

#[test]
fn failed_rollout_names_failure_evidence_and_what_serves() {
    for seed in seeds() {
        let mut world = World::settled(seed, 3, spec(3));
        world.deploy(Behaviour::NeverReady);
        assert_eq!(world.run_to_end(), State::RolledBack);
        let explained = world.explain();
        let texts: Vec<&str> = explained.decisions.iter().map(|d| d.text.as_str()).collect();
        let failed =
            explained.decisions.iter().find(|d| matches!(d.decision.what, What::Failed { .. })).unwrap();
        assert!(failed.text.contains(" failed: "), "{texts:#?}");
        assert!(failed.made_from[0].contains("waiting for health checks"), "{failed:#?}");
        assert!(texts.last().unwrap().contains("→ rolled back"), "{texts:#?}");
        assert!(texts.last().unwrap().contains("the service is at r1"), "{texts:#?}");
    }
}

#[test]
fn who_steered_and_what_was_left_behind_is_told() {
    let mut world = World::settled(3, 3, spec(3));
    world.deploy(Behaviour::Good);
    world.run_for(3);
    assert!(world.steer(RolloutCommand::Pause));
    world.run_for(3);
    assert!(world.steer(RolloutCommand::Resume));
    world.hosts[2].cut = true;
    world.run_to_end();
    let texts: Vec<String> = world.explain().decisions.into_iter().map(|d| d.text).collect();
    for words in ["sim paused it", "sim let it go on", "h2 lost at the deadline"] {
        assert!(texts.iter().any(|text| text.contains(words)), "no `{words}` in {texts:#?}");
    }
}

#[test]
fn a_restart_claims_no_soak() {
    let mut world = World::settled(4, 2, spec(2));
    assert!(world.restart());
    assert_eq!(world.run_to_end(), State::Succeeded);
    let explained = world.explain();
    let last = &explained.decisions.last().unwrap().made_from;
    assert_eq!(last[0], "every instance was available for 0s", "what was good before is not watched again");
}
