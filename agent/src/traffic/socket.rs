//! The agent's end of the socket. Whatever an ingress does, stalls or floods, happens in this task: its newest report
//! takes the place of one that nobody has read, and it is read from no faster than `PACE`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use windlass_core::EnvironmentId;
use windlass_core::observation::Observation;
use windlass_core::traffic::{self, Hold};
use windlass_process::report;

use super::tables::Tables;
use super::wire::{self, Down, MOST_DOWN, MOST_TRUST, MOST_UP, PROTOCOL, Position, Up};
use crate::document_store::DocumentStore;
use crate::reconciler::Networks;

/// The shortest time between two reports of one ingress.
const PACE: Duration = Duration::from_millis(500);
/// An ingress reports at least every ten seconds; one that is silent for so long is gone.
const SILENT: Duration = Duration::from_secs(40);
/// Ingresses at once: one that serves, and those that end.
const MOST: usize = 4;
/// The pause after a socket could not be made, and between two checks that it still has its name.
const AGAIN: Duration = Duration::from_secs(5);

/// The newest report of each ingress process that is connected.
pub type Reports = BTreeMap<u64, Bytes>;

/// The task.
#[derive(Debug)]
pub struct Socket {
    /// The path of the socket.
    pub path: PathBuf,
    /// The source of tables and trust documents.
    pub keeper: Arc<DocumentStore>,
    /// The agent's observation: the releases that it has restored are told.
    pub observation: watch::Receiver<Arc<Observation>>,
    /// The inner networks of this host.
    pub networks: watch::Receiver<Networks>,
    /// The reports that come.
    pub reports: watch::Sender<Arc<Reports>>,
    /// Asks the task to end.
    pub cancel: CancellationToken,
}

impl Socket {
    /// Listens until it is cancelled. A socket that cannot be made is tried again: the agent goes on without.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut said = false;
        loop {
            match listen(&self.path) {
                Ok(listener) => {
                    said = false;
                    if self.accept(&listener).await {
                        return Ok(());
                    }
                    continue; // its name has gone
                }
                Err(error) if !said => {
                    said = true;
                    tracing::error!(path = %self.path.display(), error = %report::chain(&error), "no ingress can connect");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = self.cancel.cancelled() => return Ok(()),
                () = sleep(AGAIN) => {}
            }
        }
    }

    /// Accepts until it is cancelled, or until the socket's name has gone. Answers with whether it was cancelled.
    async fn accept(&self, listener: &UnixListener) -> bool {
        let mut open = JoinSet::new();
        let place = || fs::symlink_metadata(&self.path).map(|meta| (meta.dev(), meta.ino())).ok();
        let (made, mut look) = (place(), interval(AGAIN));
        loop {
            let accepted = tokio::select! {
                () = self.cancel.cancelled() => return true,
                _ = look.tick() => {
                    // A folder below /run that is emptied takes the name away, and no ingress could come back.
                    if made != place() { return false }
                    continue;
                }
                Some(_) = open.join_next() => continue,
                accepted = listener.accept(), if open.len() < MOST => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (keeper, reports) = (self.keeper.clone(), self.reports.clone());
                    let sources = Sources {
                        keeper,
                        observation: self.observation.clone(),
                        networks: self.networks.clone(),
                    };
                    open.spawn(async move { serve(stream, sources, &reports).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "an ingress could not connect");
                    sleep(PACE).await;
                }
            }
        }
    }
}

/// Replaces the socket that an earlier agent left. Only for the holder of the lock of the agent's folder.
///
/// # Errors
/// The socket cannot be made, or given to the group of its folder.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // Its folder says who gets here; the ingress runs as another user of the folder's group.
    if let Some(folder) = path.parent() {
        let group = fs::metadata(folder)?.gid();
        std::os::unix::fs::chown(path, None, Some(group))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// The sources of an ingress: documents, ports of restored releases, inner networks.
struct Sources {
    keeper: Arc<DocumentStore>,
    observation: watch::Receiver<Arc<Observation>>,
    networks: watch::Receiver<Networks>,
}

/// One connection, until it ends.
async fn serve(stream: impl AsyncRead + AsyncWrite, sources: Sources, reports: &watch::Sender<Arc<Reports>>) {
    let (mut from, mut to) = tokio::io::split(stream);
    let hello = timeout(wire::WRITE, wire::read(&mut from, MOST_UP)).await;
    let (trust, tables) = match hello {
        Ok(Ok(Some(Up::Hello { protocol: PROTOCOL, trust, tables }))) => (trust, tables),
        other => {
            let why = match other {
                Ok(Ok(Some(Up::Hello { protocol, .. }))) => {
                    format!("it speaks version {protocol}, this agent {PROTOCOL}")
                }
                Ok(Err(error)) => error.to_string(),
                Ok(Ok(_)) | Err(_) => "it did not begin with a hello".to_owned(),
            };
            return tracing::warn!(why, "a connection from no ingress was closed");
        }
    };
    tracing::info!(trust, tables = tables.len(), "an ingress is connected");
    let mut process = None;
    let (said, has) = watch::channel(Told { trust, tables });
    let ended = tokio::select! {
        ended = hear(&mut from, reports, &mut process, &said) => ended,
        ended = send_documents(&mut to, sources, has) => ended,
    };
    if let Some(process) = process {
        reports.send_modify(|reports| {
            Arc::make_mut(reports).remove(&process);
        });
    }
    match ended {
        Ok(()) => tracing::info!("an ingress has left; it goes on by its last tables if it runs"),
        Err(error) => tracing::warn!(%error, "the connection of an ingress ended"),
    }
}

/// The documents of an ingress: those in its last message, and those sent since.
#[derive(Debug, Clone)]
struct Told {
    trust: u64,
    tables: BTreeMap<EnvironmentId, Position>,
}

impl Told {
    /// Returns the tables that the ingress lacks, and counts them as sent.
    fn missing(&mut self, newest: &Tables) -> Vec<String> {
        let mut missing = Vec::new();
        for (environment, table) in newest {
            let position = Position::from(table.accepted);
            if self.tables.insert(environment.clone(), position) != Some(position) {
                missing.push(String::from_utf8_lossy(&table.envelope).into_owned());
            }
        }
        missing
    }
}

/// Takes reports, the newest in the place of the one before, and the ingress's word on what it has.
async fn hear(
    from: &mut (impl AsyncRead + Unpin),
    reports: &watch::Sender<Arc<Reports>>,
    process: &mut Option<u64>,
    said: &watch::Sender<Told>,
) -> io::Result<()> {
    loop {
        let read = timeout(SILENT, wire::read(from, MOST_UP)).await;
        match read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))? {
            None => return Ok(()),
            Some(Up::Report(report)) => {
                let number = report.process;
                report.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                if process.is_some_and(|known| known != number) {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "its process is another one now"));
                }
                *process = Some(number);
                let bytes = Bytes::from(report.to_bytes());
                reports.send_modify(|reports| {
                    Arc::make_mut(reports).insert(number, bytes);
                });
            }
            Some(Up::Has { trust, tables }) => drop(said.send_replace(Told { trust, tables })),
            Some(Up::Hello { .. } | Up::Unknown) => {}
        }
        sleep(PACE).await;
    }
}

/// Hands on trust documents, then tables, whenever there are newer ones than the ingress has, the ports of restored releases, and
/// inner networks.
async fn send_documents(
    to: &mut (impl AsyncWrite + Unpin),
    sources: Sources,
    mut has: watch::Receiver<Told>,
) -> io::Result<()> {
    let Sources { keeper, mut observation, mut networks } = sources;
    let member = keeper.member();
    let (fleet, host, reach) = (member.fleet.clone(), member.host.clone(), keeper.reach());
    let hello = Down::Hello { protocol: PROTOCOL, fleet, host, reach };
    wire::write(to, &hello, MOST_DOWN).await?;
    let (mut versions, mut newest) = (keeper.trust_version(), keeper.tables());
    let mut held: Option<Vec<Hold>> = None;
    let mut called: Networks = None;
    let mut told_all = false;
    let mut told = has.borrow_and_update().clone();
    loop {
        let version = *versions.borrow_and_update();
        while told.trust < version {
            let envelopes = keeper.trust_after(told.trust, MOST_TRUST).await;
            told.trust = if envelopes.len() < MOST_TRUST { version } else { told.trust + MOST_TRUST as u64 };
            let texts = envelopes.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            wire::write(to, &Down::Trust { envelopes: texts.collect() }, MOST_DOWN).await?;
        }
        let tables = newest.borrow_and_update().clone();
        for envelope in told.missing(&tables) {
            wire::write(to, &Down::Table { envelope }, MOST_DOWN).await?;
        }
        let seen = observation.borrow_and_update().clone();
        // Before its first look an agent knows of nothing, and what an ingress was told by the one before stands.
        let holds = Some(traffic::holds(&seen)).filter(|_| seen.revision > 0);
        if let Some(holds) = holds.filter(|holds| held.as_ref() != Some(holds)) {
            wire::write(to, &Down::Holds { holds: holds.clone() }, MOST_DOWN).await?;
            held = Some(holds);
        }
        let inner = networks.borrow_and_update().clone();
        if let Some(inner) = inner.filter(|inner| called.as_ref() != Some(inner)) {
            wire::write(to, &Down::Networks { networks: inner.to_vec() }, MOST_DOWN).await?;
            called = Some(inner);
        }
        if !std::mem::replace(&mut told_all, true) {
            wire::write(to, &Down::Told, MOST_DOWN).await?;
        }
        tokio::select! {
            Ok(()) = versions.changed() => {}
            Ok(()) = newest.changed() => {}
            Ok(()) = observation.changed() => {}
            Ok(()) = networks.changed() => {}
            Ok(()) = has.changed() => told = has.borrow_and_update().clone(),
            else => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::Digest;
    use windlass_core::verify::{AcceptedRoutes, Committed};

    use super::*;
    use crate::traffic::tables::Table;

    fn tables(seq: u64) -> Tables {
        let committed = Committed { seq, digest: Digest::of(&seq.to_be_bytes()) };
        let accepted = AcceptedRoutes { epoch: 1, committed };
        let envelope = Arc::from(format!("table {seq}").into_bytes());
        Tables::from([("production".parse().unwrap(), Table { accepted, envelope })])
    }

    /// Complaint 12 about other proxies (linkerd/linkerd2#10491): one notice that was lost, and endpoints of long ago for ever.
    #[tokio::test(start_paused = true)]
    async fn a_table_that_was_lost_is_told_again() {
        let (said, mut has) = watch::channel(Told { trust: 1, tables: BTreeMap::new() });
        let mut told = has.borrow_and_update().clone();
        assert_eq!(told.missing(&tables(7)), ["table 7"]);
        assert!(told.missing(&tables(7)).is_empty(), "it was told, for all that is known");
        // It never got there, and the ingress says that it has the one before.
        let (mut ingress, mut agent) = tokio::io::duplex(4096);
        let before = tables(6).into_iter().map(|(name, table)| (name, table.accepted.into())).collect();
        wire::write(&mut ingress, &Up::Has { trust: 1, tables: before }, MOST_UP).await.unwrap();
        let (reports, mut process) = (watch::Sender::default(), None);
        tokio::select! {
            ended = hear(&mut agent, &reports, &mut process, &said) => panic!("{ended:?}"),
            changed = has.changed() => changed.unwrap(),
        }
        told = has.borrow_and_update().clone();
        assert_eq!(told.missing(&tables(7)), ["table 7"]);
        assert!(told.missing(&tables(7)).is_empty());
        assert_eq!(told.missing(&tables(8)), ["table 8"]);
    }
}
