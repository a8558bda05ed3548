//! What a person reads while a rollout goes on, and at its end.

use windlass_core::rollout::State;
use windlass_core::view::RolloutView;

use super::outcome::{Outcome, ending};
use super::progress::lines;
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

#[test]
fn only_what_changed_is_said() {
    let first = with(State::Advancing, |view| view.waiting.clear());
    let said = lines(None, &first);
    insta::assert_snapshot!(said.join("\n"), @"
    default/web r3: advancing, 1 of 2 available
      web-0 slot 0: r3 healthy
    ");
    assert!(lines(Some(&first), &first).is_empty(), "nothing new, nothing said");
    let next = with(State::Advancing, |view| {
        view.waiting.clear();
        view.slots[1].state = Some(windlass_core::observation::InstanceState::Starting);
    });
    assert_eq!(lines(Some(&first), &next), ["  web-1 slot 1: r3 starting"]);
}

#[test]
fn counters_that_move_are_no_news() {
    let waits = |bytes: u32| {
        let mut waits: Vec<String> =
            (0..9).map(|n| format!("host web-{n} to pull the image ({bytes} of 100 bytes)")).collect();
        waits[1] = format!("the end of the soak at 2026-11-22T12:00:0{}.000Z", bytes % 10);
        with(State::Preparing, |view| view.waiting = waits)
    };
    assert_eq!(
        lines(None, &waits(1))[0],
        "default/web r3: preparing, 1 of 2 available; waits for host web-0 to pull the image, the end of the soak, \
         host web-2 to pull the image and 6 more"
    );
    assert!(lines(Some(&waits(1)), &waits(2)).is_empty());
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
    default/web r3: succeeded after 5m
    default/web r3: failed and rolled back to r2 after 5m
    default/web r3: aborted, back at r2
    default/web r3: failed before anything was changed
    default/web r3: failed, and needs a person
    default/web r3: another rollout took over
    default/web r3: goes on
    ");
}

#[test]
fn a_failure_is_reported_unasked() {
    insta::assert_snapshot!(ending(&rollout_view("rolled_back"), Exit::Back, Colour::Off));
    let good = with(State::Succeeded, |_| {});
    assert_eq!(ending(&good, Exit::Done, Colour::Off).lines().count(), 1);
}
