//! The begin of a recovery: a backup that is read, or a host that is found to be ahead.

use std::io::BufRead;

use windlass_core::audit::{Head, RESTORED, segment_subject};
use windlass_core::{Digest, Timestamp};

use crate::audit;
use crate::ledger::{Change, WriteBatch, keys};
use crate::store::dump::{self, Backup, DumpError, Sealer};
use crate::store::record::{self, EventRecord, RecoveryRecord};
use crate::store::{Store, Transaction};

use super::unvouched::{Dropped, Vouching};

/// The result of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Records that were read.
    pub records: u64,
    /// The segment of the audit log that begins with it.
    pub segment: u64,
    /// When the backup was last written to.
    pub newest: Option<Timestamp>,
    /// The records that were left out of a backup that nobody had signed.
    pub dropped: Dropped,
}

/// The proof of a backup: a seal, or the certificates of those in it.
pub(crate) enum Proof<'a> {
    /// The coordinator: the backup's seal has to hold.
    Seal(&'a Sealer),
    /// Nobody: only what signed documents vouch for lets anybody in.
    None(&'a Vouching),
}

/// Reads a backup from outside into an empty store, as [`import_backup`] does, once somebody answers for it.
pub(crate) async fn import_proven(
    store: &dyn Store,
    input: &mut dyn BufRead,
    now: Timestamp,
    proof: Proof<'_>,
) -> Result<Restored, DumpError> {
    let mut backup = dump::read(input)?;
    let dropped = match proof {
        Proof::Seal(sealer) => {
            backup.check(sealer)?;
            Dropped::default()
        }
        Proof::None(vouching) => {
            let (records, dropped) =
                vouching.keep(backup.records).map_err(|(key, source)| damaged(&key, source))?;
            backup.records = records;
            dropped
        }
    };
    Ok(Restored { dropped, ..restore(store, backup, now).await? })
}

/// Reads a backup into an empty store, and says so in it: the audit log goes on in a new segment, and nothing is decided
/// until the hosts have shown what they hold. The caller knows that the backup is its own.
pub async fn import_backup(
    store: &dyn Store,
    input: &mut dyn BufRead,
    now: Timestamp,
) -> Result<Restored, DumpError> {
    restore(store, dump::read(input)?, now).await
}

async fn restore(store: &dyn Store, backup: Backup, now: Timestamp) -> Result<Restored, DumpError> {
    let find = |wanted: &str| backup.records.iter().find(|(key, _)| key == wanted).map(|(_, value)| value);
    let mut last = Transaction::default();
    let (mut segment, mut newest) = (0, None);
    // A store that was never started on has no log.
    if let Some(head) = find(keys::HEAD) {
        let mut head: Head = record::decode(head).map_err(|source| damaged(keys::HEAD, source))?;
        newest =
            head.size.checked_sub(1).and_then(|n| find(&keys::numbered(keys::AUDIT, n))).and_then(|bytes| {
                serde_json::from_slice::<windlass_core::audit::Entry>(bytes).ok().map(|entry| entry.at)
            });
        let before = match find(keys::RECOVERY) {
            Some(bytes) => record::decode(bytes).map_err(|source| damaged(keys::RECOVERY, source))?,
            None => None::<RecoveryRecord>,
        };
        let age = newest.map(|at| format!(", its newest entry is of {at}")).unwrap_or_default();
        let cause = format!("a backup was restored{age}");
        let recovery = next(before.as_ref(), head.size, cause, now);
        segment = recovery.segment;
        let n = head.size;
        let entry = head.append(mark(segment, Some(backup.digest), &recovery.cause), now);
        last = last
            .put(keys::numbered(keys::AUDIT, n), entry)
            .put(keys::HEAD, record::encode(&head))
            .put(keys::RECOVERY, record::encode(&recovery));
        let event = event(next_event(&backup.records), &recovery.cause, now);
        last = last.put(keys::numbered(keys::EVENT, event.n), record::encode(&event));
    }
    let records = dump::fill(store, backup.records, last).await?;
    Ok(Restored { records, segment, newest, dropped: Dropped::default() })
}

/// A host holds a plan that the store has no trace of, though nobody restored anything.
pub(super) fn found(batch: &mut WriteBatch<'_>, cause: String) {
    let recovery = next(batch.state.recovery.as_ref(), batch.state.head.size, cause, batch.now);
    batch.audit(mark(recovery.segment, None, &recovery.cause));
    batch.event("store.behind", "fleet", recovery.cause.clone());
    batch.change(Change::Recovery(recovery));
}

fn next(before: Option<&RecoveryRecord>, start: u64, cause: String, now: Timestamp) -> RecoveryRecord {
    let last = before.map_or(0, |before| before.segment);
    let segment = u64::try_from(now.as_millis()).unwrap_or(0).max(last + 1);
    RecoveryRecord { segment, start, cause, begun_at: now, ended_at: None }
}

fn mark(segment: u64, digest: Option<Digest>, cause: &str) -> windlass_core::audit::Fact {
    audit::fact("coordinator", RESTORED, &segment_subject(segment), digest, cause)
}

fn event(n: u64, cause: &str, at: Timestamp) -> EventRecord {
    let (kind, subject) = ("store.restored".to_owned(), "fleet".to_owned());
    EventRecord { n, at, kind, subject, message: cause.to_owned(), actor: None }
}

fn next_event(records: &[(String, Vec<u8>)]) -> u64 {
    let number = |(key, _): &(String, Vec<u8>)| key.strip_prefix(keys::EVENT)?.parse::<u64>().ok();
    records.iter().filter_map(number).max().map_or(0, |last| last + 1)
}

fn damaged(key: &str, source: record::RecordError) -> DumpError {
    DumpError::Store(crate::store::StoreError::Record { key: key.to_owned(), source })
}
