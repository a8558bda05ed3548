//! New versions of the trust document, and checkpoints of the audit log.

use std::sync::Arc;

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::files::{self, FileError};
use windlass_certs::json;
use windlass_certs::trust::{TrustDocument, TrustError, TrustStore};
use windlass_core::audit::Checkpoint;
use windlass_core::receipt::Witnessed;

use super::{DocumentStore, kept};
use crate::crash::Written;
use crate::data::on_disk;
use crate::state::{JournalError, TrustMark};
use crate::verify;

/// The reason for which a trust document is not in force.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// It is not believed.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It could not be written.
    #[error("failed to keep the trust document")]
    File(#[from] FileError),
    /// It could not be journaled.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal is lost.
    #[error("this host adopts what runs and takes no trust document: its journal is lost")]
    Adopting,
}

impl DocumentStore {
    /// Walks from the trust document in force through `envelopes`, the oldest first. Answers how many versions were
    /// taken; those before an error stay.
    pub async fn take_trust(&self, envelopes: &[Vec<u8>]) -> Result<usize, TakeError> {
        let _one_at_a_time = self.accepting.lock().await;
        let journal = self.journal.as_ref().map_err(|_| TakeError::Adopting)?;
        let (before, given) = (TrustStore::clone(&self.trust()), envelopes.to_vec());
        // Beside the loop: a thousand versions at once are seconds of work.
        let (store, walked, versions) = on_disk(move || {
            let mut store = before.clone();
            let walked = store.walk(given.iter().map(Vec::as_slice));
            let is_newer = store.version() > before.version();
            let versions = if is_newer { kept::believed(&before, &given) } else { Vec::new() };
            (store, walked, versions)
        })
        .await;
        let taken = store.version().saturating_sub(self.trust().version());
        if taken > 0 {
            let data = self.data.clone();
            on_disk(move || versions.iter().try_for_each(|version| kept::keep_version(&data, version)))
                .await?;
            if store.document().epoch > self.trust().document().epoch {
                // Before the document is in force: a list that is lost on the way is said again.
                self.forgive(store.document()).await?;
            }
            let (path, bytes) = (self.data.trust(), store.envelope().to_vec());
            let tell = |stage| Written::Trust.at(stage);
            on_disk(move || files::replace_secret_telling(&path, &bytes, &tell)).await?;
            let mark = TrustMark { version: store.version(), digest: store.digest() };
            // A clock that ran ahead when the document was written must not make every plan look late.
            let written_at = store.document().created_at.min(self.now(&journal.state()));
            journal
                .update(|state| {
                    state.trust = mark;
                    state.witness(written_at);
                })
                .await?;
            tracing::info!(version = store.version(), epoch = store.document().epoch, "trust document taken");
            let version = store.version();
            *self.trust_lock() = Arc::new(store);
            self.trust_version.send_replace(version);
            self.refresh().await;
        }
        if let Err(error) = &walked {
            tracing::warn!(
                target: "windlass_agent::audit",
                code = error.code(),
                what = "trust",
                detail = windlass_process::report::chain(error),
                "refused"
            );
        }
        walked.map_err(TakeError::Trust)
    }

    /// Keeps a checkpoint as a witness, if it is newer than the one that is kept.
    pub async fn witness(&self, envelope: &[u8]) -> Result<(), JournalError> {
        let Ok(journal) = &self.journal else { return Ok(()) };
        let trust = self.trust();
        // One whose key has been replaced since may have been made up by whoever stole it: it bars no other.
        let kept = self.checkpoint().filter(|_| self.is_signed_now(trust.document()));
        let now = self.now(&journal.state());
        match verify::checkpoint(envelope, trust.document(), &self.member.fleet, kept.as_ref(), now) {
            Ok(new) => {
                let text = String::from_utf8_lossy(envelope).into_owned();
                journal
                    .update(|state| {
                        state.checkpoint = Some(text);
                        state.witness(new.at.min(now)); // as with plans, never ahead of our own clock
                    })
                    .await
            }
            Err(refusal) => {
                self.counters.refused("checkpoint", self.member.host.as_str(), &refusal);
                Ok(())
            }
        }
    }

    /// Returns whether the audit key of today has signed the checkpoint that is kept.
    fn is_signed_now(&self, trust: &TrustDocument) -> bool {
        let envelope = self.checkpoint_envelope().unwrap_or_default();
        let envelope = Envelope::parse(&envelope, PayloadType::Audit.max_len());
        envelope.is_ok_and(|envelope| envelope.verify(PayloadType::Audit, &trust.audit_keys()).is_ok())
    }

    /// The checkpoint that is kept, as a receipt names it.
    pub fn witnessed(&self) -> Option<Witnessed> {
        let Checkpoint { size, head, segment, .. } = self.checkpoint()?;
        Some(Witnessed { size, head, segment })
    }

    /// The same, as the audit key signed it: what a receipt says of the log is proven by this.
    pub fn checkpoint_envelope(&self) -> Option<Vec<u8>> {
        self.state().checkpoint.clone().map(String::into_bytes)
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        let text = self.state().checkpoint.clone()?;
        let envelope = Envelope::parse(text.as_bytes(), PayloadType::Audit.max_len()).ok()?;
        json::decode_bounded(envelope.payload_bytes(), PayloadType::Audit.max_len()).ok()
    }
}
