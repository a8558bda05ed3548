//! Receipts: once a plan is carried out, this host says so, signed. Signed again when the outcome of a slot changes.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::keys::SigningKey;
use windlass_core::Digest;
use windlass_core::observation::Observation;
use windlass_core::receipt::{RECEIPT_VERSION, Receipt, SlotReceipt, outcomes};

use crate::clock;
use crate::crash::Call;
use crate::document_store::DocumentStore;

/// The channels between the task and the others of the agent.
#[derive(Debug)]
pub struct Wires {
    /// The reconciler's observation.
    pub observation: watch::Receiver<Arc<Observation>>,
    /// The newest receipt, an envelope.
    pub receipt: watch::Sender<Option<Arc<Vec<u8>>>>,
    /// Asks the task to end.
    pub cancel: CancellationToken,
}

/// The task.
#[derive(Debug)]
pub struct Signer {
    keeper: Arc<DocumentStore>,
    key: SigningKey,
    wires: Wires,
    signed: Option<(Digest, Vec<SlotReceipt>)>,
}

impl Signer {
    /// `key` signs receipts and nothing else.
    pub fn new(keeper: Arc<DocumentStore>, key: SigningKey, wires: Wires) -> Self {
        Self { keeper, key, wires, signed: None }
    }

    /// Works until it is cancelled.
    pub async fn run(mut self) -> anyhow::Result<()> {
        loop {
            let seen = self.wires.observation.borrow_and_update().clone();
            if let Some(envelope) = self.sign(&seen) {
                Call::Receipt.around_now(|| self.wires.receipt.send_replace(Some(Arc::new(envelope))));
            }
            tokio::select! {
                biased;
                () = self.wires.cancel.cancelled() => return Ok(()),
                changed = self.wires.observation.changed() => changed?, // error: the reconciler is gone
            }
        }
    }

    /// A receipt, if the plan in force is carried out and something of that is new.
    fn sign(&mut self, seen: &Observation) -> Option<Vec<u8>> {
        let mark = self.keeper.plan().filter(|mark| mark.seq == seen.seq)?;
        let plan = self.keeper.desired().borrow().plan.clone().filter(|plan| plan.seq == mark.seq)?;
        let slots = outcomes(&plan, seen)?;
        if self.signed.as_ref().is_some_and(|(digest, last)| *digest == mark.digest && *last == slots) {
            return None;
        }
        let member = self.keeper.member();
        let receipt = Receipt {
            version: RECEIPT_VERSION,
            fleet: member.fleet.clone(),
            host: member.host.clone(),
            seq: mark.seq,
            plan: mark.digest,
            slots: slots.clone(),
            checkpoint: self.keeper.witnessed(),
            at: clock::now(),
        };
        self.signed = Some((mark.digest, slots));
        let payload = serde_json::to_vec(&receipt).expect("only string keys, so it is JSON");
        if payload.len() > PayloadType::Receipt.max_len() {
            tracing::warn!(bytes = payload.len(), "the receipt of this plan would be too long, none is sent");
            return None;
        }
        Some(Envelope::sign(PayloadType::Receipt, payload, &[&self.key]).to_bytes())
    }
}
