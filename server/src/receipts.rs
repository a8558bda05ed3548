//! Receipts of agents: which plan was committed, how, and under which checkpoint of the audit log. A host's word about
//! the log counts only with the checkpoint that it has seen, signed by the audit key: else one captured host could accuse
//! an honest coordinator.

use tonic::Status;
use windlass_certs::dsse::{Envelope, KeySet, PayloadType, VerifyError};
use windlass_core::HostId;
use windlass_core::audit::Checkpoint;
use windlass_core::receipt::{Receipt, Witnessed};
use windlass_proto::pb;

use crate::audit;
use crate::coordinator::Coordinator;
use crate::registry::Testimony;

/// Checks a receipt and what it bears witness to. One that does not hold is written down, the first few times, and
/// costs the host nothing else: it may be an agent with a defect.
pub(crate) async fn take(
    coordinator: &Coordinator,
    host: &HostId,
    report: &pb::ReceiptReport,
) -> Result<(), Status> {
    let envelope = &report.envelope;
    let key = coordinator.ledger.read(|state| state.hosts.get(host).map(|record| record.receipt_key.clone()));
    let Some(key) = key else { return Ok(()) };
    let read = || -> Result<Receipt, VerifyError> {
        let envelope = Envelope::parse(envelope, PayloadType::Receipt.max_len())?;
        envelope.verify(PayloadType::Receipt, &KeySet::new([key], 1))?.decode()
    };
    let problem = match read() {
        Ok(receipt) => {
            let proven = proven(coordinator, &report.checkpoint);
            coordinator.recoveries.receipt(host, &receipt.plan, receipt.at, proven.as_ref());
            // Whatever it says: the log may be what is wrong, and its reader should hear so.
            let checkpoint = proven.as_ref().map(|_| report.checkpoint.to_vec().into());
            coordinator.registry.witnessed(host, Testimony { receipt: envelope.to_vec().into(), checkpoint });
            contradiction(coordinator, host, &receipt, proven.as_ref())
        }
        Err(error) => Some(format!("refused: {}", error.code())),
    };
    coordinator.metrics.receipt(problem.is_none());
    let Some(problem) = problem else { return Ok(()) };
    if !coordinator.registry.may_complain(host, coordinator.ledger.now()) {
        return Ok(());
    }
    let host = host.clone();
    coordinator
        .write(move |batch| {
            let actor = format!("agent/{host}");
            batch.audit(audit::fact(&actor, "host.receipt", &host, None, &problem));
            batch.event("host.receipt_refused", host.as_str(), problem);
        })
        .await?;
    Ok(())
}

/// The checkpoint that a host shows, if the audit key signed it for this fleet.
fn proven(coordinator: &Coordinator, envelope: &[u8]) -> Option<Witnessed> {
    let trust = coordinator.ledger.read(|state| state.trust.version());
    if let Some(known) = coordinator.proven.find(trust, envelope) {
        return Some(known);
    }
    let (keys, fleet) =
        coordinator.ledger.read(|state| (state.trust.document().audit_keys(), state.fleet.clone()));
    let parsed = Envelope::parse(envelope, PayloadType::Audit.max_len()).ok()?;
    let checkpoint: Checkpoint = parsed.verify(PayloadType::Audit, &keys).ok()?.decode().ok()?;
    let Checkpoint { size, head, segment, .. } = checkpoint;
    let witnessed = (checkpoint.fleet == fleet).then_some(Witnessed { size, head, segment })?;
    coordinator.proven.keep(trust, envelope, witnessed.clone());
    Some(witnessed)
}

/// A fault of a receipt, or of the log that it contradicts. The host is named in either case.
fn contradiction(
    coordinator: &Coordinator,
    host: &HostId,
    receipt: &Receipt,
    proven: Option<&Witnessed>,
) -> Option<String> {
    let (fleet, head, segment) =
        coordinator.ledger.read(|state| (state.fleet.clone(), state.head, state.segment()));
    if receipt.fleet != fleet || &receipt.host != host {
        return Some("refused: wrong_audience".to_owned());
    }
    let witnessed = receipt.checkpoint.as_ref()?;
    let say = |seen: String| match proven {
        Some(_) => format!("witness: {seen}"),
        None => format!("unproven: {seen}, says the host, and shows no signature"),
    };
    let witnessed = proven.unwrap_or(witnessed);
    if witnessed.segment < segment {
        // Of the log before a backup was restored. It says openly that entries are lost; `audit verify` says how many.
        return None;
    }
    if witnessed.segment > segment {
        let seen = witnessed.segment;
        return Some(say(format!(
            "the host has seen segment {seen} of the log, which this log does not have"
        )));
    }
    let forked = witnessed.size == head.size && witnessed.head != head.hash;
    if witnessed.size > head.size || forked {
        let size = witnessed.size;
        return Some(say(format!(
            "the host has seen a checkpoint over {size} entries that this log does not have"
        )));
    }
    None
}
