//! `top` on a terminal: however it ends, the terminal is as it was.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::coordinator::{Coordinator, Script};
use crate::{Desk, stderr};

const LIMIT: Duration = Duration::from_secs(30);

/// Runs `top`, ends it when its first frame is there, and insists that the terminal is given back.
fn ends(how: &str, end: impl FnOnce(&mut File, Pid)) {
    let desk = Desk::with_fleet();
    let coordinator = Coordinator::start(&desk, Script::default());
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
    tcsetwinsize(&slave, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let before = tcgetattr(&slave).unwrap();
    let end_of_it = || Stdio::from(slave.try_clone().unwrap());
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("windlass"))
        .args(["top", "--server", &coordinator.address])
        .current_dir(desk.root.path())
        .env_clear()
        .env("WINDLASS_HOME", desk.path("home"))
        .env("TERM", "xterm-256color")
        .stdin(end_of_it())
        .stdout(end_of_it())
        .stderr(end_of_it())
        .spawn()
        .unwrap();
    let mut master = File::from(master);
    let said = Arc::new(Mutex::new(Vec::new()));
    let (heard, mut reading) = (said.clone(), master.try_clone().unwrap());
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = reading.read(&mut bytes) {
            heard.lock().unwrap().extend_from_slice(&bytes[..count]);
        }
    });
    let has = |text: &str| String::from_utf8_lossy(&said.lock().unwrap()).contains(text);
    let wait = |what: &str, is_so: &mut dyn FnMut() -> bool| {
        let begun = Instant::now();
        while !is_so() {
            let seen = String::from_utf8_lossy(&said.lock().unwrap()).into_owned();
            assert!(begun.elapsed() < LIMIT, "{how}: {what} never came: {seen:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait("a frame", &mut || has("\u{1b}[?1049h") && has("windlass top"));
    assert_ne!(tcgetattr(&slave).unwrap().local_modes, before.local_modes, "{how}: it is in raw mode");
    end(&mut master, Pid::from_child(&child));
    let mut code = None;
    wait("the end", &mut || {
        code = child.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(0), "{how}");
    wait("the first screen", &mut || has("\u{1b}[?1049l"));
    let after = tcgetattr(&slave).unwrap();
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

#[test]
fn without_a_terminal_it_says_what_works() {
    let desk = Desk::with_fleet();
    let coordinator = Coordinator::start(&desk, Script::default());
    let output = desk.run(&["top", "--server", &coordinator.address]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("`top` needs a terminal") && said.contains("windlass top --once"), "{said}");
}
