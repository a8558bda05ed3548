//! Frames on a terminal in memory, and what keys do. Accept a new frame with `INSTA_UPDATE=always`, and look at it.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::act::Verb;
use super::*;
use crate::printer::Colour;
use crate::table::tests::{host_view, now, stats, status_view, view};

fn snapshot() -> Snapshot {
    let mut busy = host_view("web-1", "connected");
    busy["stats"] = stats("2026-11-22T12:09:58.000Z");
    let mut old = host_view("web-2", "connected");
    old["stats"] = stats("2026-11-22T12:09:00.000Z");
    old["gpus_lost"] = json!([{ "uuid": "GPU-2", "name": "H200", "since": "2026-11-22T12:09:00.000Z", "why": "it has fallen off the bus" }]);
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
    let endpoint = |release: &str, state: &str| {
        json!({
            "host": "web-1", "address": "10.0.0.1:20000", "port": "http", "release": release, "state": state, "in_flight": 3,
        })
    };
    let routes = json!({
        "environment": "default", "seq": 17, "issued_at": "2026-11-22T12:00:00.000Z",
        "services": [{
            "service": "web",
            "names": [{ "host": "shop.example", "path": "/", "port": "http" }],
            "releases": [
                { "release": "r1", "weight": 900, "recent": {
                    "per_second": 812.4, "error_ratio": 0.0004, "p95_seconds": 0.0412, "in_flight": 31,
                } },
                { "release": "r2", "weight": 100, "recent": {
                    "per_second": 9.25, "error_ratio": 0.125, "p95_seconds": 1.25, "in_flight": 3,
                } },
            ],
            "endpoints": [endpoint("r1", "serving"), endpoint("r1", "draining"), endpoint("r2", "stands_in")],
            "nobody": { "per_second": 0.5, "error_ratio": 1.0, "in_flight": 0 },
        }, { "service": "api", "names": [], "releases": [{ "release": "r7" }], "endpoints": [] }],
        "ingresses": [
            { "host": "edge-1", "wanted": 17, "acknowledged": 17, "in_flight": 6 },
            { "host": "edge-2", "wanted": 17, "acknowledged": 15, "in_flight": 0, "refused": "expired\u{1b}[2J: 2h ago" },
            { "host": "edge-3", "wanted": 17, "acknowledged": null, "in_flight": 0 },
        ],
    });
    Snapshot {
        at: now(),
        hosts: [busy, old, lost].map(view).into(),
        services: vec![view(status_view())],
        rollouts: vec![view(rollout("web", "advancing")), view(rollout("api", "rolled_back"))],
        events: vec![view(event)],
        routes: vec![view(routes)],
    }
}

const AT: u64 = 0;

fn about() -> About {
    About {
        has_keys: true,
        text: "demo as coordinator:7443".to_owned(),
        is_production: false,
        stale_after: Duration::from_secs(10),
    }
}

/// The screen that `state` asks for, from a coordinator that lets its reader steer what is in `steers`.
fn asked(snapshot: &Snapshot, state: &State, steers: Option<&[&str]>) -> Asked {
    let mut asked = Asked::default();
    let mut screen = snapshot.screen(&state.wanted(50, None));
    screen.steers = steers.map(|names| names.iter().map(|name| name.parse().unwrap()).collect());
    asked.take(screen, now(), now());
    asked
}

fn frame(state: &State, asked: &Asked, (width, height): (u16, u16), later: u64) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let at = now() + Duration::from_secs(later);
    terminal.draw(|frame| draw(frame, state, asked, &about(), at, Colour::On)).unwrap();
    terminal.backend().to_string()
}

/// Presses `keys`, each on the screen that the state before asks for.
fn press(state: &mut State, keys: &str) -> Vec<Effect> {
    let key = |c| match c {
        '\n' => KeyCode::Enter,
        '\u{1b}' => KeyCode::Esc,
        '\t' => KeyCode::Tab,
        c => KeyCode::Char(c),
    };
    let snapshot = snapshot();
    keys.chars()
        .map(|c| {
            let asked = asked(&snapshot, state, Some(&["default"]));
            state.key(KeyEvent::new(key(c), KeyModifiers::NONE), asked.screen.as_ref())
        })
        .collect()
}

#[test]
fn frames_at_80_by_24_and_at_200_by_50() {
    for (name, size) in [("small", (80, 24)), ("large", (200, 50))] {
        for view in View::ALL {
            let state = State { view, ..State::default() };
            let asked = asked(&snapshot(), &state, Some(&["default"]));
            insta::assert_snapshot!(format!("{name}_{}", view.name()), frame(&state, &asked, size, AT));
        }
        for view in [View::Hosts, View::Instances, View::Gpus, View::Routes, View::Ingresses] {
            let state = State { view, details: true, ..State::default() };
            let asked = asked(&snapshot(), &state, None);
            insta::assert_snapshot!(
                format!("{name}_details_{}", view.name()),
                frame(&state, &asked, size, AT)
            );
        }
    }
    let mut confirming = State { view: View::Rollouts, ..State::default() };
    press(&mut confirming, "awe");
    let all = asked(&snapshot(), &confirming, Some(&["default"]));
    insta::assert_snapshot!("small_confirm", frame(&confirming, &all, (80, 24), AT));
    let viewer = State { view: View::Rollouts, ..State::default() };
    let none = asked(&snapshot(), &viewer, Some(&[]));
    insta::assert_snapshot!("small_viewer", frame(&viewer, &none, (80, 24), AT));
    let help = State { help: true, ..State::default() };
    insta::assert_snapshot!("small_help", frame(&help, &asked(&snapshot(), &help, None), (80, 24), AT));
}

#[test]
fn the_readings_of_gpus_fit_on_a_small_terminal() {
    let mut host = host_view("h1", "connected");
    host["gpus"] = json!([{ "uuid": "GPU-8f6d6d8e-1111-2222-3333-444455556666", "name": "NVIDIA H200", "memory": 150_000_000_000_u64 }]);
    host["stats"] = stats("2026-11-22T12:09:58.000Z");
    host["stats"]["gpus"][0]["uuid"] = host["gpus"][0]["uuid"].clone();
    let snapshot = Snapshot { hosts: vec![view(host)], ..snapshot() };
    let state = State { view: View::Gpus, ..State::default() };
    let small = frame(&state, &asked(&snapshot, &state, None), (80, 24), AT);
    for words in ["GPU-8f6d6d8e…  H200 ", " 93% ", " 69.85 GiB ", " 61 °C ", " well"] {
        assert!(small.contains(words), "{words} is not in\n{small}");
    }
    let large = frame(&state, &asked(&snapshot, &state, None), (200, 24), AT);
    assert!(large.contains("GPU-8f6d6d8e-1111-2222-3333-444455556666  NVIDIA H200"), "{large}");
    let state = State { details: true, ..state };
    let details = frame(&state, &asked(&snapshot, &state, None), (80, 24), AT);
    for words in
        ["busy        93%", "memory      69.85 GiB of 139.70 GiB", "temperature 61 °C", "power       402 W"]
    {
        assert!(details.contains(words), "{words} is not in\n{details}");
    }
}

#[test]
fn services_tell_what_is_unknown_and_why_as_status_does() {
    let mut status = status_view();
    status["unknown"] = json!(2);
    let lost =
        json!({ "problem": "not_heard_of", "state": "lost", "last_seen": null, "text": "lost: no contact" });
    status["problems"] = json!([{ "host": "web-1", "problems": [lost] }]);
    let snapshot = Snapshot { services: vec![view(status)], ..snapshot() };
    let state = State { view: View::Services, ..State::default() };
    let frame = frame(&state, &asked(&snapshot, &state, None), (200, 24), AT);
    assert!(frame.contains("2/3 (2 unknown)") && frame.contains("host web-1: lost: no contact"), "{frame}");
}

#[test]
fn each_row_has_a_cell_and_a_key_for_each_column() {
    for view in View::ALL {
        let state = State { view, ..State::default() };
        let screen = asked(&snapshot(), &state, None).screen.unwrap();
        assert!(!screen.rows.is_empty(), "{}", view.name());
        for (row, shown) in screen.rows.iter().zip(super::rows::rows(&screen, now())) {
            let columns = view.columns().len();
            assert_eq!((row.keys(now()).len(), shown.cells.len()), (columns, columns), "{}", view.name());
        }
    }
}

#[test]
fn old_figures_give_way_to_their_age() {
    let state = State::default();
    let mut asked = asked(&snapshot(), &state, None);
    asked.problem = Some("connection refused".to_owned());
    let young = frame(&state, &asked, (100, 24), 5);
    assert!(young.contains("stale 5s") && young.contains("web-1"), "{young}");
    let old = frame(&state, &asked, (100, 24), 12);
    assert!(old.contains("stale 12s") && old.contains("connection refused"), "{old}");
    assert!(!old.contains("web-1") && !old.contains("37%"), "{old}");
    let never = frame(&state, &Asked::default(), (100, 24), 0);
    assert!(never.contains("Waiting for the coordinator"), "{never}");
    asked.still(now(), now() + Duration::from_secs(12));
    let again = frame(&state, &asked, (100, 24), 13);
    assert!(again.contains("web-1") && !again.contains("stale 1"), "{again}");
    let other = frame(&State { view: View::Events, ..state }, &asked, (100, 24), 13);
    assert!(!other.contains("web-1"), "rows of one view are none of another: {other}");
}

#[test]
fn one_frame_as_text_has_every_row() {
    let mut many = snapshot();
    many.hosts = (0..900).map(|n| view(host_view(&format!("web-{n}"), "connected"))).collect();
    let state = State::default();
    let mut wanted = state.wanted(0, None);
    wanted.limit = usize::MAX;
    let mut all = Asked::default();
    all.take(many.screen(&wanted), now(), now());
    let about = About { has_keys: false, ..about() };
    let text = text(&all, &state, &about, 160, now()).unwrap();
    let tabs = text.lines().nth(1).unwrap();
    assert!(tabs.starts_with("[hosts]  services") && !tabs.contains(|c: char| c.is_ascii_digit()), "{tabs}");
    assert_eq!(text.lines().filter(|line| line.contains("connected")).count(), 900);
    assert!(text.lines().all(|line| !line.contains('\u{1b}')));
}

#[test]
fn the_marked_row_is_always_in_what_is_asked_for() {
    let mut many = snapshot();
    many.hosts = (0..2000).map(|n| view(host_view(&format!("web-{n:04}"), "connected"))).collect();
    let mut state = State::default();
    let screen = |state: &State| many.screen(&state.wanted(22, None));
    assert_eq!((screen(&state).rows.len(), screen(&state).found), (66, 2000), "a screenful, of all");
    let keys =
        [KeyCode::Down, KeyCode::PageDown, KeyCode::PageDown, KeyCode::PageDown, KeyCode::End, KeyCode::Up];
    for key in keys {
        let before = screen(&state);
        state.key(KeyEvent::new(key, KeyModifiers::NONE), Some(&before));
        let after = screen(&state);
        let name = &many.hosts[state.row].name;
        let marked = state.row - after.from;
        assert!(
            matches!(&after.rows[marked], windlass_core::view::RowView::Host(host) if &host.name == name)
        );
        let mut asked = Asked::default();
        asked.take(after, now(), now());
        let frame = frame(&state, &asked, (80, 24), AT);
        assert!(frame.contains(name.as_str()), "{name} is not to be seen: {frame}");
    }
    assert_eq!(state.row, 1998);
}

#[test]
fn keys_choose_view_row_order_and_filter() {
    let mut state = State::default();
    press(&mut state, "2");
    assert_eq!(state.view, View::Services);
    press(&mut state, "\t\t");
    assert_eq!(state.view, View::Instances);
    press(&mut state, "1jjjjj");
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
    press(&mut state, "21");
    assert_eq!((state.sort, state.descending), (0, false), "each view begins as is usual there");
    assert_eq!(press(&mut state, "q"), [Effect::Quit]);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    state.typing = true;
    assert_eq!(state.key(interrupt, None), Effect::Quit);
}

#[test]
fn rows_are_filtered_and_sorted_by_number() {
    let found = |state: &State| -> Vec<String> {
        let screen = snapshot().screen(&state.wanted(50, None));
        super::rows::rows(&screen, now()).into_iter().map(|row| row.cells[0].clone()).collect()
    };
    let by_cpu = State { sort: 2, ..State::default() };
    assert_eq!(found(&by_cpu), ["web-1", "web-2", "web-3"], "what is known, then the others as they come");
    assert_eq!(found(&State { filter: "LOST".to_owned(), ..State::default() }), ["web-3"]);
    assert_eq!(found(&State { descending: true, ..State::default() }), ["web-3", "web-2", "web-1"]);
}

#[test]
fn every_view_has_its_name_on_a_narrow_terminal() {
    for view in View::ALL {
        let state = State { view, ..State::default() };
        let frame = frame(&state, &asked(&snapshot(), &state, None), (80, 24), AT);
        for (number, other) in View::ALL.iter().enumerate() {
            let name = format!("{} {}", number + 1, other.name());
            let shown = if *other == view { format!("[{name}]") } else { name };
            assert!(frame.contains(&shown), "{shown} is not to be seen: {frame}");
        }
    }
}

#[test]
fn traffic_is_sorted_by_its_figures_and_tells_who_fails() {
    let rows = |sort: usize, descending: bool| -> Vec<String> {
        let state = State { view: View::Routes, sort, descending, ..State::default() };
        let screen = snapshot().screen(&state.wanted(50, None));
        let rows = super::rows::rows(&screen, now());
        rows.into_iter().map(|row| format!("{} {}", row.cells[1], row.cells[2..6].join(" "))).collect()
    };
    assert_eq!(
        rows(2, true),
        ["r7 - - - -", "r1 812 <0.1% 41ms 31", "r2 9.2 12% 1250ms 3", "- 0.5 100% - 0"],
        "what nobody told stands at one end"
    );
    assert!(rows(3, false)[0].starts_with("r1 "), "the fewest errors first");
    // People act on a service from here too; an ingress has no rollout.
    let mut state = State { view: View::Routes, row: 1, ..State::default() };
    let Some(Effect::Act(action)) = press(&mut state, "rweb\n").pop() else { panic!("it was confirmed") };
    assert_eq!(action.target.service.to_string(), "default/web");
    let mut ingresses = State { view: View::Ingresses, ..State::default() };
    press(&mut ingresses, "a");
    assert!(ingresses.confirm.is_none() && ingresses.note.is_some());
}

#[test]
fn an_action_is_confirmed_by_the_name_of_its_service() {
    let rollouts = || State { view: View::Rollouts, ..State::default() };
    for (keys, verb) in [
        ('a', Verb::Abort),
        ('p', Verb::Pause),
        ('u', Verb::Resume),
        ('P', Verb::Promote),
        ('r', Verb::Rollback),
    ] {
        let mut state = rollouts();
        let effects = press(&mut state, &format!("{keys}weq\n"));
        assert!(effects.iter().all(|effect| *effect == Effect::Nothing), "a wrong name does nothing");
        assert!(state.confirm.is_none() && state.note.take().unwrap().contains("nothing was done"));
        assert_eq!(
            press(&mut state, &format!("{keys}web\u{1b}")).pop(),
            Some(Effect::Nothing),
            "Esc is a no"
        );
        let Some(Effect::Act(action)) = press(&mut state, &format!("{keys}web\n")).pop() else {
            panic!("{verb:?} was confirmed")
        };
        assert_eq!((action.verb, action.target.service.to_string().as_str()), (verb, "default/web"));
        assert_eq!(action.target.rollout.as_deref(), Some("0193ab00-0000-7000-8000-000000000001"));
    }
    // Nothing of a host, and nothing for who may not.
    let mut hosts = State::default();
    press(&mut hosts, "a");
    assert!(hosts.confirm.is_none() && hosts.note.is_some());
    let mut viewer = rollouts();
    let screen = asked(&snapshot(), &viewer, Some(&["staging"])).screen;
    viewer.key(KeyEvent::new(KeyCode::Char('a'), KeyModifiers::NONE), screen.as_ref());
    assert!(
        viewer.confirm.is_none() && viewer.note.unwrap().contains("role `deployer` in environment `default`")
    );
}
