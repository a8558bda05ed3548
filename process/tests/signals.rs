//! Real signals to a real process: this test starts itself again as the child.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use windlass_process::{Tasks, signals};

const CHILD: &str = "WINDLASS_TEST_CHILD";

/// Not a test of its own: what the child runs. Without the variable it does nothing.
#[test]
fn child() {
    let Ok(kind) = std::env::var(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async move {
        let mut tasks = Tasks::new();
        let cancel = tasks.cancel();
        tasks.spawn("worker", async move {
            println!("ready");
            cancel.cancelled().await;
            println!("stopping");
            if kind == "stubborn" {
                std::future::pending::<()>().await;
            }
            Ok(())
        });
        tasks.run(signals::shutdown(), Duration::from_secs(60)).await
    });
    outcome.unwrap();
}

struct Started {
    child: Child,
    lines: Box<dyn Iterator<Item = String>>,
}

fn start(kind: &str) -> Started {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, kind)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut started = Started { child, lines: Box::new(lines) };
    started.wait_for("ready");
    started
}

impl Started {
    fn wait_for(&mut self, word: &str) {
        assert!(self.lines.any(|line| line.contains(word)), "the child never said `{word}`");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn end(mut self) -> ExitStatus {
        self.lines.by_ref().for_each(drop);
        self.child.wait().unwrap()
    }
}

#[test]
fn one_signal_stops_in_order() {
    for name in ["TERM", "INT"] {
        let mut started = start("willing");
        started.signal(name);
        started.wait_for("stopping");
        let status = started.end();
        assert!(status.success() && status.signal().is_none(), "{name}: {status}");
    }
}

#[test]
fn a_second_signal_insists() {
    let mut started = start("stubborn");
    started.signal("TERM");
    started.wait_for("stopping");
    started.signal("INT");
    assert_eq!(started.end().code(), Some(130));
}
