//! Receipts of agents: which plan was committed, how, and under which checkpoint of the audit log.

use tonic::Status;
use windlass_certs::dsse::{Envelope, KeySet, PayloadType, VerifyError};
use windlass_core::HostId;
use windlass_core::receipt::Receipt;

use crate::audit;
use crate::coordinator::Coordinator;

/// Checks a receipt and what it bears witness to. One that does not hold is written down, the first few times, and
/// costs the host nothing else: it may be an agent with a defect.
pub(crate) async fn take(coordinator: &Coordinator, host: &HostId, envelope: &[u8]) -> Result<(), Status> {
    let key = coordinator.ledger.read(|state| state.hosts.get(host).map(|record| record.receipt_key.clone()));
    let Some(key) = key else { return Ok(()) };
    let read = || -> Result<Receipt, VerifyError> {
        let envelope = Envelope::parse(envelope, PayloadType::Receipt.max_len())?;
        envelope.verify(PayloadType::Receipt, &KeySet::new([key], 1))?.decode()
    };
    let problem = match read() {
        Ok(receipt) => {
            let seen = receipt.checkpoint.as_ref();
            coordinator.recoveries.receipt(host, &receipt.plan, receipt.at, seen);
            // Whatever it says: the log may be what is wrong, and whoever audits it should hear so.
            coordinator.registry.witnessed(host, envelope.into());
            contradiction(coordinator, host, &receipt)
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
        .write(move |draft| {
            let actor = format!("agent/{host}");
            draft.audit(audit::fact(&actor, "host.receipt", &host, None, &problem));
            draft.event("host.receipt_refused", host.as_str(), problem);
        })
        .await?;
    Ok(())
}

fn contradiction(coordinator: &Coordinator, host: &HostId, receipt: &Receipt) -> Option<String> {
    let (fleet, head, segment) =
        coordinator.ledger.read(|state| (state.fleet.clone(), state.head, state.segment()));
    if receipt.fleet != fleet || &receipt.host != host {
        return Some("refused: wrong_audience".to_owned());
    }
    let witnessed = receipt.checkpoint.as_ref()?;
    if witnessed.segment < segment {
        // Of the log before a backup was restored. It says openly that entries are lost; `audit verify` says how many.
        return None;
    }
    if witnessed.segment > segment {
        let seen = witnessed.segment;
        return Some(format!(
            "witness: the host has seen segment {seen} of the log, which this log does not have"
        ));
    }
    let forked = witnessed.size == head.size && witnessed.head != head.hash;
    if witnessed.size > head.size || forked {
        let size = witnessed.size;
        return Some(format!(
            "witness: the host has seen a checkpoint over {size} entries that this log does not have"
        ));
    }
    None
}
