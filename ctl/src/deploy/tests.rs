//! The lines of a rollout for people, while it goes on and at its end.

use std::time::Duration;

use tokio::time::Instant;
use windlass_core::Counter;
use windlass_core::observation::InstanceState;
use windlass_core::rollout::{Kind, State};
use windlass_core::view::RolloutView;

use super::outcome::{Outcome, ending};
use super::progress::is_same;
use super::progress::news::News;
use crate::exit::Exit;
use crate::printer::Colour;
use crate::table::tests::rollout_view;

fn with(state: State, change: impl FnOnce(&mut RolloutView)) -> RolloutView {
    let mut view = rollout_view("rolled_back");
    view.state = state;
    view.outcome = state.is_final().then(|| state.as_str().to_owned());
    change(&mut view);
    view
}

/// The lines at each of the views, which come a number of seconds after the first one.
fn said(views: impl IntoIterator<Item = (u64, RolloutView)>) -> String {
    let (mut news, start) = (News::default(), Instant::now());
    let mut all = Vec::new();
    for (after, view) in views {
        let lines = news.of(&view, start + Duration::from_secs(after));
        all.extend(lines.into_iter().map(|line| format!("{after:>2}s  {line}")));
    }
    all.join("\n")
}

fn waits(state: State, waits: &[&str]) -> RolloutView {
    with(state, |view| {
        view.waiting = waits.iter().map(|wait| (*wait).to_owned()).collect();
        view.slots.clear();
    })
}

#[test]
fn a_rollout_without_slots_counts_none() {
    let view = with(State::Pending, |view| {
        (view.available, view.total) = (0, 0);
        view.waiting.clear();
        view.slots.clear();
    });
    let said = said([(0, view)]);
    assert!(said.contains("web r3: pending") && !said.contains("available"), "{said}");
}

#[test]
fn only_what_changed_is_said() {
    let slot = |state: Option<InstanceState>, available: u32| {
        with(State::Advancing, |view| {
            view.waiting.clear();
            view.slots[1].state = state;
            view.available = available;
        })
    };
    let views = [
        (0, slot(None, 1)),
        (1, slot(None, 1)),
        (2, slot(Some(InstanceState::Starting), 1)),
        (3, slot(None, 1)),
        (4, slot(Some(InstanceState::Starting), 1)),
        (5, slot(Some(InstanceState::Healthy), 2)),
    ];
    insta::assert_snapshot!(said(views));
}

#[test]
fn the_old_release_is_said_to_serve_beside_the_count() {
    let counts = |state: State, available: u32, serving: &[(u64, u32)]| {
        with(state, |view| {
            view.waiting.clear();
            view.slots.clear();
            view.available = available;
            view.serving = serving.iter().map(|(release, count)| (Counter(*release), *count)).collect();
        })
    };
    let views = [
        (0, counts(State::Advancing, 0, &[(2, 2)])),
        (1, counts(State::Advancing, 1, &[(2, 2), (3, 1)])),
        // An old instance that stops is no news by itself.
        (2, counts(State::Advancing, 1, &[(2, 1), (3, 1)])),
        (3, counts(State::Soaking, 2, &[(2, 1), (3, 2)])),
        (4, counts(State::RollingBack, 1, &[(2, 1), (3, 1)])),
    ];
    insta::assert_snapshot!(said(views), @r"
     0s  default/web r3: advancing, r3 available in 0 of 2 slots, r2 serves in 2
     1s  default/web r3: advancing, r3 available in 1 of 2 slots, r2 serves in 2
     3s  default/web r3: soaking, r3 available in 2 of 2 slots
     4s  default/web r3: rolling back, r2 available in 1 of 2 slots, r3 serves in 1
    ");
    let mut restart = counts(State::Advancing, 1, &[(3, 2)]);
    (restart.kind, restart.from) = (Kind::Restart, None);
    assert_eq!(said([(0, restart)]), " 0s  default/web r3: advancing, restarted in 1 of 2 slots");
}

#[test]
fn only_a_wait_that_lasts_is_said_and_once() {
    let plan = || waits(State::Preparing, &["host web-1 to take its newest plan"]);
    let pull =
        |done| waits(State::Preparing, &[&format!("host web-1 to pull the image ({done} of 0 bytes)")]);
    let sized = |done: u32| {
        waits(State::Preparing, &[&format!("host web-1 to pull the image ({done} of 104857600 bytes)")])
    };
    let flicker = (0..12).map(|n| (n, if n % 2 == 0 { plan() } else { pull(0) }));
    let pulls = (12..24).map(|n| (n, if n < 20 { sized(5_242_880) } else { pull(7) }));
    insta::assert_snapshot!(said(flicker.chain(pulls)));
    insta::assert_snapshot!("waits_for_an_unknown_size", said((0..9).map(|n| (n, pull(n)))));
    let many: Vec<String> = (0..5).map(|n| format!("room on host web-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let both = [(0, waits(State::Advancing, &many)), (3, waits(State::Advancing, &many))];
    assert!(
        said(both).ends_with(
            "3s    waiting: room on host web-0, room on host web-1, room on host web-2 and 2 more"
        )
    );
}

#[test]
fn what_is_waited_for_is_said_although_nothing_is_heard() {
    let (mut news, start) = (News::default(), Instant::now());
    news.of(&waits(State::Preparing, &["manual action"]), start);
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(news.waited(at(2)), None);
    assert_eq!(news.waited(at(3)).as_deref(), Some("  waiting: manual action"));
    assert_eq!(news.waited(at(4)), None);
    assert_eq!(
        news.waiting(at(4)),
        "; waiting: manual action",
        "on a terminal it stands as long as it lasts"
    );
}

#[test]
fn a_wait_that_goes_on_is_said_every_half_minute() {
    let plan = || waits(State::Advancing, &["slot 0 on web-1 to be healthy"]);
    let (mut news, start) = (News::default(), Instant::now());
    news.of(&plan(), start);
    let mut said = Vec::new();
    for seconds in 1..=70 {
        said.extend(news.waited(start + Duration::from_secs(seconds)).map(|line| (seconds, line)));
    }
    let again = "  still waiting: slot 0 on web-1 to be healthy".to_owned();
    let first = "  waiting: slot 0 on web-1 to be healthy".to_owned();
    assert_eq!(said, [(3, first), (33, again.clone()), (63, again)]);
}

#[test]
fn a_soak_has_a_time_to_go_and_no_clock() {
    let soak = || waits(State::Soaking, &["the end of the soak at 2026-11-22T12:05:29.500Z"]);
    insta::assert_snapshot!(said([(0, soak()), (1, soak()), (9, soak())]), @r"
     0s  default/web r3: soaking, r3 available in 1 of 2 slots, r2 serves in 2
     0s    waiting: the end of the soak, 30s to go
    ");
    let (mut news, start) = (News::default(), Instant::now());
    news.of(&soak(), start);
    let at = |seconds| news.waiting(start + Duration::from_secs(seconds));
    assert_eq!(at(10), "; waiting: the end of the soak, 20s to go");
    assert_eq!(at(60), "; waiting: the end of the soak, 0s to go");
}

#[test]
fn the_time_it_takes_is_no_news_to_programs() {
    let view = with(State::Advancing, |_| {});
    let later = with(State::Advancing, |view| view.duration_ms += 1000);
    let other = with(State::Advancing, |view| view.available += 1);
    assert!(is_same(&view, &later));
    assert!(!is_same(&view, &other));
}

#[test]
fn every_end_has_a_sentence() {
    let sentence = |state: State, changed: bool| {
        let view = with(state, |view| {
            view.changed = changed;
            view.reason = None;
        });
        Outcome::of(&view).sentence(Colour::Off)
    };
    let all = [
        sentence(State::Succeeded, true),
        sentence(State::RolledBack, true),
        sentence(State::Aborted, true),
        sentence(State::Failed, false),
        sentence(State::Failed, true),
        sentence(State::Superseded, true),
        sentence(State::Advancing, true),
    ];
    insta::assert_snapshot!(all.join("\n"), @"
    default/web r3: succeeded after 5m; not on web-9, which gets it on return
    default/web r3: failed and rolled back to r2 after 5m
    default/web r3: aborted, back at r2
    default/web r3: failed before anything was changed
    default/web r3: failed; manual action required
    default/web r3: another command took over
    default/web r3: goes on
    ");
}

#[test]
fn the_end_of_a_first_release_claims_no_return() {
    let first = |state: State| {
        let view = with(state, |view| {
            (view.changed, view.from, view.reason) = (true, None, None);
        });
        Outcome::of(&view).sentence(Colour::Off)
    };
    assert_eq!(
        first(State::Aborted),
        "default/web r3: aborted, nothing serves, there was no earlier release"
    );
    assert_eq!(
        first(State::RolledBack),
        "default/web r3: failed after 5m; nothing serves, there was no earlier release"
    );
}

#[test]
fn a_failure_is_reported_unasked() {
    insta::assert_snapshot!(ending(&rollout_view("rolled_back"), Exit::Back, Colour::Off));
    let good = with(State::Succeeded, |_| {});
    assert_eq!(ending(&good, Exit::Done, Colour::Off).lines().count(), 1);
}

#[test]
fn a_refused_release_is_said_to_keep_its_number() {
    let end = |kind: Kind, changed: bool| {
        let view = with(State::Failed, |view| (view.kind, view.changed) = (kind, changed));
        ending(&view, Exit::Refused, Colour::Off)
    };
    let words = "r3 keeps its number, since it was signed with it: the corrected release gets the next one";
    assert!(end(Kind::Deploy, false).ends_with(words), "{}", end(Kind::Deploy, false));
    assert!(!end(Kind::Deploy, true).contains(words) && !end(Kind::Rollback, false).contains(words));
}
