//! The reasons why there is nothing to try.

use std::path::PathBuf;

use windlass_core::Span;

use crate::error::Failure;

/// The deadline of the coordinator's first answer, and of the host's readiness.
pub(super) const START: Span = Span::from_secs(20);

/// The deadline of a restart of the agent: it has 10 s to stop.
pub(super) const RESTART: Span = Span::from_secs(30);

/// The reason why there is nothing to try.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevError {
    #[error("`{0}` does not stand beside this program")]
    NoProgram(PathBuf),
    #[error("port {port} of 127.0.0.1, for {purpose}, cannot be used")]
    Port {
        port: u16,
        purpose: &'static str,
        hint: String,
        #[source]
        source: std::io::Error,
    },
    #[error("no engine answers at `{engine}`")]
    NoEngine {
        engine: String,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to start `{program}`")]
    Start {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{program}` ended: {status}{}{words}", if words.is_empty() { "" } else { "; it said: " })]
    Ended { program: String, status: String, words: String, log: PathBuf },
    #[error("the host is not ready after {START}: {why}")]
    NotReady { why: String, engine: String, log: PathBuf },
    #[error("no `windlass dev` answers in `{dir}`")]
    NoDev {
        dir: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the agent does not run again: {said}")]
    NotRestarted { said: String },
    #[error("failed to make `{path}`")]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Failure for DevError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoProgram(_) => {
                Some("install `windlass-server` and `windlass-agent` in the same folder".to_owned())
            }
            Self::Port { hint, .. } => Some(hint.clone()),
            Self::NoEngine { .. } => Some(
                "start it, or name another with `--engine unix:///…`; its socket is for root and the group `docker`"
                    .to_owned(),
            ),
            Self::Ended { log, .. } => Some(format!("its log is {}", log.display())),
            Self::NotReady { engine, log, .. } => Some(format!(
                "does the engine at {engine} run? Name another with `--engine unix:///…`; the agent's log is {}",
                log.display()
            )),
            Self::NoDev { .. } => Some(
                "start it with `windlass dev`; of one that runs, name the folder with `--dir DIR`, or set WINDLASS_HOME as it said"
                    .to_owned(),
            ),
            Self::NotRestarted { .. } => {
                Some("containers run on: mend what it says, then say `windlass dev restart` again".to_owned())
            }
            Self::Start { .. } | Self::Folder { .. } => None,
        }
    }
}
