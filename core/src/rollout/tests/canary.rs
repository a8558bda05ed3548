//! Canary: a few new instances with a share of the traffic, a step at a time, and a short way back from each of them.

use serde_json::{Value, json};

use super::shifting::World;
use crate::fixture::{at, reference, release};
use crate::release::Release;
use crate::rollout::{
    ApproveError, Approved, Kind, Rollout, RolloutCommand, State, What, approve, skips_approval,
};

fn with_port(counter: u64, strategy: &Value) -> Release {
    release(counter, |json| {
        json["version"] = 4.into();
        json["spec"]["scale"] = json!({ "replicas": { "min": 4, "max": 4 } });
        json["spec"]["ports"] = json!({ "http": { "container": 8000 } });
        json["spec"]["main_port"] = "http".into();
        json["spec"]["strategy"] = strategy.clone();
    })
}

/// Steps as given, 4 slots, the old instances kept for 10 minutes.
fn canary(steps: &Value) -> Value {
    json!({ "canary": { "steps": steps, "min_instances": 1, "keep_old": "10m", "min_ready": "5s" } })
}

fn three_steps() -> Value {
    canary(&json!([
        { "weight": 100, "hold": "1m" },
        { "weight": 500, "hold": "2m" },
        { "weight": 1000 },
    ]))
}

fn world(r2: &Release) -> World {
    let mut world = World::at(&with_port(1, &three_steps()), 4);
    world.begin(r2, Kind::Deploy);
    world
}

/// A world at a step: 0 before the first one.
fn at_step(step: u32) -> (World, Release, Release) {
    let r2 = with_port(2, &three_steps());
    let mut world = world(&r2);
    world.until("comes to the step", |world| {
        let rollout = world.rollout.as_ref().unwrap();
        rollout.state == State::Advancing && rollout.shift.as_ref().map_or(0, |shift| shift.taken) == step
    });
    (world, with_port(1, &three_steps()), r2)
}

#[test]
fn instances_come_before_their_share_of_the_traffic() {
    let (r1, r2) = (with_port(1, &three_steps()), with_port(2, &three_steps()));
    let mut world = world(&r2);
    let mut seen = vec![(0, 0)];
    world.until("succeeds", |world| {
        assert_eq!(world.running(&r1), 4, "the old instances run all along");
        let now = (world.running(&r2), world.share(&r2));
        assert_eq!(world.share(&r1) + now.1, 1000);
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        world.state() == State::Succeeded
    });
    assert_eq!(seen, [(0, 0), (1, 0), (1, 100), (2, 100), (2, 500), (4, 500), (4, 1000)]);
    let ended = world.now;
    world.until("is rid of the old ones", |world| world.running(&r1) == 0);
    assert!((590..620).contains(&(world.now - ended)), "{}", world.now - ended);
}

#[test]
fn a_step_lasts_as_long_as_it_holds() {
    let r2 = with_port(2, &three_steps());
    let mut world = world(&r2);
    let mut since = Vec::new();
    world.until("succeeds", |world| {
        let share = world.share(&r2);
        if since.last().is_none_or(|(last, _)| *last != share) {
            since.push((share, world.now));
        }
        world.state() == State::Succeeded
    });
    let lasted: Vec<i64> = since.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    assert!((60..80).contains(&lasted[1]) && (120..140).contains(&lasted[2]), "{since:?}");
    let taken = world.decisions.iter().filter(|what| matches!(what, What::Switched { .. })).count();
    assert_eq!(taken, 3, "each step is one that every ingress has taken");
}

#[test]
fn an_instance_count_of_its_own_is_no_weight() {
    let steps = canary(&json!([
        { "weight": 10, "instances": 3, "hold": "1m" },
        { "weight": 1000 },
    ]));
    let r2 = with_port(2, &steps);
    let mut world = world(&r2);
    world.until("has its share", |world| world.share(&r2) == 10);
    assert_eq!(world.running(&r2), 3);
    world.until("succeeds", |world| world.state() == State::Succeeded);
}

#[test]
fn without_a_port_the_share_is_one_of_instances() {
    let of = |counter| {
        let mut release = with_port(counter, &three_steps());
        release.spec.ports.clear();
        release.spec.main_port = None;
        release
    };
    let (r1, r2) = (of(1), of(2));
    let mut world = World::at(&r1, 4);
    world.begin(&r2, Kind::Deploy);
    let mut seen = Vec::new();
    world.until("succeeds", |world| {
        let now = (world.running(&r2), world.running(&r1));
        assert!(now.0 + now.1 >= 4, "{now:?}");
        if now.0 + now.1 == 4 && seen.last().is_none_or(|(last, _)| *last != now) {
            seen.push((now, world.now));
        }
        world.state() == State::Succeeded
    });
    let stood: Vec<_> = seen.iter().map(|(now, _)| *now).collect();
    assert_eq!(stood, [(0, 4), (1, 3), (2, 2), (3, 1), (4, 0)]);
    assert!(seen[2].1 - seen[1].1 >= 60 && seen[3].1 - seen[2].1 >= 120, "{seen:?}");
    let mut world = World::at(&r1, 4);
    world.begin(&r2, Kind::Deploy);
    world.until("has two", |world| world.running(&r2) == 2 && world.running(&r1) == 2);
    world.steer(RolloutCommand::Abort);
    world.until("is back", |world| world.state() == State::Aborted);
    assert_eq!((world.running(&r1), world.running(&r2)), (4, 0));
}

#[test]
fn from_every_step_its_share_only_falls() {
    type Turn = fn(&mut World, &Release);
    let turns: [(&str, Turn, State); 3] = [
        ("abort", |world, _| world.steer(RolloutCommand::Abort), State::Aborted),
        (
            "promoted, paused, then aborted",
            |world, _| {
                world.steer(RolloutCommand::Promote);
                world.steer(RolloutCommand::Pause);
                world.second();
                world.steer(RolloutCommand::Abort);
            },
            State::Aborted,
        ),
        (
            "an instance fails",
            |world, r2| {
                world.fails.insert((reference(r2).digest, 0));
            },
            State::RolledBack,
        ),
    ];
    for step in 0..=3 {
        for (case, turn, end) in turns {
            let (mut world, r1, r2) = at_step(step);
            turn(&mut world, &r2);
            let mut last = 1000;
            world.until("is back", |world| {
                let share = world.share(&r2);
                assert!(share <= last || world.running(&r2) == 0, "{case} at {step}");
                assert_eq!(world.running(&r1), 4, "{case} at {step}");
                last = if world.state() == State::RollingBack { share } else { last };
                world.state().is_final()
            });
            assert_eq!((world.state(), world.running(&r2)), (end, 0), "{case} at {step}");
            assert_eq!(world.share(&r1), 1000, "{case} at {step}");
            world.second();
            assert_eq!(world.service.split, None, "{case} at {step}");
        }
    }
}

#[test]
fn what_is_matched_reaches_it_without_weight() {
    let rule = json!({ "on": "header", "name": "x-canary", "value": "1" });
    let r2 = with_port(
        2,
        &canary(&json!([
            { "weight": 0, "matches": [rule], "hold": "1m" },
            { "weight": 500, "hold": "1m" },
            { "weight": 1000 },
        ])),
    );
    let matched = |world: &World| {
        let table = world.table.as_ref().unwrap();
        let rules = &table.routes.services[0].matches;
        rules.iter().map(|rule| (rule.release, rule.value.clone())).collect::<Vec<_>>()
    };
    let mut world = world(&r2);
    world.until("matches", |world| !matched(world).is_empty());
    assert_eq!(matched(&world), [(reference(&r2).digest, "1".to_owned())]);
    assert_eq!((world.share(&r2), world.running(&r2)), (0, 1));
    world.until("has weight", |world| world.share(&r2) == 500);
    assert_eq!(matched(&world), [], "the next step has none");
    let mut world = self::world(&r2);
    world.until("matches", |world| !matched(world).is_empty());
    world.steer(RolloutCommand::Abort);
    world.until("is back", |world| world.state() == State::Aborted);
    assert_eq!(matched(&world), []);
}

#[test]
fn only_somebody_else_approves_this_step_of_this_release() {
    let r2 = with_port(
        2,
        &canary(&json!([
            { "weight": 100, "approve": true },
            { "weight": 1000 },
        ])),
    );
    let mut world = world(&r2);
    world.until("waits", |world| world.waiting.iter().any(|text| text.contains("rollout approve")));
    for _ in 0..1000 {
        world.second();
        assert_eq!((world.share(&r2), world.state()), (100, State::Advancing));
    }
    let rollout = world.rollout.clone().unwrap();
    let meant = Approved { step: 1, release: rollout.to.digest };
    let says = |approved: Approved, who: &str| approve(&rollout, &r2, approved, who, at(2000));
    assert!(matches!(says(meant, "ada"), Err(ApproveError::Author(_))));
    let written = Release { author: "carol".to_owned(), ..r2.clone() };
    let by_author = approve(&rollout, &written, meant, "operator/carol", at(2000));
    assert!(
        matches!(by_author, Err(ApproveError::Author(_))),
        "a machine asked, and she wrote it: {by_author:?}"
    );
    let back = Rollout { kind: Kind::Rollback, ..rollout.clone() };
    assert!(
        approve(&back, &written, meant, "operator/carol", at(2000)).is_ok(),
        "nobody is the author of a way back"
    );
    assert!(
        skips_approval(&rollout, &r2, RolloutCommand::Promote, at(2000))
            && skips_approval(&rollout, &r2, RolloutCommand::PromoteFull, at(2000))
    );
    assert!(!skips_approval(&rollout, &r2, RolloutCommand::Abort, at(2000)));
    let free =
        with_port(2, &canary(&json!([{ "weight": 100, "gates": [], "hold": "10s" }, { "weight": 1000 }])));
    assert!(!skips_approval(&rollout, &free, RolloutCommand::PromoteFull, at(2000)), "nothing is asked");
    let later = canary(
        &json!([{ "weight": 100, "hold": "10s" }, { "weight": 500, "approve": true }, { "weight": 1000 }]),
    );
    let later = with_port(2, &later);
    assert!(!skips_approval(&rollout, &later, RolloutCommand::Promote, at(2000)));
    assert!(skips_approval(&rollout, &later, RolloutCommand::PromoteFull, at(2000)), "a later step asks");
    let other = reference(&with_port(3, &three_steps())).digest;
    assert!(matches!(says(Approved { release: other, ..meant }, "bob"), Err(ApproveError::Content { .. })));
    for step in [0, 2] {
        assert!(matches!(says(Approved { step, ..meant }, "bob"), Err(ApproveError::Step { .. })), "{step}");
    }
    let approved = says(meant, "bob").unwrap();
    assert!(!skips_approval(&approved, &r2, RolloutCommand::Promote, at(2000)), "it is there");
    assert_eq!(approve(&approved, &r2, meant, "eve", at(2001)).unwrap().shift, approved.shift, "once");
    world.rollout = Some(approved);
    world.until("goes on", |world| world.share(&r2) == 1000);
    let late = approve(world.rollout.as_ref().unwrap(), &r2, meant, "bob", at(3000));
    assert!(matches!(late, Err(ApproveError::Step { .. })), "{late:?}");
    world.until("succeeds", |world| world.state() == State::Succeeded);
    let late = approve(world.rollout.as_ref().unwrap(), &r2, meant, "bob", at(4000));
    assert!(matches!(late, Err(ApproveError::State(_))), "{late:?}");
}

#[test]
fn an_approval_counts_for_a_day_and_its_end_ends_nothing() {
    let gated = json!({ "weight": 100, "approve": true, "hold": "1m" });
    let blue = json!({ "blue_green": { "steps": [1000], "watch": "1m", "keep_old": "1h", "min_ready": "5s", "approve": true } });
    for (strategy, step) in [(canary(&json!([gated, { "weight": 1000 }])), 1), (blue, 0)] {
        let r2 = with_port(2, &strategy);
        let mut world = world(&r2);
        let waits = |world: &World| world.waiting.iter().any(|text| text.contains("rollout approve"));
        world.until("waits", waits);
        let meant = Approved { step, release: reference(&r2).digest };
        let says = |world: &mut World, who: &str| {
            let rollout = world.rollout.as_ref().unwrap();
            world.rollout = Some(approve(rollout, &r2, meant, who, at(world.now)).unwrap());
        };
        let asks = |world: &World| {
            let (rollout, now) = (world.rollout.as_ref().unwrap(), at(world.now));
            let world = (&world.service, &world.slots, &world.releases, &world.fleet);
            crate::view::rollout(rollout, world.0, world.1, world.2, world.3, &[], now).asks
        };
        assert_eq!(asks(&world).map(|asked| (asked.step, asked.release)), Some((step, meant.release)));
        // It is approved, and somebody pauses it before it goes on.
        says(&mut world, "bob");
        assert_eq!(asks(&world), None);
        world.steer(RolloutCommand::Pause);
        world.now += 24 * 3600;
        world.steer(RolloutCommand::Resume);
        let share = world.share(&r2);
        let told = |world: &World| {
            world.waiting.iter().any(|text| text.contains("that of bob expired at 1970-01-02T"))
        };
        world.until("waits again", told);
        assert_eq!(
            asks(&world).map(|asked| asked.step),
            Some(step),
            "the command line finds what to approve"
        );
        for _ in 0..1000 {
            world.second();
            assert_eq!(
                (world.share(&r2), world.state()),
                (share, State::Advancing),
                "it waits, and does not end"
            );
        }
        let rollout = world.rollout.clone().unwrap();
        assert!(
            skips_approval(&rollout, &r2, RolloutCommand::Promote, at(world.now)),
            "a promotion would skip it"
        );
        says(&mut world, "eve");
        let shift = world.rollout.as_ref().and_then(|rollout| rollout.shift.clone()).unwrap();
        assert_eq!(shift.approval(at(world.now)).map(|of| of.by.as_str()), Some("eve"));
        let stored = serde_json::to_vec(&world.rollout).unwrap();
        world.rollout = serde_json::from_slice(&stored).unwrap();
        world.until("goes on", |world| world.share(&r2) == 1000);
        world.until("succeeds", |world| world.state() == State::Succeeded);
    }
}

#[test]
fn a_person_may_skip_a_step_or_all_of_them() {
    let (mut world, _, r2) = at_step(1);
    let before = world.now;
    world.steer(RolloutCommand::Promote);
    world.until("takes the second step", |world| world.share(&r2) == 500);
    assert!(world.now - before < 30, "{}", world.now - before);
    world.steer(RolloutCommand::PromoteFull);
    world.until("takes the last step", |world| world.share(&r2) == 1000);
    assert_eq!(world.running(&r2), 4, "its instances come first, all the same");
    world.until("succeeds", |world| world.state() == State::Succeeded);
}

#[test]
fn a_failed_canary_runs_on_for_people_to_look_at() {
    let mut strategy = three_steps();
    strategy["canary"]["keep_failed"] = "20m".into();
    let r2 = with_port(2, &strategy);
    let mut world = world(&r2);
    world.until("has half", |world| world.share(&r2) == 500);
    world.fails.insert((reference(&r2).digest, 0));
    world.until("is back", |world| world.state() == State::RolledBack);
    let r1 = with_port(1, &three_steps());
    assert_eq!((world.running(&r1), world.running(&r2)), (4, 1), "the one that did not fail is kept");
    assert_eq!((world.share(&r1), world.share(&r2)), (1000, 0));
    let ended = world.now;
    world.until("is rid of it", |world| world.running(&r2) == 0);
    assert!((1180..1220).contains(&(world.now - ended)), "{}", world.now - ended);
    world.second();
    assert_eq!(world.service.split, None);
}

#[test]
fn the_first_release_of_a_service_has_no_canary() {
    let r1 = with_port(1, &three_steps());
    let mut world = World::at(&r1, 4);
    world.service.good.clear();
    world.service.current = None;
    world.slots.clear();
    world.begin(&r1, Kind::Deploy);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    assert_eq!((world.running(&r1), world.share(&r1)), (4, 1000));
}

#[test]
fn a_rollback_to_what_is_warm_asks_nobody() {
    let (mut world, r1, r2) = at_step(3);
    world.until("succeeds", |world| world.state() == State::Succeeded);
    world.begin(&r1, Kind::Rollback);
    world.second();
    assert_eq!((world.share(&r1), world.share(&r2)), (1000, 0), "{:?}", world.waiting);
    world.until("ends", |world| world.state().is_final());
    assert_eq!((world.state(), world.running(&r1), world.running(&r2)), (State::Succeeded, 4, 0));
}

#[test]
fn a_preview_leads_to_the_new_release_alone() {
    let of = |counter| {
        let mut release = with_port(counter, &three_steps());
        let route = |host: &str, preview| crate::release::Route {
            host: host.into(),
            path: "/".into(),
            port: "http".into(),
            preview,
        };
        release.spec.traffic.routes = vec![route("a.b", false), route("next.a.b", true)];
        release
    };
    let names = |world: &World| {
        let table = world.table.as_ref().unwrap();
        table.routes.names.iter().map(|name| name.host.clone()).collect::<Vec<_>>()
    };
    let r2 = of(2);
    let mut world = World::at(&of(1), 4);
    world.begin(&r2, Kind::Deploy);
    world.second();
    assert_eq!(names(&world), ["a.b"], "nothing of it runs yet");
    world.until("has its share", |world| world.share(&r2) == 100);
    assert_eq!(names(&world), ["a.b", "next.a.b"]);
    let rule = world.table.as_ref().unwrap().routes.services[0].matches[0].clone();
    assert_eq!(
        (rule.release, rule.name, rule.value),
        (reference(&r2).digest, "host".into(), "next.a.b".into())
    );
    world.steer(RolloutCommand::Abort);
    world.until("is back", |world| world.state() == State::Aborted);
    world.second();
    assert_eq!(names(&world), ["a.b"]);
}

/// Found by reading: each decision kept the same 64 instances anew, and found no room for the others.
#[test]
fn a_failed_canary_of_many_slots_comes_to_its_end() {
    let many = |counter| {
        release(counter, |json| {
            json["version"] = 4.into();
            json["spec"]["scale"] = json!({ "replicas": { "min": 80, "max": 80 } });
            json["spec"]["ports"] = json!({ "http": { "container": 8000 } });
            json["spec"]["main_port"] = "http".into();
            json["spec"]["strategy"] = json!({ "canary": {
                "steps": [{ "weight": 900, "hold": "1m" }, { "weight": 1000 }],
                "min_instances": 1, "keep_old": "10m", "keep_failed": "30m", "min_ready": "5s"
            } });
        })
    };
    let (r1, r2) = (many(1), many(2));
    let mut world = World::at(&r1, 80);
    world.begin(&r2, Kind::Deploy);
    world.until("has 72 new ones", |world| world.running(&r2) == 72 && world.share(&r2) == 900);
    world.fails.insert((reference(&r2).digest, 0));
    world.until("is back", |world| world.state() == State::RolledBack);
    assert_eq!(
        (world.running(&r1), world.running(&r2)),
        (80, 71),
        "those that work are kept to be looked at"
    );
}

#[test]
fn most_of_the_traffic_becomes_all_of_it_at_once() {
    let (mut world, r1, r2) = at_step(1);
    world.fails.insert((reference(&r1).digest, 3));
    world.second();
    world.steer(RolloutCommand::Abort);
    let asked = world.now;
    world.until("r1 has every request", |world| world.share(&r1) == 1000);
    assert!(world.now - asked < 5, "nothing is waited for: r1 has had nine tenths of them all along");
    assert_eq!(world.share(&r2), 0);
}

/// Four slots without a port, and a gate that fails with the first exit.
fn worker(counter: u64) -> Release {
    release(counter, |json| {
        json["version"] = 4.into();
        json["spec"]["scale"] = json!({ "replicas": { "min": 4, "max": 4 } });
        json["spec"]["on_failure"] = "rollback_failed".into();
        json["spec"]["rollback_on"] = json!({ "restarts": 100, "unhealthy_for": "2m" });
        json["spec"]["gates"] = json!({ "crashes": {
            "ask": { "crashes": { "max": 0 } }, "window": "10s", "passes": 3, "fails": 1
        } });
        json["spec"]["strategy"] =
            canary(&json!([{ "weight": 500, "gates": ["crashes"] }, { "weight": 1000 }]));
    })
}

#[test]
fn a_failed_gate_leaves_nothing_of_its_release() {
    let (r1, r2) = (worker(1), worker(2));
    let mut world = World::at(&r1, 4);
    world.begin(&r2, Kind::Deploy);
    world.until("has two of them", |world| world.running(&r2) == 2);
    for _ in 0..10 {
        world.second();
    }
    let digest = reference(&r2).digest;
    for _ in 0..300 {
        for member in world.fleet.members.values_mut() {
            let seen = std::sync::Arc::make_mut(member.observation.as_mut().unwrap());
            let instances = seen.slots.iter_mut().flat_map(|slot| &mut slot.instances);
            instances.filter(|of| of.release == digest).for_each(|of| of.restarts = 1);
            member.last_report = member.observation.clone();
        }
        world.second();
        if world.state().is_final() {
            break;
        }
    }
    assert_eq!(world.state(), State::RolledBack, "no single slot failed: it is the release");
    assert_eq!((world.running(&r1), world.running(&r2)), (4, 0));
}

#[test]
fn gates_are_judged_while_hosts_are_away() {
    let gated = |counter| {
        let mut release =
            with_port(counter, &canary(&json!([{ "weight": 500, "gates": ["errors"] }, { "weight": 1000 }])));
        release.spec.gates = serde_json::from_value(json!({ "errors": {
            "ask": { "error_rate": { "max": 10, "min_requests": 100, "baseline": false } },
            "window": "10s", "passes": 3, "fails": 1
        } }))
        .unwrap();
        release
    };
    let (r1, r2) = (gated(1), gated(2));
    let mut world = World::at(&r1, 4);
    world.begin(&r2, Kind::Deploy);
    world.until("is watched", |world| {
        world
            .rollout
            .as_ref()
            .and_then(|of| of.shift.as_ref())
            .is_some_and(|shift| shift.watched_since.is_some())
    });
    for member in world.fleet.members.values_mut().skip(1) {
        member.liveness = crate::host::Liveness::Suspect;
    }
    let since = world.now;
    // Nobody counts requests here: the fourth window that tells nothing pauses it.
    world.until("pauses", |world| world.state() == State::Paused);
    assert!(world.now - since < 60, "{}", world.now - since);
}

/// A canary whose gate looks at exits, and that pauses where it fails.
fn watched(counter: u64) -> Release {
    let steps = json!([{ "weight": 500, "gates": ["crashes"] }, { "weight": 1000 }]);
    let mut release = with_port(counter, &canary(&steps));
    release.spec.on_failure = crate::release::OnFailure::Pause;
    release.spec.rollback_on.restarts = 100;
    let gates = json!({ "crashes": { "ask": { "crashes": { "max": 0 } }, "window": "10s", "passes": 3, "fails": 1 } });
    release.spec.gates = serde_json::from_value(gates).unwrap();
    release
}

/// Instances of r2 have been started again so often.
fn restarted(world: &mut World, r2: &Release, times: u32) {
    let digest = reference(r2).digest;
    for member in world.fleet.members.values_mut() {
        let seen = std::sync::Arc::make_mut(member.observation.as_mut().unwrap());
        let instances = seen.slots.iter_mut().flat_map(|slot| &mut slot.instances);
        instances.filter(|of| of.release == digest).for_each(|of| of.restarts = times);
        member.last_report = member.observation.clone();
    }
}

#[test]
fn who_resumes_a_canary_lets_its_step_be_judged_again() {
    let (r1, r2) = (watched(1), watched(2));
    let mut world = World::at(&r1, 4);
    world.begin(&r2, Kind::Deploy);
    // The step has settled, and instances of the next one are on their way.
    world.until("has settled", |world| {
        world.rollout.as_ref().and_then(|of| of.shift.as_ref()).is_some_and(|shift| shift.settled)
    });
    world.steer(RolloutCommand::Pause);
    world.second();
    world.steer(RolloutCommand::Resume);
    let resumed = world.now;
    world.until("takes the next step", |world| world.share(&r2) == 1000);
    assert!(world.now - resumed >= 30, "three windows are judged first: {}", world.now - resumed);
}

#[test]
fn exits_of_a_step_are_counted_over_a_new_coordinator() {
    let (r1, r2) = (watched(1), watched(2));
    let mut world = World::at(&r1, 4);
    world.begin(&r2, Kind::Deploy);
    world.until("has been judged", |world| {
        let course = world.rollout.as_ref().and_then(|of| of.gates.as_ref());
        course.and_then(|course| course.gates.get("crashes")).is_some_and(|gate| gate.passes > 0)
    });
    // It exits while there is no coordinator.
    world.fleet.since = at(world.now);
    for _ in 0..60 {
        restarted(&mut world, &r2, 1);
        world.second();
        if world.state() == State::Paused {
            break;
        }
    }
    assert_eq!(world.state(), State::Paused, "{:?}", world.waiting);
    // The person who resumes has seen that exit.
    world.steer(RolloutCommand::Resume);
    for _ in 0..20 {
        restarted(&mut world, &r2, 1);
        world.second();
        assert_ne!(world.state(), State::Paused);
    }
}

#[test]
fn time_without_a_coordinator_is_no_hold_of_workers() {
    let of = |counter| {
        let mut release = with_port(counter, &three_steps());
        release.spec.ports.clear();
        release.spec.main_port = None;
        release
    };
    let mut world = World::at(&of(1), 4);
    let r2 = of(2);
    world.begin(&r2, Kind::Deploy);
    world.until("has one", |world| world.running(&r2) == 1);
    for _ in 0..30 {
        world.second();
    }
    world.fleet.since = at(world.now);
    let since = world.now;
    world.until("has two", |world| world.running(&r2) == 2);
    assert!(world.now - since >= 60, "{}", world.now - since);
}

#[test]
fn the_view_has_the_step_of_a_canary_without_a_port() {
    let worker = |counter| {
        release(counter, |json| {
            json["version"] = 4.into();
            json["spec"]["scale"] = json!({ "replicas": { "min": 4, "max": 4 } });
            json["spec"]["strategy"] = three_steps();
        })
    };
    let mut world = World::at(&worker(1), 4);
    world.begin(&worker(2), Kind::Deploy);
    world.until("takes its first step", |world| {
        world.rollout.as_ref().unwrap().shift.as_ref().is_some_and(|shift| shift.taken == 1)
    });
    let rollout = world.rollout.as_ref().unwrap();
    let (slots, releases) = (&world.slots, &world.releases);
    let view =
        crate::view::rollout(rollout, &world.service, slots, releases, &world.fleet, &[], at(world.now));
    assert_eq!((view.step, view.steps, view.traffic), (1, 3, None));
}
