//! One of the programs that `dev` starts, with its log in a file.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use super::error::DevError;

/// So much of a log is read for the last words of its program.
const READ: u64 = 16 * 1024;
/// So many lines of it are shown.
const LINES: usize = 6;
/// The time that a program has to stop.
const GRACE: Duration = Duration::from_secs(10);

pub(super) struct Child {
    program: &'static str,
    inner: tokio::process::Child,
    log: PathBuf,
    /// The length of the log when it began.
    begun_at: u64,
}

impl Child {
    /// Starts a program that stands beside this one.
    pub(super) fn start(
        program: &'static str,
        dir: &Path,
        arguments: impl FnOnce(&mut Command),
    ) -> Result<Self, DevError> {
        let failed = |source| DevError::Start { program: program.to_owned(), source };
        let path = std::env::current_exe().map_err(failed)?.with_file_name(program);
        if !path.is_file() {
            return Err(DevError::NoProgram(path));
        }
        let log = dir.join(format!("{program}.log"));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).map_err(failed)?;
        let begun_at = file.metadata().map_err(failed)?.len();
        let mut command = Command::new(path);
        arguments(&mut command);
        let inner = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(failed)?)
            .stderr(file)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        Ok(Self { program, inner, log, begun_at })
    }

    /// Its log file.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Waits for its end, which is an error unless it went well.
    pub(super) async fn finish(mut self) -> Result<(), DevError> {
        match self.inner.wait().await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.error(status)),
            Err(source) => Err(DevError::Start { program: self.program.to_owned(), source }),
        }
    }

    /// Waits for its end, which nobody asked for.
    pub(super) async fn ended(&mut self) -> DevError {
        match self.inner.wait().await {
            Ok(status) => self.error(status),
            Err(source) => DevError::Start { program: self.program.to_owned(), source },
        }
    }

    /// Asks it to stop, and insists after a while.
    pub(super) async fn stop(&mut self) {
        let id = self.inner.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // It may have ended meanwhile, which is what is wanted.
            let _ = kill_process(id, Signal::TERM);
        }
        if tokio::time::timeout(GRACE, self.inner.wait()).await.is_err() {
            drop(self.inner.kill().await);
        }
    }

    fn error(&self, status: ExitStatus) -> DevError {
        DevError::Ended {
            program: self.program.to_owned(),
            status: status.to_string(),
            words: last_words(&self.log, self.begun_at),
            log: self.log.clone(),
        }
    }
}

/// The last lines that a program wrote to its log, which was `begun_at` bytes long before; each on a line of its own.
fn last_words(log: &Path, begun_at: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(log)?;
        let from = begun_at.max(file.metadata()?.len().saturating_sub(READ));
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(READ).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LINES)..].iter();
    last.map(|line| format!("\n    {}", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_those_of_this_run() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("x.log");
        assert_eq!(last_words(&log, 0), "");
        std::fs::write(&log, "of before\n1\n2\n\n3\n4\n5\n6\n7\n").unwrap();
        assert_eq!(
            last_words(&log, 10),
            ["2", "3", "4", "5", "6", "7"].map(|n| format!("\n    {n}")).concat()
        );
        std::fs::write(&log, "of before\nerror: taken\n").unwrap();
        assert_eq!(last_words(&log, 10), "\n    error: taken");
    }
}
