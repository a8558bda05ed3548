//! Certificates that no longer count: a signed list, as good as the trust document's revoke keys. With it a host lets
//! go of a coordinator whose certificate was stolen, long before that expires.

use std::path::Path;
use std::sync::PoisonError;

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::files::{self, FileError};
use windlass_certs::json;
use windlass_certs::revocation::{ListError, RevocationList, Revocations, RevokedSet};
use windlass_certs::trust::TrustDocument;
use windlass_core::FleetId;
use windlass_core::observation::{Refusal, RefusalCode};
use windlass_process::report;

use super::DocumentStore;
use crate::data::on_disk;
use crate::verify;

/// More than the envelope of the longest list; what is longer is none.
const MAX_FILE: u64 = 2 << 20;

impl DocumentStore {
    /// Takes a revocation list that is newer than the one in force: on disk first, in force after. One that is not
    /// believed is refused, and changes nothing. An error means that it could not be kept.
    pub async fn revoke(&self, envelope: &[u8]) -> Result<(), FileError> {
        let _one_at_a_time = self.accepting.lock().await;
        let have = Some(self.revocations_version()).filter(|version| *version > 0);
        let list = match RevocationList::open(envelope, self.trust().document(), have) {
            Ok(list) => list,
            // Said twice.
            Err(ListError::Stale { have, got }) if have == got => return Ok(()),
            Err(error) => {
                self.counters.refused("revocations", self.member.host.as_str(), &refusal(error));
                return Ok(());
            }
        };
        let (path, bytes) = (self.data.revocations(), envelope.to_vec());
        on_disk(move || files::replace_secret(&path, &bytes)).await?;
        self.revocations.apply(&list);
        *self.revoked.lock().unwrap_or_else(PoisonError::into_inner) = list.version;
        tracing::info!(version = list.version, "revocation list taken");
        Ok(())
    }

    /// Drops the list in force if the keys of a new epoch have not signed it: whoever stole the key of before may have
    /// locked this host out for good.
    pub(super) async fn forgive(&self, trust: &TrustDocument) -> Result<(), FileError> {
        let path = self.data.revocations();
        let read = path.clone();
        let Ok(bytes) = on_disk(move || crate::data::read_bounded(&read, MAX_FILE)).await else {
            return Ok(());
        };
        if RevocationList::open(&bytes, trust, None).is_ok() {
            return Ok(());
        }
        on_disk(move || match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(FileError::Write { path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        })
        .await?;
        self.revocations.replace(RevokedSet::default());
        *self.revoked.lock().unwrap_or_else(PoisonError::into_inner) = 0;
        tracing::warn!(
            epoch = trust.epoch,
            "dropped the revocation list: no key of the new epoch has signed it"
        );
        Ok(())
    }

    /// The revoked certificates, for each TLS handshake.
    pub const fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Version of the list in force; 0 if there is none.
    pub fn revocations_version(&self) -> u64 {
        *self.revoked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The list that was taken before the agent stopped, and its version. It was verified then; a key that signed it may
/// have been replaced since, and what was revoked stays revoked.
pub(super) fn kept(path: &Path, fleet: &FleetId) -> (Revocations, u64) {
    let revocations = Revocations::new();
    let Ok(bytes) = crate::data::read_bounded(path, MAX_FILE) else { return (revocations, 0) };
    let decode = || {
        let envelope = Envelope::parse(&bytes, PayloadType::Revocation.max_len()).ok()?;
        let max_len = PayloadType::Revocation.max_len();
        let list: RevocationList = json::decode_bounded(envelope.payload_bytes(), max_len).ok()?;
        (envelope.payload_type() == PayloadType::Revocation && &list.fleet == fleet).then_some(list)
    };
    let Some(list) = decode() else {
        tracing::error!(path = %path.display(), "the revocation list is damaged: the coordinator is asked for it again");
        return (revocations, 0);
    };
    revocations.apply(&list);
    (revocations, list.version)
}

fn refusal(error: ListError) -> Refusal {
    let detail = report::chain(&error);
    match error {
        ListError::Verify(error) => verify::refusal(error),
        ListError::WrongFleet(_) => Refusal { code: RefusalCode::WrongAudience, detail },
        ListError::Stale { .. } => Refusal { code: RefusalCode::Stale, detail },
        ListError::Jump { .. } => Refusal { code: RefusalCode::Malformed, detail },
    }
}
