//! Hosts on which nothing can be done for a while although they are there: their engine does not answer, or their agent
//! can write nothing down. No release is blamed for that.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::fixture::{at, fleet, reference, release, report, steady};
use crate::fleet::FleetView;
use crate::observation::{EngineState, InstanceState, Observation};
use crate::rollout::{
    Kind, Reason, Rollout, RolloutCommand, Snapshot, State, Target, Waiting, advance, start, steer,
};
use crate::service::{Releases, Service, Slots};

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Engine,
    Journal,
}

struct Run {
    service: Service,
    slots: Slots,
    releases: Releases,
    rollout: Option<Rollout>,
    fleet: FleetView,
    trouble: Option<Trouble>,
    waiting: Vec<Waiting>,
    now: i64,
}

impl Run {
    fn new() -> Self {
        let mut fleet = fleet(3);
        let (service, slots, mut releases) = steady(&release(1, |_| {}), 3, &mut fleet);
        let next = release(2, |_| {});
        let to = reference(&next);
        releases.insert(to.digest, next);
        let target = Target {
            release: to,
            kind: Kind::Deploy,
            actor: "ada".into(),
            supersede: false,
            retry_quarantined: false,
        };
        let (service, rollout, _) =
            start(&service, None, target, "00000001".parse().unwrap(), at(100)).unwrap();
        let (waiting, trouble) = (Vec::new(), None);
        Self { service, slots, releases, rollout: Some(rollout), fleet, trouble, waiting, now: 100 }
    }

    /// A second goes by. The first host, if it is in trouble, goes on saying what it said before.
    fn second(&mut self) {
        self.now += 1;
        let first = self.fleet.members.keys().next().unwrap().clone();
        let before = self.fleet.members[&first].observation.clone();
        report(&self.slots, &self.releases, &mut self.fleet, InstanceState::Healthy);
        if let (Some(trouble), Some(before)) = (self.trouble, before) {
            let member = self.fleet.members.get_mut(&first).unwrap();
            member.issued_seq = 1;
            let (engine, unwritable, seq) = match trouble {
                Trouble::Engine => (EngineState::Unavailable("no answer".into()), None, 1),
                Trouble::Journal => (EngineState::Available, Some("no space".into()), 0),
            };
            member.observation = Some(Arc::new(Observation { engine, unwritable, seq, ..(*before).clone() }));
        } else {
            self.fleet.members.get_mut(&first).unwrap().issued_seq = 0;
        }
        let next = advance(&Snapshot {
            service: &self.service,
            slots: &self.slots,
            rollout: self.rollout.as_ref().filter(|rollout| !rollout.state.is_final()),
            releases: &self.releases,
            fleet: &self.fleet,
            now: at(self.now),
        });
        (self.service, self.slots, self.waiting) = (next.service, next.slots, next.waiting);
        self.rollout = next.rollout.or(self.rollout.take());
    }

    fn rollout(&self) -> &Rollout {
        self.rollout.as_ref().unwrap()
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            if is_so(self) {
                return;
            }
            self.second();
        }
        panic!("{what} never comes: {:#?}", self.rollout);
    }

    fn stragglers(&self) -> BTreeSet<String> {
        self.rollout().stragglers.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn host_without_engine_or_disk_leaves_the_count_at_deadline() {
    for trouble in [Trouble::Engine, Trouble::Journal] {
        for begins_in in [State::Preparing, State::Advancing, State::Soaking] {
            let mut run = Run::new();
            let case = format!("{trouble:?} from {begins_in:?}");
            run.until(&case, |run| run.rollout().state == begins_in);
            run.trouble = Some(trouble);
            run.until(&case, |run| run.rollout().state.is_final());
            let rollout = run.rollout();
            assert_eq!(
                (rollout.state, &rollout.failures),
                (State::Succeeded, &Vec::new()),
                "{case}: {rollout:#?}"
            );
            assert_eq!(run.stragglers(), ["h0000".to_owned()].into(), "{case}");
            run.trouble = None;
            let (to, slots) = (run.rollout().to.digest, run.slots.len());
            run.until(&format!("{case}, healed"), |run| {
                let there = |slot: &&crate::slot::Slot| {
                    slot.release() == to && slot.run() == crate::plan::Phase::Running
                };
                run.slots.values().filter(there).count() == slots
            });
        }
    }
}

#[test]
fn a_rollback_does_not_fail_for_a_host_that_cannot_act_now() {
    for trouble in [Trouble::Engine, Trouble::Journal] {
        let mut run = Run::new();
        run.until("begun", |run| run.rollout().progress.available > 0);
        run.trouble = Some(trouble);
        let id = run.rollout().id.clone();
        let steered = steer(run.rollout(), RolloutCommand::Abort, "ada", at(run.now)).unwrap();
        assert_eq!(steered.id, id);
        run.rollout = Some(steered);
        run.until("the end", |run| run.rollout().state.is_final());
        let rollout = run.rollout();
        assert_eq!(rollout.state, State::Aborted, "{trouble:?}: {rollout:#?}");
        assert!(!matches!(rollout.reason, Some(Reason::RollbackFailed(_))), "{rollout:#?}");
        assert_eq!(run.stragglers(), ["h0000".to_owned()].into(), "{trouble:?}");
    }
}

#[test]
fn what_is_waited_for_is_named() {
    for (trouble, word) in
        [(Trouble::Engine, "engine of host h0000"), (Trouble::Journal, "write its journal")]
    {
        let mut run = Run::new();
        run.until("begun", |run| run.rollout().state == State::Preparing);
        run.trouble = Some(trouble);
        run.second();
        run.second();
        let said = run.waiting.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        assert!(said.contains(word), "{trouble:?}: {said}");
    }
}

#[test]
fn rollout_ends_in_time_with_the_clock_set_back() {
    let mut run = Run::new();
    run.until("begun", |run| run.rollout().state == State::Advancing);
    run.trouble = Some(Trouble::Engine);
    // A time that was noted before lies hours ahead now; the coordinator counts from when it noticed.
    run.now -= 40;
    run.fleet.since = at(run.now);
    let begun = run.now;
    run.until("the end", |run| run.rollout().state.is_final());
    assert!(run.now - begun < 300, "it took {} s", run.now - begun);
    assert_eq!(run.rollout().state, State::Succeeded);
}
