//! Prometheus' own judgement of metrics and rules.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Asks promtool, where it is installed; `tests/lab/install.sh` installs it.
#[expect(clippy::print_stderr, reason = "a check that is left out is told")]
pub fn promtool(arguments: &[&str], input: &str) {
    let begun = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut running = match begun {
        Ok(running) => running,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("LEFT OUT: promtool {arguments:?}, because it is not installed");
            return;
        }
        Err(error) => panic!("promtool {arguments:?}: {error}"),
    };
    let mut stdin = running.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("promtool reads");
    drop(stdin);
    let ended = running.wait_with_output().expect("promtool ends");
    let said =
        [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(ended.status.success(), "promtool {arguments:?}: {said}\n{input}");
}
