//! What is read of a log, and what is held against it.

use windlass_certs::dsse::{Envelope, KeySet, PayloadType};
use windlass_certs::keys::PublicKey;
use windlass_core::FleetId;
use windlass_core::audit::{Anchor, By, Checkpoint, Findings, Verifier};
use windlass_core::receipt::Receipt;

use crate::home::KeptCheckpoint;

use super::{AuditError, AuditView};

/// A log as it is read.
pub(super) struct Reading {
    keys: KeySet,
    verifier: Verifier,
    entries: usize,
    checkpoints: usize,
    witnesses: Vec<String>,
    newest: Option<Checkpoint>,
}

impl Reading {
    pub(super) fn new(keys: KeySet, kept: Option<&KeptCheckpoint>) -> Self {
        let mut verifier = Verifier::default();
        if let Some(kept) = kept {
            verifier.expect(kept.anchor());
        }
        Self { keys, verifier, entries: 0, checkpoints: 0, witnesses: Vec::new(), newest: None }
    }

    pub(super) fn entry(&mut self, bytes: &[u8]) {
        self.entries += 1;
        self.verifier.entry(bytes);
    }

    pub(super) fn checkpoint(&mut self, bytes: &[u8]) -> Result<(), AuditError> {
        let wrong = |source| AuditError::Checkpoint(self.checkpoints, source);
        let envelope = Envelope::parse(bytes, PayloadType::Audit.max_len()).map_err(wrong)?;
        let verified = envelope.verify(PayloadType::Audit, &self.keys);
        let checkpoint: Checkpoint = verified.and_then(|verified| verified.decode()).map_err(wrong)?;
        self.checkpoints += 1;
        self.verifier.expect((&checkpoint).into());
        let order = |checkpoint: &Checkpoint| (checkpoint.segment, checkpoint.size);
        if self.newest.as_ref().is_none_or(|newest| order(newest) < order(&checkpoint)) {
            self.newest = Some(checkpoint);
        }
        Ok(())
    }

    /// A receipt that does not hold says nothing: whoever sends it could as well have left it out.
    pub(super) fn witness(&mut self, fleet: &FleetId, host: String, receipt: &[u8], key: &[u8]) {
        let read = || -> Option<Receipt> {
            let key = PublicKey::from_bytes(key).ok()?;
            let envelope = Envelope::parse(receipt, PayloadType::Receipt.max_len()).ok()?;
            envelope.verify(PayloadType::Receipt, &KeySet::new([key], 1)).ok()?.decode().ok()
        };
        let Some(receipt) = read() else { return };
        if let Some(seen) =
            receipt.checkpoint.filter(|_| &receipt.fleet == fleet && receipt.host.as_str() == host)
        {
            let (size, head, segment) = (seen.size, seen.head, seen.segment);
            self.verifier.expect(Anchor { size, head, segment, by: By::Witness });
            self.witnesses.push(host);
        }
    }

    pub(super) fn finish(self, kept: Option<KeptCheckpoint>) -> (AuditView, Option<Checkpoint>) {
        let Findings { verdict, segments } = self.verifier.finish();
        let view = AuditView {
            verdict,
            text: verdict.to_string(),
            sound: verdict.is_sound(),
            entries: self.entries,
            checkpoints: self.checkpoints,
            witnesses: self.witnesses,
            kept,
            segments,
        };
        (view, self.newest)
    }
}

#[cfg(test)]
mod tests {
    use windlass_certs::keys::SigningKey;
    use windlass_core::audit::{Fact, Head, Verdict};
    use windlass_core::receipt::Witnessed;
    use windlass_core::{Digest, Timestamp};

    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_750_000_000_000);

    /// A log of two entries, and the head that it has after them.
    fn log(salt: &str) -> ([Vec<u8>; 2], Head) {
        let mut head = Head::default();
        let entries = [0, 1].map(|n| {
            let (actor, subject) = ("operator/alice".to_owned(), format!("{salt} {n}"));
            head.append(Fact { actor, verb: "test", subject, digest: None, outcome: "ok".to_owned() }, AT)
        });
        (entries, head)
    }

    fn receipt(key: &SigningKey, host: &str, size: u64, head: Digest) -> Vec<u8> {
        let receipt = Receipt {
            version: 1,
            fleet: "demo".parse().unwrap(),
            host: host.parse().unwrap(),
            seq: 7,
            plan: Digest::of(b"plan"),
            slots: Vec::new(),
            checkpoint: Some(Witnessed { size, head, segment: 0 }),
            at: AT,
        };
        Envelope::sign(PayloadType::Receipt, serde_json::to_vec(&receipt).unwrap(), &[key]).to_bytes()
    }

    /// What is made of a whole log when a host `web-1` shows `receipt`, signed with `key` as the coordinator says.
    fn held_against(receipt: &[u8], key: &SigningKey) -> AuditView {
        let mut reading = Reading::new(KeySet::new([], 1), None);
        log("a").0.iter().for_each(|entry| reading.entry(entry));
        let key = key.public();
        reading.witness(&"demo".parse().unwrap(), "web-1".to_owned(), receipt, key.as_bytes());
        reading.finish(None).0
    }

    #[test]
    fn a_log_that_was_cut_or_written_again_is_contradicted_by_a_host_that_saw_the_other_one() {
        let key = SigningKey::generate().unwrap();
        let ((_, same), (_, other)) = (log("a"), log("b"));
        let table = [
            (2, same.hash, Verdict::UnanchoredTail(2)),
            (3, other.hash, Verdict::Truncated { have: 2, want: 3 }),
            (2, other.hash, Verdict::Forked(2)),
        ];
        for (size, head, want) in table {
            let view = held_against(&receipt(&key, "web-1", size, head), &key);
            assert_eq!((view.verdict, view.witnesses), (want, vec!["web-1".to_owned()]));
        }
    }

    #[test]
    fn a_receipt_that_does_not_hold_or_is_of_another_host_says_nothing() {
        let (key, stranger) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let (_, other) = log("b");
        let forged = receipt(&stranger, "web-1", 3, other.hash);
        let elsewhere = receipt(&key, "web-2", 3, other.hash);
        for said in [forged.as_slice(), &elsewhere, b"", b"{}"] {
            let view = held_against(said, &key);
            assert_eq!((view.verdict, view.witnesses), (Verdict::UnanchoredTail(2), Vec::new()));
        }
    }
}
