//! The signed revocation list: `revocations.json` in the data folder, made with the fleet's revoke key, put
//! there by an admin. For what the coordinator cannot know by itself: an operator's stolen certificate, another
//! coordinator's. Evicted and banned hosts need no list. Agents are given it on their streams, so that they let go of
//! a coordinator whose certificate was stolen; they check it as it is checked here.
//!
//! It is read at the start and whenever it changes. A list only adds here: what was revoked once stays revoked
//! until the coordinator starts again without it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use windlass_certs::dsse::PayloadType;
use windlass_certs::revocation::{RevocationList, Revocations};

use crate::audit;
use crate::crash::Point;
use crate::ledger::{Ledger, WriteError};

const FILE: &str = "revocations.json";
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
    /// What came of the list that was there at the start, until it is in the audit log.
    unwritten: Option<String>,
    published: Published,
}

/// The list in force: its version and envelope, for sessions to pass on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Published(Arc<ArcSwapOption<(u64, Bytes)>>);

impl Published {
    /// The list, if it is newer than version `have`.
    pub(crate) fn after(&self, have: u64) -> Option<(u64, Bytes)> {
        let list = self.0.load();
        list.as_deref().filter(|(version, _)| *version > have).cloned()
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
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                _ = tick.tick() => {}
            }
            let Some(outcome) = self.unwritten.take().or_else(|| self.look()) else { continue };
            let subject = format!("version {}", self.version);
            let fact = audit::fact("coordinator", "revocation.apply", &subject, None, &outcome);
            Point::RevocationBefore.pass();
            match self.ledger.write(move |draft| draft.audit(fact)).await {
                Ok(()) => Point::RevocationAfter.pass(),
                Err(WriteError::Stopping) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Applies the list if it is another one than before. Answers with the outcome then.
    fn look(&mut self) -> Option<String> {
        let bytes = self.read()?;
        if self.seen.as_ref() == Some(&bytes) {
            return None;
        }
        let trust = self.ledger.read(|state| state.trust.document().clone());
        let opened = RevocationList::open(&bytes, &trust, Some(self.version).filter(|version| *version > 0));
        self.seen = Some(bytes.clone());
        match opened {
            Ok(list) => {
                self.version = list.version;
                let cut = self.apply(list);
                self.published.0.store(Some(Arc::new((self.version, bytes.into()))));
                self.ledger.signals().tell_everyone();
                tracing::info!(version = self.version, connections = cut, "applied a revocation list");
                Some("ok".to_owned())
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), error = %windlass_process::report::chain(&error), "refused a revocation list");
                Some(format!("refused: {error}"))
            }
        }
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
