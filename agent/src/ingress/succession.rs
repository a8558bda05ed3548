//! The take-over of one ingress process by the next: no connection is refused, and open ones end in the old process.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use windlass_core::EnvironmentId;
use windlass_ingress::Doubt;
use windlass_ingress::handover::{self, Inheritance, Listener, Successor};
use windlass_process::report;

use super::doors::{Order, Sockets};
use super::error::IngressError;
use super::follower::Follower;
use super::state::{State, StateError};
use crate::data::{DataDir, DataError, Lock, on_disk};
use crate::traffic::wire::Position;

const NAME: &str = "handover.sock";
/// The pause between two looks at the folder's lock.
const PAUSE: Duration = Duration::from_millis(50);
/// The number of looks of a successor: for ten seconds and more.
const LOOKS: usize = 200;

type Positions = BTreeMap<EnvironmentId, Position>;

/// A process that begins: its predecessor, listeners, tables and lock.
#[derive(Debug)]
pub(super) struct Begin {
    successor: Option<Successor>,
    inherited: Vec<Listener>,
    /// Endpoints on which requests failed in the process before.
    doubts: Vec<Doubt>,
    /// The tables that the process before has in force.
    positions: Positions,
    lock: Option<Lock>,
}

impl Begin {
    /// Takes what a process that serves hands over, or the lock if there is none.
    pub(super) async fn new(folder: &Path) -> Result<Self, IngressError> {
        let data = DataDir::create(folder).map_err(StateError::from)?;
        for _ in 0..LOOKS {
            let path = folder.join(NAME);
            let taken = on_disk(move || UnixStream::connect(path).map(Successor::take)).await;
            match taken {
                Ok(taken) => return Self::after(taken).map_err(|source| take_over(folder, source)),
                // Nobody listens: the first process, or one that has not begun to listen yet.
                Err(_) => match lock(&data).await {
                    Ok(lock) => {
                        return Ok(Self {
                            successor: None,
                            inherited: Vec::new(),
                            doubts: Vec::new(),
                            positions: Positions::new(),
                            lock: Some(lock),
                        });
                    }
                    Err(DataError::Busy { .. }) => sleep(PAUSE).await,
                    Err(error) => return Err(StateError::from(error).into()),
                },
            }
        }
        Err(StateError::Busy(folder.to_owned()).into())
    }

    fn after(taken: io::Result<(Successor, Inheritance)>) -> io::Result<Self> {
        let (successor, Inheritance { listeners, state, doubts }) = taken?;
        let positions: Positions = serde_json::from_slice(&state).map_err(io::Error::other)?;
        tracing::info!(
            listeners = listeners.len(),
            tables = positions.len(),
            "taking over from a process that serves"
        );
        Ok(Self { successor: Some(successor), inherited: listeners, doubts, positions, lock: None })
    }

    /// Whether a process serves that it takes over from.
    pub(super) const fn takes_over(&self) -> bool {
        self.successor.is_some()
    }

    /// The listeners of the process before.
    pub(super) fn inherited(&mut self) -> Vec<Listener> {
        std::mem::take(&mut self.inherited)
    }

    /// Endpoints on which requests failed in the process before.
    pub(super) fn doubts(&mut self) -> Vec<Doubt> {
        std::mem::take(&mut self.doubts)
    }

    /// Says that all is verified, and waits until the process before has stopped accepting. Answers with the lock of the
    /// folder, and with what it holds now.
    pub(super) async fn ready(
        self,
        folder: &Path,
    ) -> Result<(Lock, State, Vec<windlass_core::traffic::Routes>), IngressError> {
        if let Some(successor) = self.successor {
            on_disk(move || successor.ready()).await.map_err(|source| take_over(folder, source))?;
        }
        let lock = match self.lock {
            Some(lock) => lock,
            None => {
                let data = DataDir::open(folder).map_err(StateError::from)?;
                wait_for(&data).await?
            }
        };
        // The process before may have written a newer table while this one began.
        let (state, tables) = State::open(folder)?;
        let behind = |(name, theirs): &(&EnvironmentId, &Position)| {
            let mine = state.positions().get(*name).map(|mine| (mine.epoch, mine.seq));
            mine < Some((theirs.epoch, theirs.seq))
        };
        if let Some((environment, _)) = self.positions.iter().find(behind) {
            // Its folder is another one, or was put back: the agent sends the newest again.
            tracing::error!(%environment, "the traffic table on the disk is older than the one that was in force");
        }
        Ok((lock, state, tables))
    }
}

fn take_over(folder: &Path, source: io::Error) -> IngressError {
    IngressError::TakeOver { folder: folder.to_owned(), source }
}

async fn lock(data: &DataDir) -> Result<Lock, DataError> {
    let data = data.clone();
    on_disk(move || data.lock()).await
}

async fn wait_for(data: &DataDir) -> Result<Lock, StateError> {
    for _ in 0..LOOKS {
        match lock(data).await {
            Err(DataError::Busy { .. }) => sleep(PAUSE).await,
            decided => return Ok(decided?),
        }
    }
    Err(StateError::Busy(data.root().to_owned()))
}

/// The task that waits for a successor.
#[derive(Debug)]
pub(super) struct Succession {
    pub(super) folder: PathBuf,
    pub(super) sockets: Sockets,
    pub(super) follower: Arc<Follower>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) lock: Option<Lock>,
    pub(super) succeeded: Option<oneshot::Sender<()>>,
    pub(super) cancel: CancellationToken,
}

impl Succession {
    /// Hands over to the first successor that is ready; one that is not changes nothing.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let (listener, cancel) = (listen(&self.folder)?, self.cancel.clone());
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                accepted = listener.accept() => accepted,
            };
            let handed = match accepted {
                Ok((stream, _)) => {
                    tokio::select! {
                        () = cancel.cancelled() => return Ok(()),
                        handed = self.hand_over(stream.into_std()?) => handed,
                    }
                }
                Err(error) => Err(error),
            };
            match handed {
                Ok(()) => {
                    tracing::info!("a successor has taken over");
                    if let Some(succeeded) = self.succeeded.take() {
                        let _ = succeeded.send(()); // this process is ending anyhow
                    }
                    self.cancel.cancelled().await;
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(error = %report::chain(&error), "a take-over failed; this process goes on");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn hand_over(&mut self, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        let sockets = self.sockets.copies()?;
        if sockets.is_empty() {
            return Err(io::Error::other("this process is ending and has no listener any more"));
        }
        let state = serde_json::to_vec(&self.follower.has().1).map_err(io::Error::other)?;
        let doubts = self.follower.ingress.doubts();
        let ready = on_disk(move || handover::offer(stream, &sockets, &state, doubts)).await?;
        // The successor is ready. From here to `stopped` nobody accepts; clients wait in the kernel's queue.
        self.follower.write(false);
        let (done, closed) = oneshot::channel();
        self.orders.send(Order::Close(done)).await.map_err(io::Error::other)?;
        closed.await.map_err(io::Error::other)?;
        self.lock = None;
        match on_disk(move || ready.stopped()).await {
            Ok(()) => {
                self.sockets.close();
                Ok(())
            }
            Err(error) => {
                let data = DataDir::open(&self.folder).map_err(io::Error::other)?;
                self.lock = Some(wait_for(&data).await.map_err(io::Error::other)?);
                self.follower.write(true);
                self.orders.send(Order::Open).await.map_err(io::Error::other)?;
                Err(error)
            }
        }
    }
}

/// Replaces the socket of the process before, which listens on until it ends.
fn listen(folder: &Path) -> io::Result<UnixListener> {
    let beside = folder.join(format!("{NAME}.{}", std::process::id()));
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&beside)?;
    fs::rename(&beside, folder.join(NAME))?;
    Ok(listener)
}
