//! The seal of a backup: the coordinator signs how many records it holds and their digest, with its audit key. An attacker
//! who can write to the folder of backups cannot add a record (an admin's token, for one) without being noticed.
//!
//! A seal says that a backup is this fleet's and whole, not that it is the newest one.

use std::fmt;

use serde::{Deserialize, Serialize};
use windlass_certs::dsse::{Envelope, KeySet, PayloadType, VerifyError};
use windlass_certs::keys::SigningKey;
use windlass_core::{Digest, FleetId, Timestamp};

/// The way on with a backup that has no signature.
pub(super) const UNSIGNED: &str = "import one that this coordinator signed, with its own `keys/audit.key` in the data folder; if there is \
     none: `windlass-server store import --unsigned FILE`, which drops all tokens, and operators and hosts whose \
     certificates are not of this fleet's CA";

/// The payload of a seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seal {
    /// Version of this format, `1`.
    pub version: u32,
    /// The fleet whose store it is.
    pub fleet: FleetId,
    /// The number of records in the backup.
    pub records: u64,
    /// The digest that its `end` line gives.
    pub digest: Digest,
    /// When it was signed.
    pub at: Timestamp,
}

/// The reason for which a backup is not believed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is no seal.
    #[error("it has no signature")]
    Missing,
    /// Another key made the signature, or it is damaged.
    #[error("its signature does not hold for this coordinator's audit key")]
    Verify(#[from] VerifyError),
    /// The signature is over something else.
    #[error("its signature is over another backup")]
    OtherBackup,
}

/// Signs the backups of one coordinator, and knows them again.
#[derive(Clone)]
pub(crate) struct Sealer {
    key: SigningKey,
    fleet: FleetId,
    at: Timestamp,
}

impl Sealer {
    /// `key` is the audit key.
    pub(crate) const fn new(key: SigningKey, fleet: FleetId, at: Timestamp) -> Self {
        Self { key, fleet, at }
    }

    /// The envelope over a backup.
    pub(super) fn seal(&self, records: u64, digest: Digest) -> String {
        let seal = Seal { version: 1, fleet: self.fleet.clone(), records, digest, at: self.at };
        let payload = serde_json::to_vec(&seal).expect("a seal has only string keys, so it is JSON");
        let envelope = Envelope::sign(PayloadType::Backup, payload, &[&self.key]);
        String::from_utf8_lossy(&envelope.to_bytes()).into_owned()
    }

    /// Checks that `seal` is this key's, over so many records with this digest, for this fleet.
    pub(super) fn check(&self, seal: Option<&str>, records: u64, digest: Digest) -> Result<(), SealError> {
        let text = seal.ok_or(SealError::Missing)?;
        let envelope = Envelope::parse(text.as_bytes(), PayloadType::Backup.max_len())?;
        let keys = KeySet::new([self.key.public()], 1);
        let seal: Seal = envelope.verify(PayloadType::Backup, &keys)?.decode()?;
        let same = seal.fleet == self.fleet && seal.records == records && seal.digest == digest;
        if same { Ok(()) } else { Err(SealError::OtherBackup) }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dump::{self, DumpError};
    use crate::store::memory::MemoryStore;
    use crate::store::{Store, Transaction};

    async fn sealed(by: &Sealer, value: &str) -> String {
        let store = MemoryStore::new();
        store.commit(Transaction::default().put("a", value.as_bytes().to_vec())).await.unwrap();
        let mut out = Vec::new();
        dump::export_sealed(&store, &mut out, by).await.unwrap();
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn a_backup_is_believed_with_its_own_seal_only() {
        let sealer =
            |fleet: &str, key: &SigningKey| Sealer::new(key.clone(), fleet.parse().unwrap(), Timestamp::ZERO);
        let [key, stranger] = [0; 2].map(|_| SigningKey::generate().unwrap());
        let ours = sealer("demo", &key);
        let check = |text: &str| {
            let backup = dump::read(&mut text.as_bytes()).map_err(|error| error.to_string())?;
            backup.check(&ours).map_err(|error| error.to_string())
        };
        let good = sealed(&ours, "1").await;
        assert_eq!(check(&good), Ok(()));
        let without = |text: &str| text.lines().take(3).map(|line| format!("{line}\n")).collect::<String>();
        let seal = |text: &str| text.lines().last().unwrap().to_owned();
        assert!(check(&without(&good)).unwrap_err().contains("no signature"));
        let changed = without(&sealed(&ours, "2").await) + &seal(&good);
        assert!(check(&changed).unwrap_err().contains("another backup"));
        for other in [sealer("demo", &stranger), sealer("other", &key)] {
            assert!(check(&sealed(&other, "1").await).is_err());
        }
        for more in [seal(&good), "{}".to_owned()] {
            let read = dump::read(&mut format!("{good}{more}\n").as_bytes());
            assert!(matches!(read, Err(DumpError::Malformed(5))), "nothing comes after the seal");
        }
    }
}
