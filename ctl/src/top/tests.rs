//! Frames on a terminal in memory, and what keys do. Accept a new frame with `INSTA_UPDATE=always`, and look at it.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::*;
use crate::printer::Colour;
use crate::table::tests::{host_view, now, stats, status_view, view};

fn snapshot() -> Snapshot {
    let mut busy = host_view("web-1", "connected");
    busy["stats"] = stats("2026-11-22T12:09:58.000Z");
    let mut old = host_view("web-2", "connected");
    old["stats"] = stats("2026-11-22T12:09:00.000Z");
    let mut lost = host_view("web-3", "lost");
    lost["problems"] = json!([{ "problem": "not_heard_of", "state": "lost", "last_seen": null, "text": "lost: not heard of\u{1b}[2J since 12:00" }]);
    let rollout = |service: &str, state: &str| {
        json!({
            "rollout": "0193ab00-0000-7000-8000-000000000001", "service": service, "environment": "default",
            "kind": "deploy", "release": "r2", "from": "r1", "state": state, "outcome": null, "reason": null,
            "changed": true, "waiting": ["slot 1 on web-2 to be available"], "actor": "operator:ann",
            "created_at": "2026-11-22T12:08:00.000Z", "state_since": "2026-11-22T12:09:00.000Z", "duration_ms": 120_000,
            "total": 3, "available": 1, "slots": [], "failures": [], "stragglers": [], "serving": {},
        })
    };
    let event = json!({
        "n": 7, "at": "2026-11-22T12:09:00.000Z", "kind": "host.lost", "subject": "web-3", "message": "not heard of for 30s",
    });
    Snapshot {
        at: now(),
        hosts: [busy, old, lost].map(view).into(),
        services: vec![view(status_view())],
        rollouts: vec![view(rollout("web", "advancing")), view(rollout("api", "rolled_back"))],
        events: vec![view(event)],
    }
}

fn frame(state: &State, asked: &Asked, (width, height): (u16, u16), later: u64) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let at = now() + Duration::from_secs(later);
    terminal
        .draw(|frame| {
            draw(frame, state, asked, "demo as coordinator:7443", at, Colour::On);
        })
        .unwrap();
    terminal.backend().to_string()
}

fn press(state: &mut State, keys: &str) -> Vec<Effect> {
    let key = |c| match c {
        '\n' => KeyCode::Enter,
        '\u{1b}' => KeyCode::Esc,
        '\t' => KeyCode::Tab,
        c => KeyCode::Char(c),
    };
    keys.chars().map(|c| state.key(KeyEvent::new(key(c), KeyModifiers::NONE), 3, 10)).collect()
}

#[test]
fn frames_at_80_by_24_and_at_200_by_50() {
    let asked = Asked { snapshot: Some(snapshot()), problem: None };
    for (name, size) in [("small", (80, 24)), ("large", (200, 50))] {
        for view in View::ALL {
            let state = State { view, ..State::default() };
            insta::assert_snapshot!(format!("{name}_{}", view.name()), frame(&state, &asked, size, 0));
        }
        let details = State { details: true, ..State::default() };
        insta::assert_snapshot!(format!("{name}_details"), frame(&details, &asked, size, 0));
    }
}

#[test]
fn old_figures_give_way_to_their_age() {
    let problem = Some("connection refused".to_owned());
    let asked = Asked { snapshot: Some(snapshot()), problem };
    let young = frame(&State::default(), &asked, (100, 24), 5);
    assert!(young.contains("stale 5s") && young.contains("web-1"), "{young}");
    let old = frame(&State::default(), &asked, (100, 24), 12);
    assert!(old.contains("stale 12s") && old.contains("connection refused"), "{old}");
    assert!(!old.contains("web-1") && !old.contains("37%"), "{old}");
    let never = frame(&State::default(), &Asked::default(), (100, 24), 0);
    assert!(never.contains("Waiting for the coordinator"), "{never}");
}

#[test]
fn one_frame_as_text_has_every_row() {
    let mut many = snapshot();
    many.hosts = (0..300).map(|n| view(host_view(&format!("web-{n}"), "connected"))).collect();
    let text = text(many, &State::default(), "demo", 160, now()).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("connected")).count(), 300);
    assert!(text.lines().all(|line| !line.contains('\u{1b}')));
}

#[test]
fn keys_choose_view_row_order_and_filter() {
    let mut state = State::default();
    press(&mut state, "2");
    assert_eq!(state.view, View::Services);
    press(&mut state, "\t\t");
    assert_eq!(state.view, View::Instances);
    press(&mut state, "jjjjj");
    assert_eq!(state.row, 2, "the last of three rows");
    press(&mut state, "sS");
    assert_eq!((state.sort, state.descending), (1, true));
    press(&mut state, "\n");
    assert!(state.details);
    press(&mut state, "\u{1b}/q?web\n");
    assert_eq!(
        (state.filter.as_str(), state.typing, state.details),
        ("q?web", false, false),
        "q is a letter here"
    );
    assert_eq!(state.row, 0);
    press(&mut state, "\u{1b}");
    assert_eq!(state.filter, "");
    press(&mut state, "1");
    assert_eq!((state.sort, state.descending), (0, false), "each view begins as is usual there");
    assert_eq!(press(&mut state, "q"), [Effect::Quit]);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    state.typing = true;
    assert_eq!(state.key(interrupt, 0, 0), Effect::Quit);
}

#[test]
fn rows_are_filtered_and_sorted_by_number() {
    let found = |state: &State| -> Vec<String> {
        let all = super::rows::rows(&snapshot(), state, now());
        all.into_iter().map(|row| row.cells[0].text.clone()).collect()
    };
    let by_cpu = State { sort: 2, ..State::default() };
    assert_eq!(found(&by_cpu), ["web-1", "web-3", "web-2"], "numbers, then words");
    assert_eq!(found(&State { filter: "LOST".to_owned(), ..State::default() }), ["web-3"]);
    assert_eq!(found(&State { descending: true, ..State::default() }), ["web-3", "web-2", "web-1"]);
}
