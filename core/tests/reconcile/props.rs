//! Properties of every sequence of plans, failures and deaths of the agent.

use proptest::prelude::*;
use windlass_core::Digest;
use windlass_core::observation::SlotStatus;
use windlass_core::plan::{Order, Phase, PlanSlot, Previous};
use windlass_core::reconcile::ContainerState;

use crate::world::*;

/// Something that happens to a host.
#[derive(Debug, Clone)]
enum Event {
    /// A plan comes: per slot, which release in which phase, and which one it replaces.
    Plan(Vec<Option<Wish>>),
    /// So many of the steps under way end, and time passes.
    Time(u64, usize),
    /// The agent dies and comes back.
    Restart,
    /// A process ends.
    Exit(usize),
    /// The registry goes or comes.
    Registry(bool),
}

#[derive(Debug, Clone)]
struct Wish {
    release: usize,
    phase: Phase,
    good: bool,
    stop_first: bool,
    previous: Option<(usize, Phase)>,
    fallback: bool,
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        4 => Just(Phase::Running),
        1 => Just(Phase::Pulled),
        1 => Just(Phase::Draining),
        1 => Just(Phase::Standby),
        1 => Just(Phase::Absent),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let previous = proptest::option::of((0..4_usize, phase()));
    (0..4_usize, phase(), any::<bool>(), any::<bool>(), previous, any::<bool>()).prop_map(
        |(release, phase, good, stop_first, previous, fallback)| {
            let previous = previous.filter(|(old, _)| *old != release);
            Wish { release, phase, good, stop_first, previous, fallback }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => proptest::collection::vec(proptest::option::of(wish()), 3).prop_map(Event::Plan),
        6 => (0..40_u64, 0..4_usize).prop_map(|(time, ended)| Event::Time(time, ended)),
        1 => Just(Event::Restart),
        2 => (0..6_usize).prop_map(Event::Exit),
        1 => any::<bool>().prop_map(Event::Registry),
    ]
}

/// Two releases that work, one that crashes, one that is never ready.
fn releases(world: &mut World) -> Vec<Digest> {
    let never = Behaviour { ready_after: None, ..HEALTHY };
    let crash = Behaviour { exits: Some((secs(2), 1)), ..HEALTHY };
    [HEALTHY, HEALTHY, crash, never]
        .into_iter()
        .enumerate()
        .map(|(index, behaviour)| world.release(index as u64 + 1, behaviour, |_| {}))
        .collect()
}

fn slots(releases: &[Digest], wishes: &[Option<Wish>]) -> Vec<PlanSlot> {
    let wishes = wishes.iter().enumerate().filter_map(|(index, wish)| Some((index, wish.as_ref()?)));
    let slot = |(index, wish): (usize, &Wish)| {
        let previous = wish.previous.map(|(old, phase)| Previous { release: releases[old], phase });
        PlanSlot {
            phase: wish.phase,
            good: wish.good,
            order: if wish.stop_first { Order::StopFirst } else { Order::StartFirst },
            fallback: wish.previous.filter(|_| wish.fallback && !wish.good).map(|(old, _)| releases[old]),
            previous,
            ..running(u32::try_from(index).unwrap(), releases[wish.release])
        }
    };
    wishes.map(slot).collect()
}

fn happen(world: &mut World, releases: &[Digest], event: &Event) {
    match event {
        Event::Plan(wishes) => world.plan(slots(releases, wishes)),
        Event::Time(time, ended) => {
            world.now = world.now + secs(*time);
            world.begin(*ended);
        }
        Event::Restart => {
            // A step under way may or may not have reached the engine; here it did not.
            world.pending.clear();
            world.restart_agent();
        }
        Event::Exit(index) => {
            let now = world.now;
            if let Some(seen) = world.observed.containers.get_mut(*index).filter(|seen| seen.state.is_up()) {
                seen.state = ContainerState::Exited { code: 1, oom_killed: false, finished_at: now };
            }
        }
        Event::Registry(down) => world.registry_down = *down,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_it_ends_as_the_last_plan_says(
        events in proptest::collection::vec(event(), 1..25),
        last in proptest::collection::vec(proptest::option::of(wish()), 3),
    ) {
        let mut world = World::new();
        let releases = releases(&mut world);
        for event in &events {
            happen(&mut world, &releases, event);
        }
        while !world.pending.is_empty() {
            world.begin(usize::MAX);
        }
        world.observed.busy.clear();
        world.observed.pulls.clear();
        world.registry_down = false;
        // Those that would never come to rest: they are started again for ever.
        let restless = |wish: &Wish| {
            let forever = |index: usize| index >= 2;
            forever(wish.release) && (wish.good || wish.phase != Phase::Running) || wish.previous.is_some_and(|(old, _)| forever(old))
        };
        let last: Vec<_> = last.into_iter().map(|wish| wish.filter(|wish| !restless(wish))).collect();
        let wanted = slots(&releases, &last);
        world.plan(wanted.clone());
        world.run(secs(400));
        prop_assert!(world.turn().is_empty(), "a second plan is empty");
        for want in &wanted {
            let status = world.status(&want.slot);
            let fine = matches!(status, SlotStatus::Settled | SlotStatus::Failed { .. } | SlotStatus::Refused(_));
            prop_assert!(fine, "{status:?}: {:#?}", world.journal);
            let up = |release: &Digest| world.observed.containers.iter().filter(|seen| seen.slot == want.slot && &seen.release == release && seen.state.is_up()).count();
            if *status == SlotStatus::Settled {
                let runs = matches!(want.phase, Phase::Running | Phase::Draining);
                prop_assert_eq!(up(&want.release), usize::from(runs));
            } else if matches!(status, SlotStatus::Failed { .. }) {
                prop_assert_eq!(up(&want.release), 0);
                prop_assert!(want.fallback.is_none_or(|fallback| up(&fallback) == 1), "the fallback runs");
            }
        }
        let listed: Vec<_> = wanted.iter().map(|want| &want.slot).collect();
        prop_assert!(world.observed.containers.iter().all(|seen| listed.contains(&&seen.slot)), "nothing else is left");
    }

    #[test]
    fn start_first_rollout_always_has_a_serving_instance(
        behaviour in 2..4_usize, times in proptest::collection::vec((0..8_u64, 0..3_usize), 20..60),
    ) {
        let mut world = World::new();
        let releases = releases(&mut world);
        world.plan((0..3).map(|index| good(index, releases[0])).collect());
        world.run(secs(60));
        let bad = releases[behaviour];
        let new = |index| if index == 1 { bad } else { releases[1] };
        world.plan((0..3).map(|index| replacing(index, new(index), releases[0], Phase::Running)).collect());
        for (time, ended) in times {
            happen(&mut world, &releases, &Event::Time(time, ended));
            for index in 0..3 {
                let serving = world.seen(&slot(index)).instances.iter().filter(|seen| serves(seen.state)).count();
                prop_assert!(serving >= 1, "{index}: {}", world.picture(&slot(index)));
            }
        }
    }
}

/// Found by the property above: a stopped container and one of a third release hold both sides of the slot, and a new one is to start.
#[test]
fn a_plan_that_follows_from_no_other_is_reached() {
    let wish = |release, previous| {
        let (phase, good, stop_first, fallback) = (Phase::Running, false, false, true);
        Some(Wish { release, phase, good, stop_first, previous, fallback })
    };
    let mut world = World::new();
    let releases = releases(&mut world);
    for event in [
        Event::Plan(vec![None, wish(0, None), wish(1, None)]),
        Event::Time(0, 0),
        Event::Time(0, 2),
        Event::Plan(vec![None, None, None]),
        Event::Time(0, 1),
        Event::Plan(vec![wish(3, None), wish(1, None), None]),
        Event::Time(0, 2),
        Event::Time(0, 2),
        Event::Time(0, 0),
    ] {
        happen(&mut world, &releases, &event);
    }
    world.plan(slots(&releases, &[None, wish(3, Some((0, Phase::Running))), None]));
    world.run(secs(1200));
    assert!(world.turn().is_empty(), "a second plan is empty");
    let up = |release: &Digest| {
        world.observed.containers.iter().filter(|seen| seen.release == *release && seen.state.is_up()).count()
    };
    assert_eq!((up(&releases[3]), up(&releases[0])), (0, 1), "the fallback runs, though it was made anew");
}
