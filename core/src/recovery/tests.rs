//! A restored store meets its hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::plan::{Order, PLAN_VERSION, Phase, Previous};
use crate::rollout::tests::fixture::{at, reference, release};
use crate::rollout::{Kind, Reason, State, Target, start};
use crate::service::{Mode, ReleaseRef};

/// The stored state, and the word of a host.
#[derive(Default)]
struct World {
    services: BTreeMap<ServiceId, Service>,
    slots: BTreeMap<ServiceId, Slots>,
    rollouts: BTreeMap<RolloutId, Rollout>,
    releases: Releases,
    plans: BTreeMap<HostId, HostPlan>,
    counters: BTreeMap<ServiceId, u64>,
    since: BTreeMap<HostId, Timestamp>,
}

fn web() -> ServiceId {
    "production/web".parse().unwrap()
}

fn host(n: u32) -> HostId {
    format!("h{n}").parse().unwrap()
}

fn slot(n: u32) -> SlotId {
    SlotId::new(web(), n)
}

/// `rN` of the service, with room for one to nine instances.
fn numbered(counter: u64) -> (Release, ReleaseRef) {
    let release = release(counter, |json| {
        json["spec"]["scale"] = serde_json::json!({ "replicas": { "min": 1, "max": 9 } })
    });
    let name = reference(&release);
    (release, name)
}

fn r(counter: u64) -> ReleaseRef {
    numbered(counter).1
}

fn running(n: u32, counter: u64) -> PlanSlot {
    PlanSlot {
        slot: slot(n),
        release: r(counter).digest,
        phase: Phase::Running,
        good: true,
        fallback: None,
        order: Order::StartFirst,
        gpus: Vec::new(),
        previous: None,
        retry_quarantined: false,
        generation: 0,
        keeps_older: false,
        task: None,
    }
}

/// Not yet started, the old one serves.
fn pulled(n: u32, from: u64, to: u64) -> PlanSlot {
    PlanSlot {
        phase: Phase::Pulled,
        good: false,
        fallback: Some(r(from).digest),
        previous: Some(Previous { release: r(from).digest, phase: Phase::Running }),
        ..running(n, to)
    }
}

/// Started beside the old one, on trial.
fn trying(n: u32, from: u64, to: u64) -> PlanSlot {
    PlanSlot { phase: Phase::Running, ..pulled(n, from, to) }
}

fn assigned(host: HostId, want: PlanSlot) -> Slot {
    Slot::adopted(host, want)
}

impl World {
    /// The store of an hour ago: `web r1` on hosts h0 to h2.
    fn an_hour_ago() -> Self {
        let mut world = Self::default();
        for counter in 1..=5 {
            let (release, name) = numbered(counter);
            world.releases.insert(name.digest, release);
        }
        let mut service = Service::new(web());
        (service.last_counter, service.replicas, service.next_index) = (1, 3, 3);
        service.mark_good(r(1));
        service.current = Some(r(1));
        world.services.insert(web(), service);
        let slots = (0..3).map(|n| (slot(n), assigned(host(n), running(n, 1))));
        world.slots.insert(web(), slots.collect());
        world
    }

    /// A rollout to `to` is active in the store.
    fn rolling(&mut self, to: u64) -> RolloutId {
        let id: RolloutId = "01935000-0000-7000-8000-000000000001".parse().unwrap();
        let target = Target {
            release: r(to),
            kind: Kind::Deploy,
            actor: "operator/ada".into(),
            supersede: false,
            retry_quarantined: false,
        };
        let (service, mut rollout, _) =
            start(&self.services[&web()], None, target, id.clone(), at(0)).unwrap();
        rollout.state = State::Advancing;
        self.services.insert(web(), service);
        self.rollouts.insert(id.clone(), rollout);
        id
    }

    fn shows(mut self, n: u32, second: i64, slots: Vec<PlanSlot>) -> Self {
        let plan = HostPlan {
            version: PLAN_VERSION,
            fleet: "demo".parse().unwrap(),
            host: host(n),
            epoch: 1,
            seq: 7,
            issued_at: at(second),
            expires_at: at(second) + Duration::from_secs(3600),
            slots,
        };
        self.plans.insert(host(n), plan);
        self
    }

    fn stored(&self) -> Stored<'_> {
        Stored { services: &self.services, slots: &self.slots, rollouts: &self.rollouts }
    }

    fn plans(&self) -> BTreeMap<HostId, &HostPlan> {
        self.plans.iter().map(|(host, plan)| (host.clone(), plan)).collect()
    }

    fn merge(&self, others: Others) -> Merged {
        let (plans, counters) = (self.plans(), self.counters.clone());
        let since = self.since.clone();
        let shown = Shown { plans, releases: &self.releases, counters, others, since };
        let id = || "01935000-0000-7000-8000-00000000000f".parse().unwrap();
        merge(self.stored(), &shown, id, at(5000))
    }

    /// Stores what was merged.
    fn apply(&mut self, merged: Merged) {
        self.services.extend(merged.services);
        self.rollouts.extend(merged.rollouts.into_iter().map(|rollout| (rollout.id.clone(), rollout)));
        for (slot, assignment) in merged.slots {
            let slots = self.slots.entry(slot.service.clone()).or_default();
            match assignment {
                Some(assignment) => drop(slots.insert(slot, assignment)),
                None => drop(slots.remove(&slot)),
            }
        }
    }

    fn after(mut self, others: Others) -> Self {
        let merged = self.merge(others);
        self.apply(merged);
        self
    }

    fn service(&self) -> &Service {
        &self.services[&web()]
    }

    fn want(&self, n: u32) -> PlanSlot {
        self.slots[&web()][&slot(n)].plan()
    }
}

#[test]
fn a_host_that_is_not_ahead_changes_nothing() {
    let mut world = World::an_hour_ago();
    world.rolling(2);
    let world = (0..3).fold(world, |world, n| world.shows(n, 10, vec![running(n, 1)]));
    assert_eq!(world.merge(Others::None), Merged::default());
}

#[test]
fn releases_since_the_backup_are_adopted_with_an_equal_plan() {
    let world = (0..3).fold(World::an_hour_ago(), |world, n| world.shows(n, 100, vec![running(n, 3)]));
    let mut world = World { counters: [(web(), 3)].into(), ..world }.after(Others::None);
    let service = world.service();
    assert_eq!((service.current, service.last_counter, service.replicas), (Some(r(3)), 3, 3));
    assert_eq!(service.good, [r(3), r(1)]);
    for n in 0..3 {
        assert_eq!(world.want(n), running(n, 3));
    }
    let again = world.merge(Others::None);
    assert_eq!(again, Merged::default(), "taking over twice changes nothing");
    world.counters.insert(web(), 2);
    assert_eq!(world.merge(Others::None), Merged::default(), "a lower number moves nothing");
}

#[test]
fn number_seen_by_a_host_is_not_reused_after_a_failure() {
    let world = (0..3).fold(World::an_hour_ago(), |world, n| world.shows(n, 100, vec![running(n, 1)]));
    let world = World { counters: [(web(), 4)].into(), ..world }.after(Others::None);
    assert_eq!((world.service().last_counter, world.service().current), (4, Some(r(1))));
}

#[test]
fn numbers_are_left_out_for_hosts_that_were_not_heard_of() {
    let world = World::an_hour_ago().shows(0, 100, vec![running(0, 3)]);
    let world = World { counters: [(web(), 3)].into(), ..world }.after(Others::Unheard);
    assert_eq!(world.service().last_counter, 3 + COUNTER_GAP);
    // They were at r1 when they were last known, and catch up as any straggler does.
    for n in 1..3 {
        let want = world.want(n);
        assert_eq!((want.release, want.phase, want.good), (r(3).digest, Phase::Pulled, true));
        assert_eq!(want.previous, Some(Previous { release: r(1).digest, phase: Phase::Running }));
    }
    assert_eq!(world.service().replicas, 3);
    // One comes late, and had got there before.
    let mut world = world.shows(1, 90, vec![running(1, 3)]);
    world.plans.remove(&host(0));
    let late = world.after(Others::GoneOn);
    assert_eq!(late.want(1), running(1, 3));
    assert_eq!(late.service().last_counter, 3 + COUNTER_GAP);
}

#[test]
fn late_host_catches_up_with_the_fleet() {
    // The fleet was told to go on without h2, and is at r4 since; h2 was at r3 when everything died.
    let gone_on = |world: &mut World| {
        for n in 0..2 {
            world.slots.get_mut(&web()).unwrap().insert(slot(n), assigned(host(n), running(n, 4)));
            world.since.insert(host(n), at(900));
        }
        let service = world.services.get_mut(&web()).unwrap();
        service.mark_good(r(4));
        (service.current, service.last_counter) = (Some(r(4)), 104);
    };
    let mut world = World::an_hour_ago().shows(2, 100, vec![running(2, 3)]);
    gone_on(&mut world);
    let world = world.after(Others::GoneOn);
    assert_eq!((world.service().current, world.service().last_good()), (Some(r(4)), Some(r(4))));
    let want = world.want(2);
    assert_eq!((want.release, want.phase, want.good), (r(4).digest, Phase::Pulled, true));
    assert_eq!(want.previous.as_ref().map(|previous| previous.release), Some(r(3).digest));
    assert_eq!(world.service().replicas, 3);

    // After a stop-first step nothing may serve yet, and that counts (seed 1882762945499069).
    let stopped = PlanSlot { order: Order::StopFirst, ..running(2, 3) };
    let mut world = World::an_hour_ago().shows(2, 100, vec![stopped]);
    gone_on(&mut world);
    assert_eq!(world.after(Others::GoneOn).want(2).order, Order::StopFirst);

    // The same in the middle of a rollout, which goes on and takes h2 along.
    let mut world = World::an_hour_ago().shows(2, 100, vec![running(2, 3)]);
    gone_on(&mut world);
    let id = world.rolling(5);
    let rollout = world.rollouts[&id].clone();
    let world = world.after(Others::GoneOn);
    assert_eq!(world.rollouts[&id], rollout);
    assert_eq!((world.want(2).release, world.want(2).good), (r(5).digest, false));
    assert_eq!(world.want(2).fallback, Some(r(4).digest));
}

#[test]
fn a_service_that_the_store_never_knew_comes_whole() {
    let mut world = World::an_hour_ago();
    world.services.clear();
    world.slots.clear();
    let kept = PlanSlot {
        previous: Some(Previous { release: r(1).digest, phase: Phase::Standby }),
        ..running(4, 2)
    };
    let world = world.shows(0, 100, vec![kept.clone()]).shows(1, 100, vec![running(6, 2)]);
    let world = World { counters: [(web(), 2)].into(), ..world }.after(Others::None);
    let service = world.service();
    assert_eq!((service.current, service.replicas, service.next_index), (Some(r(2)), 2, 7));
    assert_eq!(world.want(4), kept, "what is kept for return is not forgotten");
    let standby_until = world.slots[&web()][&slot(4)].standby_until();
    assert_eq!(standby_until, Some(at(5000) + crate::rollout::KEEP_OLD));
}

#[test]
fn service_gone_from_all_hosts_does_not_come_back() {
    let world = (0..3).fold(World::an_hour_ago(), |world, n| world.shows(n, 100, Vec::new()));
    let world = world.after(Others::None);
    assert!(world.slots[&web()].is_empty());
    assert_eq!((world.service().current, world.service().last_good()), (None, Some(r(1))));
}

#[test]
fn restarts_are_counted_on_from_what_the_hosts_have() {
    let again = |n| PlanSlot { generation: 4, ..running(n, 1) };
    let world = (0..3).fold(World::an_hour_ago(), |world, n| world.shows(n, 100, vec![again(n)]));
    let world = world.after(Others::None);
    assert_eq!((world.service().generation, world.want(1)), (4, again(1)));
}

#[test]
fn service_stopped_or_started_since_the_backup_stays_so() {
    let still = |n| PlanSlot { phase: Phase::Standby, ..running(n, 1) };
    let world = (0..3).fold(World::an_hour_ago(), |world, n| world.shows(n, 100, vec![still(n)]));
    let mut world = world.after(Others::None);
    assert_eq!((world.service().mode, world.service().current), (Mode::Stopped, Some(r(1))));
    assert_eq!(world.want(2), still(2));
    world.plans.clear();
    let world = (0..3).fold(world, |world, n| world.shows(n, 200, vec![running(n, 1)])).after(Others::None);
    assert_eq!((world.service().mode, world.want(0)), (Mode::Running, running(0, 1)));
}

#[test]
fn a_host_that_was_left_behind_catches_up() {
    // h2 was away while r2 and r3 came: its newest plan is an old one.
    let world = World::an_hour_ago()
        .shows(0, 100, vec![running(0, 3)])
        .shows(1, 100, vec![running(1, 3)])
        .shows(2, 50, vec![trying(2, 1, 2)]);
    let world = world.after(Others::None);
    assert_eq!((world.service().current, world.service().rollout.clone()), (Some(r(3)), None));
    let want = world.want(2);
    assert_eq!(
        (want.release, want.phase, want.good, want.fallback),
        (r(3).digest, Phase::Pulled, true, None)
    );
    assert_eq!(
        want.previous.as_ref().map(|previous| previous.release),
        Some(r(1).digest),
        "what surely serves"
    );
}

/// Found by the simulation (seed 1882779749980403): it had moved since the backup, and the host that it had left joined anew
/// and showed nothing.
#[test]
fn of_what_must_never_run_twice_the_newest_word_runs_on() {
    let stored_only = BTreeMap::new();
    let stored_is_newer = BTreeMap::from([(host(0), at(900))]);
    let table = [
        ("what is stored is older", Others::Unheard, stored_only.clone(), [Phase::Standby, Phase::Running]),
        ("nobody else is left", Others::None, stored_only, [Phase::Standby, Phase::Running]),
        ("who shows it comes late", Others::GoneOn, stored_is_newer, [Phase::Running, Phase::Standby]),
    ];
    for (case, others, since, want) in table {
        let mut world = World::an_hour_ago();
        world.releases.values_mut().for_each(|release| release.spec.exclusive = true);
        world.services.get_mut(&web()).unwrap().replicas = 1;
        world.slots.get_mut(&web()).unwrap().retain(|of, _| *of == slot(0));
        world.since = since;
        let world = world.shows(1, 500, vec![running(7, 1)]).after(others);
        assert_eq!([world.want(0).phase, world.want(7).phase], want, "{case}");
    }
}

/// One that is not begun, and stands beside what runs, stands still as well.
#[test]
fn what_is_held_back_lets_nothing_before_it_run() {
    let mut world = World::an_hour_ago();
    world.releases.values_mut().for_each(|release| release.spec.exclusive = true);
    world.services.get_mut(&web()).unwrap().replicas = 1;
    world.slots.insert(web(), [(slot(0), assigned(host(0), pulled(0, 1, 2)))].into());
    let world = world.shows(1, 500, vec![running(7, 2)]).after(Others::None);
    let want = world.want(0);
    let before = want.previous.as_ref().map(|previous| previous.phase);
    assert!(!want.phase.runs() && before.is_none_or(|phase| !phase.runs()), "{want:?}");
}

#[test]
fn a_rollout_in_the_middle_is_paused_for_a_person() {
    let world = World::an_hour_ago()
        .shows(0, 100, vec![trying(0, 2, 3)])
        .shows(1, 100, vec![pulled(1, 2, 3)])
        .shows(2, 99, vec![running(2, 2)]);
    let world = world.after(Others::None);
    let service = world.service();
    let rollout = &world.rollouts[service.rollout.as_ref().unwrap()];
    assert_eq!((rollout.state, rollout.resume), (State::Paused, Some(State::Preparing)));
    assert_eq!((rollout.from, rollout.to, service.current), (Some(r(2)), r(3), Some(r(3))));
    assert_eq!((world.want(0), world.want(1)), (trying(0, 2, 3), pulled(1, 2, 3)), "nothing is touched");
    assert_eq!(world.want(2), pulled(2, 2, 3), "and a resume brings everything along");
}

#[test]
fn rollouts_of_the_backup_end_as_the_hosts_show() {
    type Says = fn(u32) -> PlanSlot;
    let everywhere = |world: World, want: Says| {
        (0..3).fold(world, |world, n| world.shows(n, 100, vec![want(n)])).after(Others::None)
    };
    #[rustfmt::skip]
    let table: [(&str, Says, State); 5] = [
        ("it succeeded", |n| running(n, 2), State::Succeeded),
        ("it went back", |n| PlanSlot { retry_quarantined: true, ..running(n, 1) }, State::RolledBack),
        ("another one succeeded", |n| running(n, 3), State::Superseded),
        ("it is in the middle", |n| trying(n, 1, 2), State::Paused),
        ("another one is in the middle", |n| trying(n, 1, 3), State::Superseded),
    ];
    for (case, want, state) in table {
        let mut world = World::an_hour_ago();
        let id = world.rolling(2);
        let world = everywhere(world, want);
        let rollout = &world.rollouts[&id];
        assert_eq!((rollout.state, &rollout.reason), (state, &Some(Reason::Restored)), "{case}");
        let active = world.service().rollout.as_ref().map(|active| world.rollouts[active].state);
        let expected = (state == State::Paused || case.contains("another one is")).then_some(State::Paused);
        assert_eq!(active, expected, "{case}");
    }
}

#[test]
fn what_cannot_be_taken_over_is_said_and_left_out() {
    let mut world = World::an_hour_ago()
        .shows(0, 100, vec![running(0, 3), running(1, 3)])
        .shows(1, 100, vec![running(1, 3)])
        .shows(4, 100, vec![running(7, 3)]);
    let found = obstacles(world.stored(), &world.plans(), &world.releases);
    assert_eq!(found, [(host(0), vec![Obstacle::Taken { slot: slot(1), host: host(1) }])].into());
    world.releases.remove(&r(3).digest);
    let found = obstacles(world.stored(), &world.plans(), &world.releases);
    assert_eq!(found.len(), 3, "a release that nobody has shown: {found:?}");
    let text = found[&host(4)][0].to_string();
    assert!(text.starts_with("production/web/7: its release "), "{text}");
    // The holder of a slot in the store was not heard of: nobody else gets it.
    let world = World::an_hour_ago().shows(4, 100, vec![running(2, 3)]);
    let found = obstacles(world.stored(), &world.plans(), &world.releases);
    assert_eq!(found[&host(4)], [Obstacle::Taken { slot: slot(2), host: host(2) }]);
}

#[test]
fn differences_in_words() {
    let kept = PlanSlot {
        previous: Some(Previous { release: r(2).digest, phase: Phase::Standby }),
        ..running(0, 3)
    };
    let world = World::an_hour_ago().shows(0, 100, vec![kept, pulled(9, 1, 2)]);
    let mut stored: Vec<_> = world.slots[&web()].iter().filter(|(_, a)| a.host() == &host(0)).collect();
    let extra = assigned(host(0), running(8, 1));
    let eighth = slot(8);
    stored.push((&eighth, &extra));
    let found = differences(stored.into_iter(), &world.releases, &world.plans[&host(0)]);
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "production/web/0: r3 beside r2 (the store: r1)",
            "production/web/8: nothing (the store: r1)",
            "production/web/9: r2 pulled, not started beside r1 (the store: nothing)",
        ]
    );
}

/// Any slot of any plan.
fn any_want(n: u32) -> impl Strategy<Value = PlanSlot> {
    let phase = prop_oneof![Just(Phase::Pulled), Just(Phase::Running), Just(Phase::Standby)];
    (1_u64..5, 1_u64..5, phase, any::<bool>(), any::<bool>()).prop_map(
        move |(to, from, phase, good, beside)| PlanSlot {
            phase,
            good,
            fallback: (!good).then(|| r(from).digest),
            previous: (beside && from != to)
                .then(|| Previous { release: r(from).digest, phase: Phase::Running }),
            ..running(n, to)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever the hosts show: a second look changes nothing, nothing that serves is told to stop, numbers only rise,
    /// and the service ends at a release, on the way to one with a person in charge, or nowhere.
    #[test]
    fn whatever_is_shown_nothing_that_serves_stops_and_numbers_rise(
        wants in (any_want(0), any_want(1), any_want(2)),
        shown in prop::collection::vec(any::<bool>(), 3),
        times in prop::collection::vec(0_i64..3, 3),
        rolls in any::<bool>(),
    ) {
        let mut world = World::an_hour_ago();
        if rolls {
            world.rolling(2);
        }
        for (n, want) in [wants.0, wants.1, wants.2].into_iter().enumerate().filter(|(n, _)| shown[*n]) {
            world = world.shows(u32::try_from(n).unwrap(), 100 + times[n], vec![want]);
        }
        let others = if shown.iter().all(|shown| *shown) { Others::None } else { Others::GoneOn };
        let before: BTreeMap<SlotId, PlanSlot> = world.plans.values().flat_map(|plan| plan.slots.clone()).map(|want| (want.slot.clone(), want)).collect();
        let (counter, index) = (world.service().last_counter, world.service().next_index);
        let mut world = world.after(others);
        prop_assert!(world.service().last_counter >= counter && world.service().next_index >= index);
        for (slot, shown) in before {
            // Of two that run, the old one is the one that surely serves.
            let old = shown.previous.as_ref().map(|previous| previous.release);
            let serves = old.or((shown.phase == Phase::Running).then_some(shown.release));
            let now = world.slots[&web()][&slot].plan();
            let runs = now.phase == Phase::Running && Some(now.release) == serves;
            let beside = now.previous.as_ref().is_some_and(|p| Some(p.release) == serves && p.phase == Phase::Running);
            prop_assert!(serves.is_none() || runs || beside, "{shown:?} became {now:?}");
        }
        let service = world.service().clone();
        if let Some(id) = &service.rollout {
            prop_assert_eq!(Some(world.rollouts[id].to), service.current);
        }
        let again = world.merge(others);
        world.apply(again.clone());
        prop_assert!(again.slots.is_empty() || world.merge(others).slots.is_empty(), "it settles: {:?}", again);
    }
}

/// `rN` that stands beside another set.
fn beside(counter: u64) -> (Release, ReleaseRef) {
    let release = release(counter, |json| {
        json["version"] = 3.into();
        json["spec"]["scale"] = serde_json::json!({ "replicas": { "min": 1, "max": 9 } });
        json["spec"]["strategy"] = serde_json::json!({ "blue_green": {
            "steps": [1000], "watch": "1m", "keep_old": "1h", "min_ready": "5s"
        } });
    });
    let name = reference(&release);
    (release, name)
}

/// The store of an hour ago, and r2 on hosts of its own since: good, or on trial.
fn second_set(good: bool) -> World {
    let mut world = World::an_hour_ago();
    let (release, name) = beside(2);
    world.releases.insert(name.digest, release);
    let part = |n| PlanSlot { release: name.digest, good, ..running(n, 1) };
    let world = (0..3).fold(world, |world, n| world.shows(n, 100, vec![running(n, 1)]));
    (3..6).fold(world, |world, n| world.shows(n, 200, vec![part(n)]))
}

#[test]
fn a_second_set_on_other_hosts_does_not_double_the_count() {
    let world = second_set(true).after(Others::None);
    assert_eq!((world.service().current, world.service().replicas), (Some(beside(2).1), 3));
    for n in 0..3 {
        assert_eq!(world.want(n), running(n, 1), "it is not brought to what stands elsewhere");
        assert_eq!(world.slots[&web()][&slot(n)].kept_until(), Some(at(5000)));
        assert!(!world.slots[&web()][&slot(n + 3)].is_kept());
    }
    let world = second_set(false).after(Others::None);
    assert_eq!((world.service().current, world.service().replicas), (Some(beside(2).1), 3));
    for n in 0..3 {
        assert_eq!(world.want(n), running(n, 1), "the old set is what it goes back to");
        assert!(!world.slots[&web()][&slot(n)].is_kept());
    }
    let paused = world.service().rollout.as_ref().map(|id| world.rollouts[id].state);
    assert_eq!(paused, Some(State::Paused));
}

#[test]
fn a_warm_set_that_serves_again_is_a_member_again() {
    // The store is from while r2 had the traffic; since then somebody has gone back.
    let mut world = second_set(true).after(Others::None);
    let good = r(1);
    world.services.get_mut(&web()).unwrap().mark_good(good);
    world.plans.clear();
    let world = (0..3).fold(world, |world, n| world.shows(n, 300, vec![running(n, 1)]));
    let world = (3..6).fold(world, |world, n| world.shows(n, 400, Vec::new())).after(Others::None);
    assert_eq!((world.service().current, world.service().replicas), (Some(r(1)), 3));
    assert_eq!(world.slots[&web()].len(), 3);
    assert!(world.slots[&web()].values().all(|slot| !slot.is_kept()));
}
