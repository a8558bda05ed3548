//! One of the programs that `dev` starts, with its log in a file.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use super::DevError;

/// How long a program may take to stop.
const GRACE: Duration = Duration::from_secs(10);

pub(super) struct Child {
    program: &'static str,
    inner: tokio::process::Child,
    log: PathBuf,
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
        Ok(Self { program, inner, log })
    }

    /// Where it writes to.
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
    pub(super) async fn stop(mut self) {
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
            log: self.log.clone(),
        }
    }
}
