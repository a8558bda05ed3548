//! Death at a named point (`process/src/crash.rs`): programs that have the points, arming them, and what must be true
//! of an agent's folder afterwards.
//!
//! They are built with the tests, `crash-agent` and `crash-server`, and are the shipped ones with one
//! feature more.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use windlass_core::Digest;

use crate::process::Process;
use crate::wait;

/// Names the file into which points are written.
pub(crate) const LOG: &str = "WINDLASS_CRASH_LOG";
/// The name of that file in a scenario's folder.
pub(crate) const LOG_FILE: &str = "crash-points.log";
/// Names the point at which a program dies.
const AT: &str = "WINDLASS_CRASH_AT";
const DEATH: Duration = Duration::from_secs(30);

/// The points of a scenario's programs, and how often one of them died at each.
#[derive(Debug)]
pub struct Points {
    log: PathBuf,
    expected: RefCell<BTreeMap<String, usize>>,
}

impl Points {
    /// Those of the fleet in `folder`.
    pub fn of(folder: &Path) -> Self {
        Self { log: folder.join(LOG_FILE), expected: RefCell::default() }
    }

    /// Starts `process` again, to die at `point`: `NAME` or `NAME:N` for its N-th pass.
    pub fn arm(&self, process: &mut Process, point: &str) {
        process.start_again_with(&[(AT, point)]);
    }

    /// The same as environment, for a program that is started otherwise.
    pub fn environment(&self, point: &str) -> Vec<(OsString, OsString)> {
        vec![(AT.into(), point.into()), (LOG.into(), self.log.clone().into())]
    }

    /// Waits until `process` has died by itself at `point`, once more than was waited for before.
    #[track_caller]
    pub fn expect_death(&self, process: &mut Process, point: &str) {
        let name = name(point);
        let ended = wait::until(&format!("it has died at {point}"), DEATH, || {
            process.ended().ok_or_else(|| format!("it runs: {}", process.tail(5)))
        });
        assert_eq!(ended.signal(), Some(9), "it died at {point}, not otherwise: {}", process.tail(20));
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let died = text.lines().filter(|line| line.strip_prefix("dies at ") == Some(name)).count();
        let mut expected = self.expected.borrow_mut();
        let times = expected.entry(name.to_owned()).or_default();
        *times += 1;
        assert_eq!(died, *times, "deaths at {name} in {}", self.log.display());
    }
}

/// The name of a point without the pass.
pub fn name(point: &str) -> &str {
    point.split(':').next().unwrap_or(point)
}

/// One of the programs with crash points.
///
/// # Panics
/// If it was not built.
#[track_caller]
pub fn program(name: &str) -> OsString {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let program = target.join("debug").join(name);
    let build = "cargo build --workspace --all-targets --features windlass-tests/crash-points";
    assert!(program.exists(), "{} is not there; `{build}` builds it", program.display());
    program.canonicalize().expect("it exists").into()
}

/// The state in an agent's journal, read as a stranger reads it: by its format, checksum first.
///
/// # Panics
/// If it is not whole.
#[track_caller]
pub fn journal(data: &Path) -> Value {
    let bytes = fs::read(data.join("journal")).expect("the journal is there");
    let end = bytes.iter().position(|byte| *byte == b'\n').expect("it has a first line");
    let (head, body) = (&bytes[..end], &bytes[end + 1..]);
    let head = String::from_utf8_lossy(head);
    assert_eq!(head, format!("windlass-journal 1 {}", Digest::of(body).to_hex()), "the checksum holds");
    serde_json::from_slice(body).expect("it is JSON")
}

/// The number of the plan in an agent's journal; 0 before the first one.
#[track_caller]
pub fn seq(data: &Path) -> u64 {
    journal(data)["plan"]["seq"].as_u64().unwrap_or(0)
}

/// Files in an agent's folder that are on their way to a name, which nobody will ever give them.
pub fn unfinished(data: &Path) -> Vec<String> {
    let names = [data.to_owned(), data.join("releases")].into_iter().flat_map(|folder| names(&folder));
    // The status file is renamed into place all the time, and is worth nothing.
    names.filter(|name| name.ends_with(".tmp") && name != "status.tmp").collect()
}

/// Instances whose files lie in an agent's folder.
pub fn laid_down(data: &Path) -> BTreeSet<String> {
    names(&data.join("files")).into_iter().collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
