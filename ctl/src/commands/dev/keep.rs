//! The agent of `dev` while a fleet runs: started again when it ends, a few times, and when `dev restart` asks for it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use windlass_process::report::chain;

use super::child::Child;
use super::error::{DevError, RESTART};
use crate::error::CtlError;
use crate::exit::Exit;
use crate::home::Home;
use crate::printer::Printer;

/// So often an agent that ended is started again, and after so long.
const AGAIN: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// An agent that cannot read its policy ends within this.
const SETTLES: Duration = Duration::from_secs(2);
/// The place in the folder of a fleet where `dev restart` and `dev` meet.
const SOCKET: &str = "dev.sock";
/// The answer where the agent runs again; else the reason why not.
const DONE: &str = "started";
/// Bytes of an answer at most, and the time that a caller has to take it.
const MOST: u64 = 16 * 1024;
const TAKES: Duration = Duration::from_secs(1);

/// Where a restart is asked for. Only the owner of the folder can.
pub(super) struct Callers {
    listener: UnixListener,
    path: PathBuf,
}

impl Callers {
    pub(super) fn open(dir: &Path) -> std::io::Result<Self> {
        let path = dir.join(SOCKET);
        // Of a `dev` that was killed; one that runs has the port of the coordinator, and this one would not be here.
        drop(std::fs::remove_file(&path));
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    async fn next(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((caller, _)) => return caller,
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

/// The next caller; waits for ever where none can come.
async fn caller(callers: Option<&Callers>) -> UnixStream {
    match callers {
        Some(callers) => callers.next().await,
        None => std::future::pending().await,
    }
}

/// Keeps the agent running; answers with its last end. One that a person had started again and that ended at once waits for the
/// next time that a person asks: the policy wants mending first.
pub(super) async fn kept(
    agent: &mut Child,
    start: impl Fn() -> Result<Child, DevError>,
    callers: Option<&Callers>,
    printer: &Printer,
) -> DevError {
    let (mut ends, mut is_down) = (0, false);
    loop {
        tokio::select! {
            error = agent.ended(), if !is_down => {
                ends += 1;
                if ends > AGAIN {
                    return error;
                }
                let why = chain(&error);
                printer.warn(&format!("{why}; containers run on, and it is started again ({ends} of {AGAIN})"));
                sleep(PAUSE).await;
                match start() {
                    Ok(next) => *agent = next,
                    Err(error) => return error,
                }
            }
            mut caller = caller(callers) => {
                let ended = anew(agent, &start).await.err();
                is_down = ended.is_some();
                let answer = ended.as_ref().map_or_else(|| DONE.to_owned(), |error| chain(error));
                match &ended {
                    None => printer.note("the agent is started again, as asked"),
                    Some(_) => printer.warn(&format!("{answer}; containers run on until `windlass dev restart` succeeds")),
                }
                // A caller that has gone has its answer on our screen.
                drop(timeout(TAKES, caller.write_all(answer.as_bytes())).await);
            }
        }
    }
}

/// Stops the agent and starts it again; an error if it ends at once.
async fn anew(agent: &mut Child, start: impl Fn() -> Result<Child, DevError>) -> Result<(), DevError> {
    agent.stop().await;
    *agent = start()?;
    tokio::select! {
        error = agent.ended() => Err(error),
        () = sleep(SETTLES) => Ok(()),
    }
}

/// Asks the `dev` that runs in a folder for a restart of its agent.
pub(super) async fn restart(dir: Option<&Path>, printer: &Printer) -> Result<Exit, CtlError> {
    let dir = match dir {
        Some(dir) => dir.to_owned(),
        None => Home::find()?.path().parent().map(Path::to_owned).unwrap_or_default(),
    };
    let asked = async {
        let caller = UnixStream::connect(dir.join(SOCKET)).await?;
        let mut said = String::new();
        caller.take(MOST).read_to_string(&mut said).await?;
        // One that ends meanwhile closes the socket without a word.
        if said.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(said) }
    };
    let late = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {RESTART}"));
    let said = timeout(RESTART.duration(), asked).await.map_err(late).and_then(|said| said);
    match said {
        Ok(said) if said == DONE => {
            printer.result(&format!(
                "the agent runs again, with the policy of {}",
                dir.join("policy.toml").display()
            ));
            Ok(Exit::Done)
        }
        Ok(said) => Err(DevError::NotRestarted { said }.into()),
        Err(source) => Err(DevError::NoDev { dir, source }.into()),
    }
}
