//! A program that a scenario started: its pid, its output in a file, and its certain end.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;

use crate::wait;

/// A running program. Dropping it kills it, by its pid.
#[derive(Debug)]
pub struct Process {
    name: String,
    command: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `command` with exactly the `environment` given; what it writes is appended to `log`.
    pub fn start(
        name: &str,
        command: Vec<OsString>,
        environment: Vec<(OsString, OsString)>,
        log: &Path,
    ) -> Self {
        let child = spawn(&command, &environment, log);
        Self { name: name.to_owned(), command, environment, log: log.to_owned(), child }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and the wait for its end.
    pub fn kill_9(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }

    /// Sends it a signal, by name.
    #[track_caller]
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "{} (pid {pid}) is not there to be sent {signal}",
            self.name
        );
    }

    /// SIGTERM, and the wait for its end, which must come within `limit`.
    pub fn stop(&mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM");
        wait::until(&format!("{} has stopped", self.name), limit, || self.ended().ok_or("it runs".to_owned()))
    }

    /// Starts the same program again.
    pub fn start_again(&mut self) {
        self.kill_9();
        self.child = spawn(&self.command, &self.environment, &self.log);
    }

    /// The same with more in its environment, this time.
    pub fn start_again_with(&mut self, more: &[(&str, &str)]) {
        self.kill_9();
        let more = more.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let environment: Vec<_> = self.environment.iter().cloned().chain(more).collect();
        self.child = spawn(&self.command, &environment, &self.log);
    }

    /// Sets a variable for its next start.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.into(), value.into()));
    }

    /// Its end, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Everything it wrote so far.
    pub fn output(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Its last lines, for the report of a failed scenario.
    pub fn tail(&self, lines: usize) -> String {
        let output = self.output();
        let all: Vec<&str> = output.lines().collect();
        format!("--- {} ends with\n{}", self.name, all[all.len().saturating_sub(lines)..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_9();
    }
}

fn spawn(command: &[OsString], environment: &[(OsString, OsString)], log: &Path) -> Child {
    let open = || File::options().create(true).append(true).open(log).expect("the log can be written");
    let program = command.first().expect("a command names a program");
    // It dies with us, so that a scenario that is killed leaves nobody on its ports.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .args(command)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(open())
        .stderr(open())
        .spawn()
        .unwrap_or_else(|error| panic!("failed to start {}: {error}", program.display()))
}

/// Resident memory of a process, in KiB.
pub fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().next().context("no number")?.parse()?)
}

/// Processor time a process has used, in seconds. `proc(5)`: fields 14 and 15 in ticks of 10 ms.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit_once(')').context("no name")?.1;
    let mut fields = after.split_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (fields.next().context("no user time")??, fields.next().context("no system time")??);
    Ok((user + system) / 100.0)
}

/// Words as a command line.
pub fn words<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Vec<OsString> {
    words.into_iter().map(|word| word.as_ref().to_owned()).collect()
}
