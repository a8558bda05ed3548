//! Scale, stop and remove: what is allowed when.

use crate::fixture::{at, fleet, reference, release, steady};
use crate::release::Release;
use crate::rollout::{Kind, Rollout, ServiceCommand, Snapshot, State, Target, advance, apply_command, start};
use crate::service::{Mode, Service};

fn ranged(counter: u64, min: u32, max: u32) -> Release {
    release(counter, |json| {
        json["spec"]["scale"] = serde_json::json!({ "replicas": { "min": min, "max": max } })
    })
}

fn service(release: &Release) -> Service {
    steady(release, 3, &mut fleet(3)).0
}

fn active(service: &Service, state: State) -> (Service, Rollout) {
    let target = Target {
        release: reference(&ranged(2, 2, 6)),
        kind: Kind::Deploy,
        actor: "ada".into(),
        supersede: false,
        retry_quarantined: false,
    };
    let (service, mut rollout, _) = start(service, None, target, "0193ab00".parse().unwrap(), at(1)).unwrap();
    rollout.state = state;
    (service, rollout)
}

#[test]
fn the_signed_range_decides_about_a_count() {
    let per_host = release(1, |json| json["spec"]["scale"] = "per_host".into());
    #[rustfmt::skip]
    let table = [
        ("within",            ranged(1, 2, 6), 5, Ok(5)),
        ("the least",         ranged(1, 2, 6), 2, Ok(2)),
        ("the most",          ranged(1, 2, 6), 6, Ok(6)),
        ("nothing, if said",  ranged(1, 0, 6), 0, Ok(0)),
        ("what it has",       ranged(1, 3, 3), 3, Ok(3)),
        ("below",             ranged(1, 2, 6), 1, Err("r1 of `production/web` may have from 2 to 6 replicas, not 1")),
        ("above",             ranged(1, 2, 6), 7, Err("r1 of `production/web` may have from 2 to 6 replicas, not 7")),
        ("a fixed count",     ranged(1, 3, 3), 4, Err("r1 of `production/web` has exactly 3 replicas")),
        ("a fixed count of one", ranged(1, 1, 1), 4, Err("r1 of `production/web` has exactly 1 replica")),
        ("one per host",      per_host,        3, Err("`production/web` runs once on every host that its placement allows, so it has no count")),
    ];
    for (case, release, asked, want) in table {
        let told = apply_command(
            &service(&release),
            None,
            Some(&release),
            ServiceCommand::Scale(asked),
            false,
            "ada",
            at(1),
        );
        let got = told.map(|told| told.service.replicas).map_err(|error| error.to_string());
        assert_eq!(got, want.map_err(str::to_owned), "{case}");
    }
}

/// Found by the simulation: a rollout that superseded another went back, and the count from before both came with it.
#[test]
fn maintenance_keeps_to_the_signed_range_after_a_rollback() {
    let release = ranged(1, 2, 3);
    for (count, want) in [(1, 2), (2, 2), (3, 3), (4, 3), (40, 3)] {
        let mut fleet = fleet(3);
        let (mut service, mut slots, releases) = steady(&release, 3, &mut fleet);
        service.replicas = count;
        for second in 0..3 {
            let next = advance(&Snapshot {
                service: &service,
                slots: &slots,
                rollout: None,
                releases: &releases,
                fleet: &fleet,
                now: at(100 + second),
            });
            (service, slots) = (next.service, next.slots);
        }
        assert_eq!(slots.len(), want, "a count of {count}");
    }
}

#[test]
fn what_each_verb_does_in_each_state_of_the_service() {
    let release = ranged(1, 2, 6);
    let settled = service(&release);
    let stopped = Service { mode: Mode::Stopped, ..settled.clone() };
    let removed = apply_command(&settled, None, Some(&release), ServiceCommand::Remove, false, "ada", at(1))
        .unwrap()
        .service;
    let unsettled = Service { current: Some(reference(&ranged(2, 2, 6))), ..settled.clone() };
    let new = Service::new(settled.id.clone());
    use Mode::{Removed, Running, Stopped};
    use ServiceCommand::{Remove, Scale, Stop};
    #[rustfmt::skip]
    let table: [(&str, &Service, ServiceCommand, Result<Mode, &str>); 14] = [
        ("scaled",                         &settled,   Scale(4), Ok(Running)),
        ("stopped",                        &settled,   Stop,     Ok(Stopped)),
        ("removed",                        &settled,   Remove,   Ok(Removed)),
        ("scaling starts again",           &stopped,   Scale(3), Ok(Running)),
        ("stopped is stopped",             &stopped,   Stop,     Ok(Stopped)),
        ("a stopped one may go",           &stopped,   Remove,   Ok(Removed)),
        ("nothing to scale",               &removed,   Scale(3), Err("`production/web` has no release that could run")),
        ("nothing to stop",                &removed,   Stop,     Err("`production/web` has no release that could run")),
        ("removed is removed",             &removed,   Remove,   Ok(Removed)),
        ("between two releases",           &unsettled, Scale(3), Err("the last rollout of `production/web` to r2 did not succeed, so it has no count to keep")),
        ("that may be stopped",            &unsettled, Stop,     Ok(Stopped)),
        ("or go",                          &unsettled, Remove,   Ok(Removed)),
        ("never deployed, never stopped",  &new,       Stop,     Err("`production/web` has no release that could run")),
        ("never deployed, nothing to do",  &new,       Remove,   Ok(Removed)),
    ];
    for (case, service, verb, want) in table {
        let told = apply_command(service, None, Some(&release), verb, false, "ada", at(1));
        let got = told.map(|told| told.service.mode).map_err(|error| error.to_string());
        assert_eq!(got, want.map_err(str::to_owned), "{case}");
    }
    assert_eq!((removed.last_counter, removed.next_index), (1, 3), "numbers are never used again");
    assert!(removed.good.is_empty() && removed.current.is_none(), "nothing to go back to");
}

#[test]
fn what_each_verb_does_while_a_rollout_is_active() {
    let release = ranged(1, 2, 6);
    let settled = service(&release);
    use State::{Advancing, Paused, Pending, Preparing, RollingBack, Soaking};
    for state in [Pending, Preparing, Advancing, Soaking, Paused, RollingBack] {
        let (service, rollout) = active(&settled, state);
        for (verb, supersede, allowed) in [
            (ServiceCommand::Scale(4), false, false),
            (ServiceCommand::Scale(4), true, false),
            (ServiceCommand::Stop, false, false),
            (ServiceCommand::Stop, true, true),
            (ServiceCommand::Remove, false, false),
            (ServiceCommand::Remove, true, true),
        ] {
            let case = format!("{} with supersede {supersede} while {}", verb.as_str(), state.as_str());
            let told = apply_command(&service, Some(&rollout), Some(&release), verb, supersede, "ada", at(2));
            match told {
                Ok(told) => {
                    let ended = told.ended.expect("the rollout ends");
                    assert!(allowed, "{case}");
                    assert_eq!((ended.state, told.service.rollout), (State::Superseded, None), "{case}");
                }
                Err(error) => {
                    assert!(!allowed, "{case}");
                    let text = error.to_string();
                    let want = format!(
                        "rollout {} of this service is active: to {}, asked for by ",
                        rollout.id, rollout.to.counter
                    );
                    assert!(text.starts_with(&want), "{case}: {text}");
                }
            }
        }
    }
}

#[test]
fn deploy_starts_a_stopped_or_removed_service_as_next() {
    let release = ranged(1, 2, 6);
    for verb in [ServiceCommand::Stop, ServiceCommand::Remove] {
        let told =
            apply_command(&service(&release), None, Some(&release), verb, false, "ada", at(1)).unwrap();
        let (next, rollout) = active(&told.service, State::Pending);
        assert_eq!((next.mode, next.last_counter), (Mode::Running, 2));
        assert_eq!(
            rollout.from.is_none(),
            verb == ServiceCommand::Remove,
            "what was removed is not gone back to"
        );
    }
}
