//! Memory of GPUs by `nvidia-smi`, for drivers before 510: they lack `nvmlDeviceGetMemoryInfo_v2`, the only memory call of the binding.
//!
//! It runs as a child of the process that calls the library. It may hang as the library may: only the first look waits for it, briefly;
//! later looks take its last output.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Bytes in all and in use, by UUID.
type Memory = BTreeMap<String, (u64, u64)>;

/// `timeout` kills it after 20 s, even if the agent has died.
const KILL_AFTER: [&str; 4] = ["timeout", "-s", "KILL", "20"];
const QUESTION: [&str; 3] =
    ["nvidia-smi", "--query-gpu=uuid,memory.total,memory.used", "--format=csv,noheader,nounits"];
/// Time between two questions: it loads the library anew at each.
const EVERY: Duration = Duration::from_secs(30);
/// Time that the first look waits for its answer, and between two looks at whether it is there.
const FIRST: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);
/// Longest answer: some seventy bytes per GPU.
const MOST: u64 = 64 << 10;

/// The answers of `nvidia-smi`.
#[derive(Debug, Default)]
pub(super) struct Smi {
    known: Memory,
    asked: Option<Instant>,
    running: Option<Child>,
    /// It had to be killed, and is asked no more: one in the kernel's hands does not end by that.
    gave_up: bool,
}

impl Smi {
    /// The memory of a GPU, in all and in use, as it was told last; `None` if it never was.
    pub(super) fn memory(&mut self, uuid: &str) -> Option<(u64, u64)> {
        self.take();
        let is_first = self.asked.is_none();
        if !self.gave_up && self.running.is_none() && self.asked.is_none_or(|at| at.elapsed() >= EVERY) {
            self.asked = Some(Instant::now());
            self.running = start();
        }
        let end = Instant::now() + FIRST;
        while is_first && self.running.is_some() && Instant::now() < end {
            sleep(PAUSE);
            self.take();
        }
        self.known.get(uuid).copied()
    }

    /// Takes the answer in, if it is there.
    fn take(&mut self) {
        let Some(child) = &mut self.running else { return };
        let told = match child.try_wait() {
            Ok(None) => return,
            Ok(Some(ended)) if was_killed(ended) => {
                self.gave_up = true;
                None
            }
            Ok(Some(ended)) => child.stdout.take().filter(|_| ended.success()).map(read),
            Err(_) => None,
        };
        self.running = None;
        if let Some(told) = told.filter(|told| !told.is_empty()) {
            self.known = told;
        }
    }
}

/// Whether `timeout` killed it, by which it may end itself as well.
fn was_killed(ended: ExitStatus) -> bool {
    ended.signal().is_some() || matches!(ended.code(), Some(124 | 137))
}

fn start() -> Option<Child> {
    let mut command = Command::new(KILL_AFTER[0]);
    command
        .args(&KILL_AFTER[1..])
        .args(QUESTION)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command.spawn().ok()
}

fn read(output: ChildStdout) -> Memory {
    let mut text = String::new();
    match output.take(MOST).read_to_string(&mut text) {
        Ok(_) => text.lines().filter_map(line).collect(),
        Err(_) => Memory::new(),
    }
}

/// `GPU-1f0e…, 24576, 1000`, in MiB; `[N/A]` in the place of a number that it cannot tell.
fn line(line: &str) -> Option<(String, (u64, u64))> {
    let mut fields = line.split(',').map(str::trim);
    let uuid = fields.next().filter(|uuid| uuid.starts_with("GPU-"))?;
    let mut bytes = || fields.next()?.parse::<u64>().ok()?.checked_mul(1 << 20);
    let (total, used) = (bytes()?, bytes()?);
    Some((uuid.to_owned(), (total, used)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_smi_is_a_gpu_or_nothing() {
        let known = |text: &str| line(text).map(|(_, (total, used))| (total >> 20, used >> 20));
        assert_eq!(known("GPU-1, 24576, 1000"), Some((24_576, 1000)));
        for nothing in [
            "",
            "GPU-1",
            "GPU-1, 24576",
            "GPU-1, [N/A], [N/A]",
            "GPU-1, [Not Supported], 7",
            "GPU-1, 18446744073709551615, 7",
            "No devices were found",
        ] {
            assert_eq!(known(nothing), None, "{nothing}");
        }
    }
}
