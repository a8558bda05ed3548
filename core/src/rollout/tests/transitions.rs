//! The commands that each state takes, and the steps that may begin beside others.

use crate::fixture::{at, reference, release};
use crate::rollout::{Kind, RollbackMode, Rollout, RolloutCommand, StartError, State, Target, start, steer};
use crate::service::Service;

fn target(counter: u64, kind: Kind, supersede: bool) -> Target {
    let release = reference(&release(counter, |_| {}));
    Target { release, kind, actor: "ada".into(), supersede, retry_quarantined: false }
}

fn service() -> Service {
    let good = release(1, |_| {});
    let mut service = Service::new(good.service_id());
    service.mark_good(reference(&good));
    service.current = Some(reference(&good));
    service.replicas = 3;
    service.next_index = 3;
    service
}

fn rollout_in(state: State) -> (Service, Rollout) {
    let to = target(2, Kind::Deploy, false);
    let (service, mut rollout, _) = start(&service(), None, to, "00000001".parse().unwrap(), at(0)).unwrap();
    rollout.state = state;
    if state == State::Paused {
        rollout.resume = Some(State::Soaking);
    }
    (service, rollout)
}

const STATES: [State; 11] = [
    State::Pending,
    State::Preparing,
    State::Advancing,
    State::Soaking,
    State::Paused,
    State::RollingBack,
    State::Succeeded,
    State::RolledBack,
    State::Aborted,
    State::Failed,
    State::Superseded,
];

#[test]
fn steering() {
    use State::{Paused, RollingBack, Soaking};
    for state in STATES {
        let moves = matches!(state, State::Pending | State::Preparing | State::Advancing | State::Soaking);
        let paused = state == Paused;
        #[rustfmt::skip]
        let table = [
            (RolloutCommand::Pause,  (moves || paused).then_some(Paused)),
            (RolloutCommand::Resume, paused.then_some(Soaking)),
            (RolloutCommand::Abort,  (moves || paused).then_some(RollingBack)),
        ];
        for (steering, want) in table {
            let (_, rollout) = rollout_in(state);
            let next = steer(&rollout, steering, "ada", at(9));
            assert_eq!(next.as_ref().ok().map(|next| next.state), want, "{steering:?} in {state:?}");
            if let Ok(next) = next {
                assert_eq!(steer(&next, steering, "bob", at(10)).is_ok(), steering != RolloutCommand::Resume);
            }
        }
    }
}

#[test]
fn saying_it_twice_changes_nothing() {
    for (state, steering) in
        [(State::Advancing, RolloutCommand::Pause), (State::Advancing, RolloutCommand::Abort)]
    {
        let once = steer(&rollout_in(state).1, steering, "ada", at(9)).unwrap();
        assert_eq!(steer(&once, steering, "bob", at(10)).unwrap(), once, "{steering:?}");
    }
    let (_, mut failed) = rollout_in(State::RollingBack);
    failed.going_back = Some(RollbackMode::RolledBack);
    let error = steer(&failed, RolloutCommand::Abort, "ada", at(9)).unwrap_err();
    assert_eq!(error.to_string(), "the rollout is rolling back, and cannot be aborted");
}

#[test]
fn a_resume_tries_again_what_failed_and_a_pause_remembers_where() {
    let (_, advancing) = rollout_in(State::Advancing);
    let paused = steer(&advancing, RolloutCommand::Pause, "ada", at(9)).unwrap();
    assert_eq!((paused.resume, paused.state_since), (Some(State::Advancing), at(9)));
    let resumed = steer(&paused, RolloutCommand::Resume, "ada", at(600)).unwrap();
    assert_eq!(
        (resumed.state, resumed.progress_at),
        (State::Advancing, at(600)),
        "no deadline ran meanwhile"
    );
    assert!(!resumed.retry_quarantined, "nothing had failed");
}

#[test]
fn starting() {
    #[rustfmt::skip]
    let table = [
        ("a deploy waits",               Kind::Deploy,   false, false),
        ("a deploy that supersedes",     Kind::Deploy,   true,  true),
        ("a rollback always supersedes", Kind::Rollback, false, true),
    ];
    for state in STATES {
        for (case, kind, supersede, over_active) in table {
            let (service, active) = rollout_in(state);
            let id = "00000002".parse().unwrap();
            let result = start(&service, Some(&active), target(3, kind, supersede), id, at(9));
            match result {
                Err(error) => {
                    let StartError::Active { id, release, actor, .. } = error;
                    assert_eq!((id, release, actor), (active.id, active.to.counter, active.actor), "{case}");
                    assert!(!state.is_final() && !over_active, "{case} in {state:?}");
                }
                Ok((next, rollout, superseded)) => {
                    assert!(state.is_final() || over_active, "{case} in {state:?}");
                    assert_eq!(superseded.is_some(), !state.is_final(), "{case} in {state:?}");
                    assert_eq!(superseded.map(|s| s.state), (!state.is_final()).then_some(State::Superseded));
                    assert_eq!(
                        rollout.from.unwrap().counter.0,
                        1,
                        "{case}: the last good stays the fallback"
                    );
                    assert_eq!((rollout.replicas_before, rollout.first_new), (3, 3), "{case}");
                    assert_eq!(next.current.unwrap().counter.0, 3, "{case}");
                    assert_eq!(next.held.is_empty(), kind == Kind::Deploy, "{case}: left by a person");
                }
            }
        }
    }
}

#[test]
fn a_rollback_that_supersedes_leaves_what_the_service_was_at() {
    let (service, active) = rollout_in(State::Advancing);
    let good = service.last_good().unwrap();
    assert_ne!(service.current, Some(good), "the release on trial is not good yet");
    let id = "00000002".parse().unwrap();
    let target = Target { release: good, ..target(3, Kind::Rollback, false) };
    let (_, back, _) = start(&service, Some(&active), target, id, at(9)).unwrap();
    assert_eq!((back.left, back.to), (Some(active.to.counter), good));
}
