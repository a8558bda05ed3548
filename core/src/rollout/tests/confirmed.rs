//! A slot is confirmed by its own part of its host's plan, and a link that blinks makes what is known older, not false.

use std::sync::Arc;

use super::midway::deploy;
use crate::fixture::{at, fleet, reference, release, report, steady};
use crate::fleet::{FleetView, Member};
use crate::host::Liveness;
use crate::id::SlotId;
use crate::observation::{InstanceState, Observation, Refusal, RefusalCode};
use crate::rollout::{Reason, Rollout, Snapshot, State, Waiting, advance, start};
use crate::service::{Releases, Service, Slots};

/// A deploy of three slots on three hosts, second after second; soak 10 s, deadline of progress 2 m.
struct Run {
    service: Service,
    slots: Slots,
    releases: Releases,
    rollout: Rollout,
    fleet: FleetView,
    waiting: Vec<Waiting>,
    /// Whether the last step changed a slot. Its host has not heard of that yet.
    changed: bool,
    now: i64,
}

/// A second of a host.
type Second = fn(&mut Member, i64);

/// Every second a neighbour changes the plan, and the host is a plan behind.
fn neighbour(member: &mut Member, now: i64) {
    member.issued_seq = u64::try_from(now).unwrap();
    say(member, |seen| seen.seq = u64::try_from(now - 1).unwrap());
}

/// The link blinks: every other second the host has connected anew, and not reported yet.
fn blink(member: &mut Member, now: i64) {
    member.last_report = member.observation.clone();
    if now % 2 == 0 {
        member.observation = None;
    }
}

fn silence(member: &mut Member, _: i64) {
    member.liveness = Liveness::Suspect;
}

fn loss(member: &mut Member, _: i64) {
    member.liveness = Liveness::Lost;
}

/// Its instances run and are not ready.
fn unready(member: &mut Member, _: i64) {
    say(member, |seen| {
        for instance in seen.slots.iter_mut().flat_map(|slot| &mut slot.instances) {
            (instance.state, instance.available) = (InstanceState::Starting, false);
        }
    });
}

const fn nothing(_: &mut Member, _: i64) {}

fn say(member: &mut Member, change: impl FnOnce(&mut Observation)) {
    change(Arc::make_mut(member.observation.as_mut().unwrap()));
    member.last_report = member.observation.clone();
}

impl Run {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(edit: impl FnOnce(&mut serde_json::Value)) -> Self {
        let mut fleet = fleet(3);
        let (service, slots, mut releases) = steady(&release(1, |_| {}), 3, &mut fleet);
        let next = release(2, edit);
        releases.insert(reference(&next).digest, next.clone());
        let id = "00000001".parse().unwrap();
        let (service, rollout, _) = start(&service, None, deploy(&next, false), id, at(100)).unwrap();
        Self { service, slots, releases, rollout, fleet, waiting: Vec::new(), changed: false, now: 100 }
    }

    fn soaking() -> Self {
        let mut run = Self::new();
        run.until(nothing, |run| run.rollout.soak_since.is_some());
        run
    }

    /// A second goes by; the first host has `trouble`.
    fn second(&mut self, trouble: Second) {
        self.now += 1;
        report(&self.slots, &self.releases, &mut self.fleet, InstanceState::Healthy);
        let first = self.fleet.members.values_mut().next().unwrap();
        first.liveness = Liveness::Connected;
        // Its parts are older than any plan of a neighbour.
        first.parts = Arc::new(self.slots.keys().map(|slot| (slot.clone(), 0)).collect());
        trouble(first, self.now);
        let next = advance(&Snapshot {
            service: &self.service,
            slots: &self.slots,
            rollout: Some(&self.rollout).filter(|rollout| !rollout.state.is_final()),
            releases: &self.releases,
            fleet: &self.fleet,
            now: at(self.now),
        });
        (self.service, self.slots, self.waiting) = (next.service, next.slots, next.waiting);
        self.changed = !next.touched.is_empty();
        next.rollout.into_iter().for_each(|rollout| self.rollout = rollout);
    }

    fn until(&mut self, trouble: Second, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..400 {
            if is_so(self) {
                return;
            }
            self.second(trouble);
        }
        panic!("it never comes: {:#?}", self.rollout);
    }

    fn ends(&mut self, trouble: Second) -> State {
        self.until(trouble, |run| run.rollout.state.is_final());
        self.rollout.state
    }
}

#[test]
fn neighbours_plans_and_a_blinking_link_restart_no_soak() {
    for trouble in [neighbour as Second, blink] {
        let mut run = Run::soaking();
        let begun = run.rollout.soak_since;
        for _ in 0..9 {
            run.second(trouble);
            assert_eq!(run.rollout.soak_since, begun, "{:?}", run.waiting);
        }
        assert_eq!(run.ends(trouble), State::Succeeded);
        let took = run.rollout.state_since.since(begun.unwrap()).as_secs();
        assert!((10..=11).contains(&took), "it took {took} s");
    }
}

#[test]
fn an_unready_moment_begins_a_soak_again_and_fails_no_release() {
    for (unready_again, ends) in [(false, State::Succeeded), (true, State::RolledBack)] {
        let mut run = Run::with(|json| {
            (json["spec"]["soak"], json["spec"]["progress_deadline"]) = ("40s".into(), "10s".into());
        });
        run.until(nothing, |run| run.rollout.soak_since.is_some());
        let begun = run.now;
        (0..15).for_each(|_| run.second(nothing));
        (0..6).for_each(|_| run.second(unready));
        // The time for a soak and the deadline is over, and the second soak goes on.
        (0..33).for_each(|_| run.second(nothing));
        assert_eq!((run.rollout.state, run.now - begun), (State::Soaking, 54));
        if unready_again {
            run.second(unready);
        }
        assert_eq!(run.ends(nothing), ends);
        let reason = run.rollout.reason.as_ref().map(ToString::to_string).unwrap_or_default();
        assert_eq!(reason.is_empty(), !unready_again, "{reason}");
    }
}

#[test]
fn a_whole_rollout_waits_for_no_plan_of_a_neighbour() {
    let mut run = Run::new();
    while !run.rollout.state.is_final() {
        run.second(neighbour);
        let said: Vec<String> = run.waiting.iter().map(ToString::to_string).collect();
        assert!(run.changed || !said.iter().any(|text| text.contains("newest plan")), "{said:?}");
        assert!(run.now < 200, "{:#?}", run.rollout);
    }
    assert_eq!(run.rollout.state, State::Succeeded);
}

/// The same part again, after another one, is not the same: what was said under the first tells nothing of the second.
#[test]
fn what_was_said_before_the_part_changed_confirms_nothing() {
    for (since, confirms) in [(4, true), (5, true), (6, false), (9, false)] {
        let mut run = Run::soaking();
        let slot = |run: &Run| run.slots.keys().next().unwrap().clone();
        run.second(nothing);
        let (first, host) = (slot(&run), run.slots[&slot(&run)].host().clone());
        let member = run.fleet.members.get_mut(&host).unwrap();
        member.issued_seq = 9;
        member.parts = Arc::new([(first, since)].into());
        say(member, |seen| seen.seq = 5);
        let next = advance(&Snapshot {
            service: &run.service,
            slots: &run.slots,
            rollout: Some(&run.rollout),
            releases: &run.releases,
            fleet: &run.fleet,
            now: at(run.now),
        });
        assert_eq!(next.waiting.contains(&Waiting::Plan(host)), !confirms, "since {since}");
        assert_eq!(next.rollout.unwrap().soak_since.is_some(), confirms, "since {since}");
    }
}

#[test]
fn a_refused_plan_concerns_only_slots_whose_part_changed() {
    for (since, state) in [(5, State::Soaking), (6, State::RollingBack)] {
        let mut run = Run::soaking();
        let slot: SlotId = run.slots.keys().next().unwrap().clone();
        let member = run.fleet.members.get_mut(run.slots[&slot].host()).unwrap();
        member.issued_seq = 9;
        member.parts = Arc::new([(slot, since)].into());
        let refusal = Refusal { code: RefusalCode::WrongHost, detail: String::new() };
        say(member, |seen| (seen.seq, seen.plan_refusal) = (5, Some(refusal)));
        let next = advance(&Snapshot {
            service: &run.service,
            slots: &run.slots,
            rollout: Some(&run.rollout),
            releases: &run.releases,
            fleet: &run.fleet,
            now: at(run.now),
        });
        assert_eq!(next.rollout.unwrap().state, state, "since {since}");
    }
}

#[test]
fn a_soak_neither_begins_nor_ends_with_what_is_only_remembered() {
    let mut run = Run::new();
    run.until(nothing, |run| run.rollout.state == State::Soaking);
    run.rollout.soak_since = None;
    run.second(silence);
    assert_eq!(run.rollout.soak_since, None, "it begins with word of everybody");
    run.second(nothing);
    let begun = run.rollout.soak_since.unwrap();
    for _ in 0..15 {
        run.second(silence);
    }
    assert_eq!((run.rollout.state, run.rollout.soak_since), (State::Soaking, Some(begun)));
    run.second(nothing);
    assert_eq!(run.rollout.state, State::Succeeded, "{:?}", run.waiting);
}

#[test]
fn a_soak_begins_again_where_a_host_is_lost() {
    let mut run = Run::soaking();
    run.second(loss);
    assert_eq!(run.rollout.soak_since, None);
}

#[test]
fn no_deadline_passes_for_a_host_that_is_silent_for_a_moment() {
    for begins_in in [State::Preparing, State::Advancing, State::Soaking] {
        let mut run = Run::new();
        run.until(nothing, |run| run.rollout.state == begins_in);
        // The host's word alone is waited for.
        run.second(silence);
        let given = if begins_in == State::Soaking { 130 } else { 120 };
        let deadline =
            run.rollout.progress_at.max(run.rollout.state_since) + std::time::Duration::from_secs(given);
        run.now = deadline.as_millis() / 1000 - 2;
        for _ in 0..20 {
            run.second(silence);
        }
        assert_eq!(run.rollout.state, begins_in, "{:?}", run.rollout.reason);
        assert_eq!(run.ends(nothing), State::Succeeded, "{begins_in:?}");
    }
}

/// However long it blinks, there is an end.
#[test]
fn flapping_host_holds_up_a_deadline_for_a_minute() {
    let mut run = Run::new();
    run.until(nothing, |run| run.rollout.state == State::Preparing);
    let begun = run.now;
    run.ends(silence);
    assert!(matches!(run.rollout.reason, Some(Reason::Late { .. })), "{:#?}", run.rollout);
    let reason = run.rollout.reason.as_ref().unwrap().to_string();
    assert!(reason.contains("no progress for 2m: waited for host h"), "{reason}");
    assert!((180..=185).contains(&(run.now - begun)), "{}", run.now - begun);
}
