//! The entries of a log, and the checkpoints that are compared with it.

use windlass_certs::dsse::{Envelope, KeySet, PayloadType, VerifyError};
use windlass_certs::keys::PublicKey;
use windlass_certs::trust::TrustDocument;
use windlass_core::FleetId;
use windlass_core::audit::{AcceptedLoss, Anchor, By, Checkpoint, Findings, Verifier};
use windlass_core::receipt::Receipt;

use crate::home::KeptCheckpoint;

use super::view::{AuditError, AuditView};

/// A log as it is read.
pub(super) struct Reading {
    keys: KeySet,
    fleet: FleetId,
    verifier: Verifier,
    entries: usize,
    checkpoints: usize,
    witnesses: Vec<String>,
    unproven: Vec<String>,
    newest: Option<Checkpoint>,
}

impl Reading {
    /// `accepted` are envelopes of losses; one that no operator of the fleet has signed says nothing.
    pub(super) fn new(trust: &TrustDocument, kept: Option<&KeptCheckpoint>, accepted: &[String]) -> Self {
        let mut verifier = Verifier::default();
        if let Some(kept) = kept {
            verifier.expect(kept.anchor());
        }
        let keys = trust.operator_keys();
        let read = |envelope: &String| -> Option<AcceptedLoss> {
            let envelope = Envelope::parse(envelope.as_bytes(), PayloadType::Loss.max_len()).ok()?;
            envelope.verify(PayloadType::Loss, &keys).ok()?.decode().ok()
        };
        let accepted = accepted.iter().filter_map(read).filter(|accepted| accepted.fleet == trust.fleet);
        accepted.for_each(|accepted| verifier.accept(accepted.loss));
        Self {
            keys: trust.audit_keys(),
            fleet: trust.fleet.clone(),
            verifier,
            entries: 0,
            checkpoints: 0,
            witnesses: Vec::new(),
            unproven: Vec::new(),
            newest: None,
        }
    }

    pub(super) fn entry(&mut self, bytes: &[u8]) {
        self.entries += 1;
        self.verifier.entry(bytes);
    }

    pub(super) fn checkpoint(&mut self, bytes: &[u8]) -> Result<(), AuditError> {
        let checkpoint =
            self.signed(bytes).map_err(|source| AuditError::Checkpoint(self.checkpoints, source))?;
        self.checkpoints += 1;
        self.verifier.expect((&checkpoint).into());
        let order = |checkpoint: &Checkpoint| (checkpoint.segment, checkpoint.size);
        if self.newest.as_ref().is_none_or(|newest| order(newest) < order(&checkpoint)) {
            self.newest = Some(checkpoint);
        }
        Ok(())
    }

    fn signed(&self, bytes: &[u8]) -> Result<Checkpoint, VerifyError> {
        let envelope = Envelope::parse(bytes, PayloadType::Audit.max_len())?;
        envelope.verify(PayloadType::Audit, &self.keys)?.decode()
    }

    /// Holds against the log the checkpoint that a host shows. A receipt that does not hold says nothing, as the
    /// coordinator could as well have left it out; nor does a host's word without the audit key's signature.
    pub(super) fn witness(&mut self, host: String, receipt: &[u8], key: &[u8], checkpoint: &[u8]) {
        let read = || -> Option<Receipt> {
            let key = PublicKey::from_bytes(key).ok()?;
            let envelope = Envelope::parse(receipt, PayloadType::Receipt.max_len()).ok()?;
            envelope.verify(PayloadType::Receipt, &KeySet::new([key], 1)).ok()?.decode().ok()
        };
        let Some(receipt) = read().filter(|it| it.fleet == self.fleet && it.host.as_str() == host) else {
            return;
        };
        match self.signed(checkpoint).ok().filter(|checkpoint| checkpoint.fleet == self.fleet) {
            Some(seen) => {
                let (size, head, segment) = (seen.size, seen.head, seen.segment);
                let by = By::Witness(self.witnesses.len());
                self.verifier.expect(Anchor { size, head, segment, by });
                self.witnesses.push(host);
            }
            None if receipt.checkpoint.is_some() => self.unproven.push(host),
            None => {}
        }
    }

    pub(super) fn finish(self, kept: Option<KeptCheckpoint>) -> (AuditView, Option<Checkpoint>) {
        let Findings { verdict, by, losses, segments } = self.verifier.finish();
        let contradicted_by = by.and_then(|by| match by {
            By::Key => Some("a checkpoint of the log itself".to_owned()),
            By::Kept => Some("this machine: the checkpoint that was kept here".to_owned()),
            By::Witness(number) => self.witnesses.get(number).map(|host| format!("host {host}")),
        });
        let view = AuditView {
            verdict,
            text: verdict.to_string(),
            sound: verdict.is_sound(),
            entries: self.entries,
            checkpoints: self.checkpoints,
            witnesses: self.witnesses,
            unproven: self.unproven,
            contradicted_by,
            losses,
            kept,
            segments,
        };
        (view, self.newest)
    }
}

#[cfg(test)]
mod tests;
