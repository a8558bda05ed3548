//! The revocation list that is kept here: with it this machine talks to no coordinator whose certificate was stolen. It
//! comes from a coordinator, or by hand; either way it counts only as the trust document's revoke keys have signed it.

use std::path::PathBuf;

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::files::{self, FileError};
use windlass_certs::json;
use windlass_certs::revocation::{RevocationList, Revocations};
use windlass_certs::trust::TrustDocument;

use super::FleetHome;

/// More than the envelope of the longest list.
const MAX_LEN: u64 = 2 << 20;
const FILE: &str = "revocations.json";

impl FleetHome {
    /// The certificates that do not count.
    pub(crate) fn revocations(&self, trust: &TrustDocument) -> Revocations {
        let revocations = Revocations::new();
        if let Some(list) = self.revocation_list(trust) {
            revocations.apply(&list);
        }
        revocations
    }

    /// Keeps a list, if it is newer than the one that is kept. A list that does not hold is not kept.
    pub(crate) fn keep_revocations(&self, envelope: &[u8], trust: &TrustDocument) -> Result<(), FileError> {
        if envelope.is_empty() {
            return Ok(());
        }
        let have = self.revocation_list(trust).map(|list| list.version);
        match RevocationList::open(envelope, trust, have) {
            Ok(_) => files::replace_secret(&self.path().join(FILE), envelope),
            Err(error) => {
                tracing::debug!(error = windlass_process::report::chain(&error), "kept no revocation list");
                Ok(())
            }
        }
    }

    /// The list that counts, if there is one.
    pub(crate) fn revocation_list(&self, trust: &TrustDocument) -> Option<RevocationList> {
        let (path, bytes) = self.revocation_file()?;
        let opened = RevocationList::open(&bytes, trust, None);
        opened
            .inspect_err(|error| {
                let error = windlass_process::report::chain(error);
                tracing::warn!(path = %path.display(), error, "the revocation list is not believed");
            })
            .ok()
    }

    /// The list that the next one continues. It was verified when it was taken; hosts keep it after a key that signed it was
    /// replaced, and take none with a lower number.
    pub(crate) fn last_revocation_list(&self, trust: &TrustDocument) -> Option<RevocationList> {
        let (_, bytes) = self.revocation_file()?;
        let envelope = Envelope::parse(&bytes, PayloadType::Revocation.max_len()).ok()?;
        let max_len = PayloadType::Revocation.max_len();
        let list: RevocationList = json::decode_bounded(envelope.payload_bytes(), max_len).ok()?;
        (envelope.payload_type() == PayloadType::Revocation && list.fleet == trust.fleet).then_some(list)
    }

    fn revocation_file(&self) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.path().join(FILE);
        let is_ours = std::fs::metadata(&path).is_ok_and(|meta| meta.len() <= MAX_LEN);
        let bytes = is_ours.then(|| std::fs::read(&path).ok()).flatten()?;
        Some((path, bytes))
    }
}
