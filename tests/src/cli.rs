//! Calls of `windlass`: exit code, output, JSON.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::process::{Process, words};
use crate::wait;

/// No command of a scenario takes longer.
const LIMIT: Duration = Duration::from_secs(150);

/// A call of `windlass`: program and environment.
#[derive(Debug, Clone)]
pub struct Cli {
    program: OsString,
    environment: Vec<(OsString, OsString)>,
}

/// The end of a command.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A command under way. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    readers: Option<[JoinHandle<String>; 2]>,
}

impl Cli {
    /// A program called with exactly this environment.
    pub const fn new(program: OsString, environment: Vec<(OsString, OsString)>) -> Self {
        Self { program, environment }
    }

    /// Runs a command to its end, without a terminal.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).wait()
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> Output {
        self.run(arguments).expect_code(0)
    }

    /// The document that a command prints with `-o json`; it must succeed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.ok(&[arguments, &["-o", "json"]].concat()).json()
    }

    /// Starts a command whose output goes into a file: it can be looked at, and the command paused, while it runs.
    #[track_caller]
    pub fn start_into(&self, arguments: &[&str], file: &Path) -> Process {
        let command = [vec![self.program.clone()], words(arguments)].concat();
        Process::start(&arguments.join(" "), command, self.environment.clone(), file)
    }

    /// Starts a command and leaves it running.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("failed to start {}: {error}", self.program.display()));
        let readers = [
            reader(child.stdout.take().expect("it was piped")),
            reader(child.stderr.take().expect("it was piped")),
        ];
        let name = Path::new(&self.program).file_name().unwrap_or_default().to_string_lossy();
        Running { command: format!("{name} {}", arguments.join(" ")), child, readers: Some(readers) }
    }
}

impl Running {
    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let code = wait::until(&format!("`{}` has ended", self.command), LIMIT, || {
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            ended.map(|status| status.code().unwrap_or(-1)).ok_or_else(|| "it runs".to_owned())
        });
        let [stdout, stderr] =
            self.readers.take().expect("taken once").map(|reader| reader.join().unwrap_or_default());
        Output { command: self.command.clone(), code, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended, as a rule
        let _ = self.child.wait();
    }
}

impl Output {
    /// Insists on an exit code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// The only document on standard output.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not one JSON document ({error}): {self}"))
    }

    /// The objects on standard output, one per line.
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        let parse =
            |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}\n{self}"));
        self.stdout.lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
    }

    /// The last of them: what a following command ends with.
    #[track_caller]
    pub fn last(&self) -> Value {
        self.lines().pop().unwrap_or_else(|| panic!("nothing on standard output: {self}"))
    }

    /// The error on standard error: the last line that is a JSON object with `error`.
    #[track_caller]
    pub fn error(&self) -> Value {
        let parsed = serde_json::from_str(self.stderr.trim()).ok();
        let last = || self.stderr.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
        let error: Option<Value> = parsed.or_else(last);
        error.filter(|value| value["error"].is_string()).unwrap_or_else(|| panic!("no JSON error: {self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, code, stdout, stderr } = self;
        write!(f, "`{command}` exited with {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes); // what was read until then is what there is
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
