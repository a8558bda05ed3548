//! A host that is ahead of the store: the coordinator was restored from a backup.
//!
//! A bare number moves nothing. The agent presents its newest plan; only our own signature on it, for this host,
//! proves that an earlier life of this coordinator had come that far. If the plan says what the store says, its
//! number is taken over at once. If not, the host is *recovering*: it keeps what it runs and gets no plan until
//! an admin says so (`windlass host uncordon HOST`).

use tonic::Status;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_core::HostId;
use windlass_core::plan::HostPlan;

use crate::audit;
use crate::coordinator::Coordinator;
use crate::ledger::Draft;
use crate::plans;

/// Compares what a host says it has with what is stored.
pub(crate) async fn compare(
    coordinator: &Coordinator,
    host: &HostId,
    seq: u64,
    envelope: &[u8],
) -> Result<(), Status> {
    let known = coordinator.ledger.read(|state| state.plans.get(host).map_or(0, |plan| plan.seq));
    if seq <= known {
        return Ok(());
    }
    let (host, envelope) = (host.clone(), envelope.to_vec());
    let (name, registry) = (host.clone(), coordinator.registry.clone());
    let loud = registry.may_complain(&host, coordinator.ledger.now());
    let held = coordinator.write(move |draft| decide(draft, &host, seq, &envelope, loud)).await?;
    registry.set_recovering(&name, held);
    Ok(())
}

/// Takes the number over, or answers with it if a person has to decide.
fn decide(draft: &mut Draft<'_>, host: &HostId, seq: u64, envelope: &[u8], loud: bool) -> Option<u64> {
    let actor = format!("agent/{host}");
    let Some(plan) = verified(draft, host, seq, envelope) else {
        if !loud {
            return None; // a host that comes back again and again with it fills no log
        }
        draft.audit(audit::fact(&actor, "host.ahead", host, None, "refused: its plan is not one of ours"));
        draft.event("host.ahead", host.as_str(), format!("claims plan {seq}, which was never signed here"));
        // It will refuse our plans as stale; that is visible, and better than believing a number.
        return None;
    };
    let same = plan.slots == plans::slots_of(draft.state, host, &plans::Overlay::default());
    let outcome = if same { "ok: same slots" } else { "held: other slots" };
    if same || loud {
        draft.audit(audit::fact(&actor, "host.ahead", host, None, outcome));
    }
    if same {
        plans::raise(draft, host, seq);
        return None;
    }
    if !loud {
        return Some(seq);
    }
    draft.event(
        "host.recovering",
        host.as_str(),
        format!("holds plan {seq} with other slots than the store knows; it gets no plan until `windlass host uncordon {host}`"),
    );
    Some(seq)
}

fn verified(draft: &Draft<'_>, host: &HostId, seq: u64, envelope: &[u8]) -> Option<HostPlan> {
    let envelope = Envelope::parse(envelope, PayloadType::Plan.max_len()).ok()?;
    let keys = draft.state.trust.document().dispatch_keys();
    let plan: HostPlan = envelope.verify(PayloadType::Plan, &keys).ok()?.decode().ok()?;
    let ours = plan.fleet == draft.state.fleet && &plan.host == host && plan.seq == seq;
    ours.then_some(plan)
}
