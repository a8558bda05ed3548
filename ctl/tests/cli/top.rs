//! `top` on a terminal: what it asks and shows, and however it ends, the terminal is as it was.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};
use tonic::Code;
use windlass_proto::pb;

use crate::coordinator::{Coordinator, ROLLOUT, Script, view};
use crate::terminal::terminal;
use crate::{Desk, stderr};

const LIMIT: Duration = Duration::from_secs(30);
/// Between two frames that are drawn for a test.
const AGAIN: Duration = Duration::from_millis(500);

/// `top` on a terminal of 80 columns and 24 lines.
struct Terminal {
    child: Child,
    master: File,
    slave: OwnedFd,
    before: Termios,
    said: Arc<Mutex<Vec<u8>>>,
    coordinator: Coordinator,
    _desk: Desk,
}

impl Terminal {
    fn start(script: Script, arguments: &[&str]) -> Self {
        let desk = Desk::with_fleet();
        let coordinator = Coordinator::start(&desk, script);
        let (master, slave) = terminal(80);
        let before = tcgetattr(&slave).unwrap();
        let end_of_it = || Stdio::from(slave.try_clone().unwrap());
        let child = Command::new(assert_cmd::cargo::cargo_bin("windlass"))
            .args(["top", "--server", &coordinator.address])
            .args(arguments)
            .current_dir(desk.root.path())
            .env_clear()
            .env("WINDLASS_HOME", desk.path("home"))
            .env("TERM", "xterm-256color")
            .stdin(end_of_it())
            .stdout(end_of_it())
            .stderr(end_of_it())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (heard, mut reading) = (said.clone(), master.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reading.read(&mut bytes) {
                heard.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self { child, master, slave, before, said, coordinator, _desk: desk }
    }

    fn wait(&mut self, what: &str, mut is_so: impl FnMut(&mut Self, &str) -> bool) {
        let begun = Instant::now();
        loop {
            let seen = String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned();
            if is_so(self, &seen) {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{what} never came: {seen:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types, and forgets what was drawn.
    fn types(&mut self, keys: &str) {
        self.said.lock().unwrap().clear();
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until these words stand on the screen. Only what differs is drawn, so it is made to draw everything.
    fn shows(&mut self, words: &str) {
        let wanted: String = words.split_whitespace().collect();
        let mut last = None::<Instant>;
        self.wait(words, |terminal, seen| {
            let shown = drawn(seen).contains(&wanted);
            if !shown && last.is_none_or(|at| at.elapsed() > AGAIN) {
                last = Some(Instant::now());
                terminal.said.lock().unwrap().clear();
                kill_process(Pid::from_child(&terminal.child), Signal::CONT).unwrap();
            }
            shown
        });
    }
}

/// What a terminal was told, without its orders and without spaces, most of which are orders too.
fn drawn(told: &str) -> String {
    let (mut words, mut in_order) = (String::new(), false);
    for c in told.chars() {
        match c {
            '\u{1b}' => in_order = true,
            c if in_order => in_order = !c.is_ascii_alphabetic(),
            c if c.is_whitespace() => {}
            c => words.push(c),
        }
    }
    words
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs `top`, ends it when its first frame is there, and insists that the terminal is given back.
fn ends(how: &str, end: impl FnOnce(&mut File, Pid)) {
    let mut terminal = Terminal::start(Script::default(), &[]);
    terminal.wait("a frame", |_, seen| seen.contains("\u{1b}[?1049h") && seen.contains("windlass top"));
    let raw = tcgetattr(&terminal.slave).unwrap();
    assert_ne!(raw.local_modes, terminal.before.local_modes, "{how}: it is in raw mode");
    let pid = Pid::from_child(&terminal.child);
    end(&mut terminal.master, pid);
    let mut code = None;
    terminal.wait("the end", |terminal, _| {
        code = terminal.child.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(0), "{how}");
    terminal.wait("the first screen", |_, seen| seen.contains("\u{1b}[?1049l"));
    let (after, before) = (tcgetattr(&terminal.slave).unwrap(), &terminal.before);
    assert_eq!(
        (after.local_modes, after.input_modes, after.output_modes),
        (before.local_modes, before.input_modes, before.output_modes),
        "{how}: the terminal is left in raw mode"
    );
}

#[test]
fn a_key_or_a_signal_ends_it_and_the_terminal_is_as_before() {
    ends("q", |terminal, _| terminal.write_all(b"q").unwrap());
    ends("Ctrl-C", |terminal, _| terminal.write_all(b"\x03").unwrap());
    ends("SIGTERM", |_, child| kill_process(child, Signal::TERM).unwrap());
    ends("SIGSTOP, SIGCONT, q", |terminal, child| {
        kill_process(child, Signal::STOP).unwrap();
        kill_process(child, Signal::CONT).unwrap();
        terminal.write_all(b"q").unwrap();
    });
}

/// A screen of rollouts with one row.
fn screen(steers: &[&str]) -> Value {
    json!({
        "board": "rollouts", "from": 0, "found": 1, "hosts": 3, "hosts_up": 2, "moving": 1, "steers": steers,
        "rows": [{ "rollout": view("advancing", true) }],
    })
}

#[test]
fn an_action_goes_to_the_coordinator_and_its_answer_is_shown() {
    let script = Script {
        screens: vec![screen(&["default"])],
        steering: [view("advancing", true)].into(),
        ..Script::default()
    };
    let mut terminal = Terminal::start(script, &["rollouts", "--filter", "WEB"]);
    terminal.shows("default/web");
    terminal.shows("a abort");
    terminal.types("aw");
    terminal.shows("Type web to confirm: w_");
    terminal.types("eb\r");
    terminal.shows("abort default/web: its rollout to r2 is advancing");
    // The coordinator refuses the next one: its words are shown, and `top` goes on.
    terminal.types("pweb\r");
    terminal.shows("role `deployer`");
    // Another size: all of it is drawn anew.
    let size = Winsize { ws_row: 30, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal.slave, size).unwrap();
    terminal.types("");
    kill_process(Pid::from_child(&terminal.child), Signal::WINCH).unwrap();
    terminal.shows("windlass top");
    terminal.wait("a larger screen has more rows", |terminal, _| {
        let script = terminal.coordinator.script.lock().unwrap();
        script.watched.iter().any(|asked| asked.limit > script.watched[0].limit)
    });
    let script = terminal.coordinator.script.lock().unwrap();
    let actions: Vec<_> =
        script.steered.iter().map(|asked| (asked.rollout.as_str(), asked.action())).collect();
    assert_eq!(actions, [(ROLLOUT, pb::RolloutAction::Abort), (ROLLOUT, pb::RolloutAction::Pause)]);
    let first = &script.watched[0];
    assert_eq!(
        (first.board.as_str(), first.filter.as_str()),
        ("rollouts", "WEB"),
        "it is cut by the coordinator"
    );
    assert!((10..=100).contains(&first.limit), "{first:?}");
}

#[test]
fn who_may_not_is_not_asked_to_confirm() {
    let script = Script { screens: vec![screen(&[])], ..Script::default() };
    let mut terminal = Terminal::start(script, &["rollouts"]);
    terminal.shows("(a abort");
    terminal.types("a");
    terminal.shows("this needs role `deployer`");
    assert!(terminal.coordinator.script.lock().unwrap().steered.is_empty());
}

#[test]
fn an_older_coordinator_is_asked_for_its_lists() {
    let script = Script {
        status: json!([]),
        rollouts: json!([view("advancing", true)]),
        hosts: json!([]),
        events: (0..50).map(|_| (vec![1], Code::Ok)).collect(),
        ..Script::default()
    };
    let mut terminal = Terminal::start(script, &["rollouts", "--interval", "1s"]);
    terminal.shows("default/web");
    assert_eq!(terminal.coordinator.script.lock().unwrap().watched.len(), 1, "once, and never again");
}

#[test]
fn without_a_terminal_it_says_what_works() {
    let desk = Desk::with_fleet();
    let coordinator = Coordinator::start(&desk, Script::default());
    let output = desk.run(&["top", "--server", &coordinator.address]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("`top` needs a terminal") && said.contains("windlass top --once"), "{said}");
}
