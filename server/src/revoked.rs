//! The signed revocation list: `revocations.json` in the data folder, made with the fleet's revoke key
//! (`windlass trust revoke`), published by an admin or put there by hand. For what the coordinator cannot know by itself: an operator's stolen certificate, another
//! coordinator's. Evicted and banned hosts need no list. Agents are given it on their streams, so that they let go of
//! a coordinator whose certificate was stolen; they check it as it is checked here.
//!
//! It is read at the start and whenever it changes. A list only adds here: what was revoked once stays revoked
//! until the coordinator starts again without it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::files::{self, FileError};
use windlass_certs::revocation::{ListError, RevocationList, Revocations};

use crate::audit;
use crate::crash::Point;
use crate::ledger::{Ledger, WriteError};

const FILE: &str = "revocations.json";
/// The number of operators that may wait for their turn.
const OFFERS: usize = 8;
/// The longest wait of one of them.
const PATIENCE: Duration = Duration::from_secs(20);
const EVERY: Duration = Duration::from_secs(5);
/// An envelope of the longest list; what is longer is none.
const MAX_FILE: u64 = 2 * PayloadType::Revocation.max_len() as u64 + (64 << 10);

/// The list's file, and what was last read of it.
pub(crate) struct RevokedFile {
    path: PathBuf,
    ledger: Ledger,
    revocations: Revocations,
    seen: Option<Vec<u8>>,
    version: u64,
    /// The message about the list that was there at the start, until it is in the audit log.
    unwritten: Option<String>,
    published: Published,
}

/// The list in force: its version and envelope, for sessions to pass on. And the way to whoever puts the next in force.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    list: Arc<ArcSwapOption<(u64, Bytes)>>,
    offers: mpsc::Sender<Offer>,
    taker: Arc<Mutex<Option<mpsc::Receiver<Offer>>>>,
}

/// A list that an operator publishes.
#[derive(Debug)]
struct Offer {
    envelope: Vec<u8>,
    actor: String,
    answer: oneshot::Sender<Result<u64, OfferError>>,
}

/// The reason for which a list was not published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfferError {
    /// It is not believed, or not newer.
    #[error(transparent)]
    List(#[from] ListError),
    /// Not stored.
    #[error(transparent)]
    File(#[from] FileError),
    /// The coordinator stops, or is too busy.
    #[error("the coordinator did not take the revocation list in time")]
    Busy,
}

/// Whether these bytes are the envelope of a revocation list.
pub(crate) fn is_list(envelope: &[u8]) -> bool {
    Envelope::parse(envelope, PayloadType::Revocation.max_len())
        .is_ok_and(|envelope| envelope.payload_type() == PayloadType::Revocation)
}

impl Default for Published {
    fn default() -> Self {
        let (offers, taker) = mpsc::channel(OFFERS);
        Self { list: Arc::default(), offers, taker: Arc::new(Mutex::new(Some(taker))) }
    }
}

impl Published {
    /// The list, if it is newer than version `have`.
    pub(crate) fn after(&self, have: u64) -> Option<(u64, Bytes)> {
        let list = self.list.load();
        list.as_deref().filter(|(version, _)| *version > have).cloned()
    }

    /// Puts a newer list in force. Answers with its version.
    pub(crate) async fn publish(&self, envelope: Vec<u8>, actor: String) -> Result<u64, OfferError> {
        let (answer, answered) = oneshot::channel();
        let offer = Offer { envelope, actor, answer };
        let published = async {
            self.offers.send(offer).await.map_err(|_| OfferError::Busy)?;
            answered.await.map_err(|_| OfferError::Busy)?
        };
        timeout(PATIENCE, published).await.map_err(|_| OfferError::Busy)?
    }
}

impl RevokedFile {
    /// Reads the list, if there is one, before anybody connects.
    pub(crate) fn new(data: &Path, ledger: Ledger, revocations: Revocations, published: Published) -> Self {
        let path = data.join(FILE);
        let mut file = Self { path, ledger, revocations, seen: None, version: 0, unwritten: None, published };
        file.unwritten = file.look();
        file
    }

    /// Until `cancel`.
    pub(crate) async fn run(mut self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut offers = self.published.taker.lock().unwrap_or_else(PoisonError::into_inner).take();
        loop {
            let offer = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                _ = tick.tick() => None,
                Some(offer) = next(&mut offers) => Some(offer),
            };
            let (actor, outcome, answer) = match offer {
                None => match self.unwritten.take().or_else(|| self.look()) {
                    Some(outcome) => ("coordinator".to_owned(), outcome, None),
                    None => continue,
                },
                Some(Offer { envelope, actor, answer }) => {
                    let taken = self.offered(envelope);
                    (actor, told(&taken), Some((answer, taken)))
                }
            };
            let subject = format!("version {}", self.version);
            let fact = audit::fact(&actor, "revocation.apply", &subject, None, &outcome);
            Point::RevocationBefore.pass();
            match self.ledger.write(move |batch| batch.audit(fact)).await {
                Ok(()) => Point::RevocationAfter.pass(),
                Err(WriteError::Stopping) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if let Some((answer, taken)) = answer {
                // Nobody may wait any more.
                drop(answer.send(taken));
            }
        }
    }

    /// Stores a list that is newer than the one in force, and puts it in force.
    fn offered(&mut self, envelope: Vec<u8>) -> Result<u64, OfferError> {
        let list = self.open(&envelope)?;
        files::replace_secret(&self.path, &envelope)?;
        Ok(self.take(list, envelope))
    }

    /// Applies the list if it is another one than before. Answers with the outcome then.
    fn look(&mut self) -> Option<String> {
        let bytes = self.read()?;
        if self.seen.as_ref() == Some(&bytes) {
            return None;
        }
        let opened = self.open(&bytes);
        if let Err(error) = &opened {
            tracing::error!(path = %self.path.display(), error = %windlass_process::report::chain(error), "refused a revocation list");
        }
        let taken = match opened {
            Ok(list) => Ok(self.take(list, bytes)),
            Err(error) => {
                self.seen = Some(bytes);
                Err(error.into())
            }
        };
        Some(told(&taken))
    }

    fn open(&self, envelope: &[u8]) -> Result<RevocationList, ListError> {
        let trust = self.ledger.read(|state| state.trust.document().clone());
        RevocationList::open(envelope, &trust, Some(self.version).filter(|version| *version > 0))
    }

    /// Puts a list in force, and tells everybody. Answers with its version.
    fn take(&mut self, list: RevocationList, envelope: Vec<u8>) -> u64 {
        self.version = list.version;
        let cut = self.apply(list);
        self.seen = Some(envelope.clone());
        self.published.list.store(Some(Arc::new((self.version, envelope.into()))));
        self.ledger.signals().wake_everyone();
        tracing::info!(version = self.version, connections = cut, "applied a revocation list");
        self.version
    }

    fn apply(&self, list: RevocationList) -> usize {
        let serials = list.revoked.serials.into_iter().map(|serial| self.revocations.revoke_serial(serial));
        let cut: usize = serials.sum();
        let identities = list.revoked.identities.iter();
        cut + identities.map(|(who, up_to)| self.revocations.revoke_identity(who, *up_to)).sum::<usize>()
    }

    fn read(&self) -> Option<Vec<u8>> {
        let meta = std::fs::metadata(&self.path).ok()?;
        if !meta.is_file() || meta.len() > MAX_FILE {
            tracing::warn!(path = %self.path.display(), "not a revocation list");
            return None;
        }
        std::fs::read(&self.path).ok()
    }
}

/// The outcome for the audit log.
fn told(taken: &Result<u64, OfferError>) -> String {
    taken.as_ref().map_or_else(|error| format!("refused: {error}"), |_| "ok".to_owned())
}

/// The next list that somebody publishes, if anybody ever does.
async fn next(offers: &mut Option<mpsc::Receiver<Offer>>) -> Option<Offer> {
    match offers {
        Some(offers) => offers.recv().await,
        None => None,
    }
}
