//! Terminals: a program asks only a person, and knows one by the terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::Desk;

const LIMIT: Duration = Duration::from_secs(30);

/// Both ends of a terminal of 24 lines.
pub(crate) fn terminal(columns: u16) -> (File, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
    tcsetwinsize(&slave, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (File::from(master), slave)
}

/// Runs a command at a terminal where a person types `answer`; answers with what stands on stderr.
pub(crate) fn typed(desk: &Desk, args: &[&str], answer: &str) -> String {
    let (mut master, slave) = terminal(200);
    writeln!(master, "{answer}").unwrap();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("windlass"))
        .args(args)
        .current_dir(desk.root.path())
        .env_clear()
        .env("WINDLASS_HOME", desk.path("home"))
        .env("TERM", "xterm-256color")
        .stdin(slave.try_clone().unwrap())
        .stdout(Stdio::null())
        .stderr(slave)
        .spawn()
        .unwrap();
    let reading = std::thread::spawn(move || {
        let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
        // An end that nobody has open any more is an error.
        while let Ok(count @ 1..) = master.read(&mut bytes) {
            all.extend_from_slice(&bytes[..count]);
        }
        String::from_utf8_lossy(&all).into_owned()
    });
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    reading.join().unwrap()
}
