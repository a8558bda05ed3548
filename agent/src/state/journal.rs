//! One document, checksummed, replaced as a whole: write beside, fsync, rename, fsync the folder.
//!
//! ```text
//! windlass-journal 1 <hex SHA-256 of everything after this line>\n
//! {"version":1,…}
//! ```
//!
//! A file that is missing, cut or changed is an error and never an empty state: an agent that forgot its last
//! `seq` would accept any older plan.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use windlass_certs::files::{self, FileError};
use windlass_core::Digest;
use windlass_process::report;

use super::{REJOIN, State};
use crate::crash::Written;

const MAGIC: &str = "windlass-journal 1 ";
/// A plan of 4 MiB as base64, and as much again.
const MAX_LEN: u64 = 16 << 20;

/// The journal of a running agent. Clones share it.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    state: Mutex<Arc<State>>,
    /// Held from reading the old state until the new one is on disk.
    writing: Arc<tokio::sync::Mutex<()>>,
    /// The reason for which the last write failed.
    trouble: watch::Sender<Option<String>>,
}

/// The reason for which there is no state.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read.
    #[error("failed to read the journal `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what was written.
    #[error("the journal `{path}` is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The mistake.
        what: &'static str,
    },
    /// Its content is of another version, or was written by something else.
    #[error("the journal `{path}` cannot be decoded")]
    Decode {
        /// The file.
        path: PathBuf,
        /// The place and the reason.
        #[source]
        source: serde_json::Error,
    },
    /// It cannot be written; what was to be done must not be done.
    #[error("failed to write the journal")]
    Write(#[from] FileError),
    /// The thread that wrote died.
    #[error("failed to write the journal: the writer died")]
    Writer,
}

impl JournalError {
    /// Returns the next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } | Self::Damaged { .. } | Self::Decode { .. } => Some(REJOIN.to_owned()),
            Self::Write(error) => error.hint().or_else(|| Some("is the disk full?".to_owned())),
            Self::Writer => None,
        }
    }
}

impl Journal {
    /// Writes the first state of a host that joins.
    pub fn create(path: &Path, state: State) -> Result<Self, JournalError> {
        files::replace_secret_telling(path, &encode(&state), &|stage| Written::Journal.at(stage))?;
        Ok(Self::wrap(path, state))
    }

    /// Reads the journal.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let bytes = crate::data::read_bounded(path, MAX_LEN)
            .map_err(|source| JournalError::Read { path: path.to_owned(), source })?;
        Ok(Self::wrap(path, decode(path, &bytes)?))
    }

    /// The state as it is on disk.
    pub fn state(&self) -> Arc<State> {
        self.lock().clone()
    }

    /// Changes the state: on disk first, visible after. Nothing is written if nothing changes. Changes follow each
    /// other; a change that fails leaves everything as it was.
    pub async fn update(&self, change: impl FnOnce(&mut State)) -> Result<(), JournalError> {
        let one_at_a_time = self.inner.writing.clone().lock_owned().await;
        let old = self.state();
        let mut new = State::clone(&old);
        change(&mut new);
        if new == *old {
            return Ok(());
        }
        self.write(new, one_at_a_time).await
    }

    /// Writes the state once more as it is, to see whether anything can be written.
    pub async fn rewrite(&self) -> Result<(), JournalError> {
        let one_at_a_time = self.inner.writing.clone().lock_owned().await;
        self.write(State::clone(&self.state()), one_at_a_time).await
    }

    async fn write(
        &self,
        new: State,
        one_at_a_time: tokio::sync::OwnedMutexGuard<()>,
    ) -> Result<(), JournalError> {
        let journal = self.clone();
        // All in the thread: whoever waits may be dropped, and disk and memory must not differ for that.
        let written = tokio::task::spawn_blocking(move || {
            let tell = |stage| Written::Journal.at(stage);
            match files::replace_secret_telling(&journal.inner.path, &encode(&new), &tell) {
                Ok(()) => {
                    *journal.lock() = Arc::new(new);
                    journal.inner.trouble.send_if_modified(|trouble| trouble.take().is_some());
                }
                Err(error) => {
                    journal.troubled(&error);
                    return Err(error.into());
                }
            }
            drop(one_at_a_time);
            Ok(())
        });
        written.await.map_err(|_| JournalError::Writer)?
    }

    /// Notes that something beside the journal could not be written, which it depends on.
    pub fn troubled(&self, error: &(dyn std::error::Error + 'static)) {
        let why = report::chain(error);
        self.inner.trouble.send_if_modified(|trouble| {
            let is_new = trouble.as_deref() != Some(&why);
            *trouble = Some(why);
            is_new
        });
    }

    /// The reason for which nothing can be written, if there is one.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.inner.trouble.subscribe()
    }

    fn wrap(path: &Path, state: State) -> Self {
        let state = Mutex::new(Arc::new(state));
        let (writing, trouble) = (Arc::default(), watch::Sender::new(None));
        Self { inner: Arc::new(Inner { path: path.to_owned(), state, writing, trouble }) }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<State>> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode(state: &State) -> Vec<u8> {
    let body = serde_json::to_vec(state).expect("only string keys, so it is JSON");
    let mut bytes = format!("{MAGIC}{}\n", Digest::of(&body).to_hex()).into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

fn decode(path: &Path, bytes: &[u8]) -> Result<State, JournalError> {
    let damaged = |what| JournalError::Damaged { path: path.to_owned(), what };
    let end = bytes.iter().position(|b| *b == b'\n').ok_or_else(|| damaged("it has no first line"))?;
    let (head, body) = (&bytes[..end], &bytes[end + 1..]);
    let sum = std::str::from_utf8(head)
        .ok()
        .and_then(|head| head.strip_prefix(MAGIC))
        .ok_or_else(|| damaged("it is no journal of this version"))?;
    if sum != Digest::of(body).to_hex() {
        return Err(damaged("its checksum does not match"));
    }
    let state: State = serde_json::from_slice(body)
        .map_err(|source| JournalError::Decode { path: path.to_owned(), source })?;
    if state.version == 1 { Ok(state) } else { Err(damaged("its state has another version")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use windlass_certs::dsse::{Envelope, PayloadType};
    use windlass_core::Timestamp;
    use windlass_core::plan::HostPlan;

    use super::super::{PlanMark, TrustMark};
    use super::*;

    fn state() -> State {
        let trust = TrustMark { version: 1, digest: Digest::of(b"trust") };
        State::joined(trust, Timestamp::from_millis(1_000))
    }

    #[tokio::test]
    async fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journal = Journal::create(&path, state()).unwrap();
        let first = Journal::open(&path).unwrap().state();
        assert_eq!(*first, state());
        assert_eq!((first.version, first.trust.version, first.trust.digest), (1, 1, Digest::of(b"trust")));
        let plan = PlanMark { epoch: 1, seq: 7, digest: Digest::of(b"plan"), envelope: "{}".to_owned() };
        journal.update(|state| state.plan = Some(plan.clone())).await.unwrap();
        assert_eq!(Journal::open(&path).unwrap().state().plan, Some(plan));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[tokio::test]
    async fn journal_of_an_agent_of_before_is_read_and_written() {
        // By an agent that reads plans up to version 3: r2 runs in its second generation, r3 has failed.
        let before = include_bytes!("before/journal");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        files::replace_secret(&path, before).unwrap();
        let journal = Journal::open(&path).unwrap();
        let state = journal.state();
        let mark = state.plan.as_ref().unwrap();
        assert_eq!((state.trust.version, mark.epoch, mark.seq), (1, 1, 11));
        let envelope = Envelope::parse(mark.envelope.as_bytes(), PayloadType::Plan.max_len()).unwrap();
        assert_eq!(Digest::of(envelope.payload_bytes()), mark.digest);
        let plan: HostPlan = serde_json::from_slice(envelope.payload_bytes()).unwrap();
        assert_eq!((plan.version, plan.slots.len(), plan.slots[0].generation), (2, 1, 1));
        let known = &state.memory.slots[&plan.slots[0].slot];
        assert_eq!((known.serial, &known.ports["http"]), (4, &[20726, 20280]));
        let instance = &known.instances["default.web.0.r2.4"];
        assert!(instance.container.as_ref().unwrap().starts_with("3f0bbf3f98a5"));
        let failed: Vec<_> = state.memory.quarantine.values().flat_map(|of| of.values()).collect();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].reason, "it was not healthy within 10s");
        assert_eq!(encode(&state), before, "what an older agent understands is written as it wrote it");
    }

    #[tokio::test]
    async fn a_change_that_cannot_be_written_did_not_happen() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("gone");
        std::fs::create_dir(&folder).unwrap();
        let journal = Journal::create(&folder.join("journal"), state()).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let changed = journal.update(|state| state.trusted_time = Timestamp::from_millis(5_000)).await;
        assert!(matches!(changed, Err(JournalError::Write(_))));
        assert_eq!(journal.state().trusted_time, Timestamp::from_millis(1_000));
        assert!(journal.trouble().borrow().as_ref().unwrap().contains("failed to write"), "and that is said");
    }

    #[tokio::test]
    async fn a_trouble_is_told_once_and_another_one_again() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(&dir.path().join("journal"), state()).unwrap();
        let mut trouble = journal.trouble();
        let mut tell = |why: &str| {
            journal.troubled(&io::Error::other(why.to_owned()));
            let is_told = trouble.has_changed().unwrap();
            (is_told, trouble.borrow_and_update().clone().unwrap())
        };
        assert_eq!(tell("the disk is full"), (true, "the disk is full".to_owned()));
        assert_eq!(tell("the disk is full"), (false, "the disk is full".to_owned()));
        assert_eq!(tell("it cannot be read"), (true, "it cannot be read".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn as_soon_as_there_is_room_again_the_trouble_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("full");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("journal");
        let journal = Journal::create(&path, state()).unwrap();
        std::fs::rename(&folder, dir.path().join("aside")).unwrap();
        assert!(journal.rewrite().await.is_err());
        let mut trouble = journal.trouble();
        let cancel = tokio_util::sync::CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(super::super::again::run(journal, cancel.clone()));
        assert!(trouble.borrow_and_update().is_some());
        std::fs::rename(dir.path().join("aside"), &folder).unwrap();
        trouble.wait_for(Option::is_none).await.unwrap();
        cancel.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
    }

    #[test]
    fn a_missing_or_damaged_journal_is_never_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let missing = Journal::open(&path).unwrap_err();
        assert!(matches!(missing, JournalError::Read { .. }));
        assert!(missing.hint().unwrap().contains("join again"));
        Journal::create(&path, state()).unwrap();
        let good = std::fs::read(&path).unwrap();
        for cut in 0..good.len() {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert!(Journal::open(&path).is_err(), "cut at {cut}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(Journal::open(&path).is_err(), "bit flipped at {at}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(Path::new("x"), &bytes);
            let mut framed = format!("{MAGIC}{}\n", Digest::of(&bytes).to_hex()).into_bytes();
            framed.extend_from_slice(&bytes);
            prop_assert!(decode(Path::new("x"), &framed).is_err());
        }
    }
}
