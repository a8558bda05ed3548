//! The comparison at a host's hello: whether the store knows the plan that the host holds.

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_core::plan::HostPlan;
use windlass_core::recovery::differences;
use windlass_core::{Digest, HostId};

use super::{HINT, begin};
use crate::audit;
use crate::coordinator::Coordinator;
use crate::ledger::{Change, State, WriteBatch, WriteError};
use crate::plans;
use crate::store::record::HostRecord;

/// The plan and the releases that a host says it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hello<'a> {
    /// The number of its newest plan; 0 if it has none.
    pub seq: u64,
    /// The envelope of that plan.
    pub plan: &'a [u8],
    /// The version of its trust document.
    pub trust: u64,
}

/// The result of a comparison.
enum Outcome {
    /// The store knows the plan, or a later one.
    Known,
    /// It does not.
    Ahead,
    /// It does not, and nothing else had said that it might not.
    Found,
}

/// Compares what a host holds with what is stored. Answers whether to ask it which releases it keeps.
pub(crate) async fn compare(
    coordinator: &Coordinator,
    host: &HostId,
    hello: Hello<'_>,
) -> Result<bool, WriteError> {
    coordinator.recoveries.forget([host]);
    let (awaits, known) = coordinator.ledger.read(|state| {
        let known = state.plans.get(host).map_or(0, |plan| plan.seq);
        (state.awaits(host), known)
    });
    if !awaits && hello.seq <= known {
        return Ok(false);
    }
    let plan = coordinator.ledger.read(|state| verified(state, host, hello.seq, hello.plan));
    let (name, seq, trust) = (host.clone(), hello.seq, hello.trust);
    // A host that comes back again and again with it fills no log.
    let loud = coordinator.registry.may_complain(host, coordinator.ledger.now());
    let (mine, digest) = plan.clone().unzip();
    let outcome = coordinator
        .write(move |batch| match &mine {
            Some(plan) => decide(batch, &name, plan, loud),
            None => {
                unproven(batch, &name, seq, trust, loud);
                Outcome::Known
            }
        })
        .await?;
    let Some((plan, digest)) = plan.map(|(plan, _)| plan).zip(digest) else { return Ok(false) };
    match outcome {
        Outcome::Known => {
            let open = coordinator.ledger.read(|state| {
                let same = state.plans.get(host).is_some_and(|record| plans::is_known(record, &plan));
                same && state.is_recovering()
            });
            if open {
                coordinator.recoveries.hold(host, plan, digest, false);
            }
            Ok(false)
        }
        Outcome::Ahead => {
            coordinator.recoveries.hold(host, plan, digest, true);
            Ok(true)
        }
        Outcome::Found => {
            coordinator.recoveries.clear();
            coordinator.recoveries.hold(host, plan, digest, true);
            coordinator.registry.cut_all_but(host);
            Ok(true)
        }
    }
}

/// The plan, if an earlier life of this coordinator made it for this host.
fn verified(state: &State, host: &HostId, seq: u64, envelope: &[u8]) -> Option<(HostPlan, Digest)> {
    let envelope = Envelope::parse(envelope, PayloadType::Plan.max_len()).ok()?;
    let verified = envelope.verify(PayloadType::Plan, &state.trust.document().dispatch_keys()).ok()?;
    let plan: HostPlan = verified.decode().ok()?;
    let ours = plan.fleet == state.fleet && &plan.host == host && plan.seq == seq;
    (ours && windlass_core::verify::check_plan(&plan).is_ok()).then(|| (plan, verified.digest()))
}

/// A number without a plan of ours moves nothing.
fn unproven(batch: &mut WriteBatch<'_>, host: &HostId, seq: u64, trust: u64, loud: bool) {
    let known = batch.state.plans.get(host).map_or(0, |plan| plan.seq);
    if seq > known && loud {
        let actor = format!("agent/{host}");
        batch.audit(audit::fact(&actor, "host.ahead", host, None, "refused: its plan is not one of ours"));
        // It will refuse our plans as stale; that is visible, and better than believing a number.
        let newer = if trust > batch.state.trust.version() {
            format!("; it has version {trust} of the trust document, publish that again")
        } else {
            String::new()
        };
        let text = format!("claims plan {seq}, which was never signed here{newer}");
        batch.event("host.ahead", host.as_str(), text);
    }
    compared(batch, host);
}

fn decide(batch: &mut WriteBatch<'_>, host: &HostId, plan: &HostPlan, loud: bool) -> Outcome {
    let state = batch.state;
    let behind = state.plans.get(host).is_some_and(|record| {
        let older = plan.seq < record.seq && plan.issued_at <= record.issued_at;
        plans::is_known(record, plan) || older
    });
    if behind {
        compared(batch, host);
        return Outcome::Known;
    }
    let known = state.plans.get(host).map_or(0, |record| record.seq);
    let differing = differences(state.slots_on(host), &state.releases, plan);
    let outcome = if differing.is_empty() { "held: same slots" } else { "held: other slots" };
    if loud {
        batch.audit(audit::fact(&format!("agent/{host}"), "host.ahead", host, None, outcome));
    }
    let holds = format!("holds plan {}, the store knows {known}", plan.seq);
    let found = !state.awaits(host);
    if found {
        begin::found(batch, format!("host {host} {holds}: the store is older than its fleet"));
    }
    if loud && !differing.is_empty() {
        let what: Vec<String> = differing.iter().take(3).map(ToString::to_string).collect();
        let more = differing.len().saturating_sub(what.len());
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let text = format!("{holds}: {}{more}; {HINT}", what.join("; "));
        batch.event("host.recovering", host.as_str(), text);
    }
    if found { Outcome::Found } else { Outcome::Ahead }
}

/// The host holds nothing that the store does not know. What was decided about it while that was unclear gets its number
/// now; and so does what was not, since its agent may know from what runs that there were newer ones, and then waits for one.
fn compared(batch: &mut WriteBatch<'_>, host: &HostId) {
    let segment = batch.state.segment();
    if let Some(record) = batch.state.hosts.get(host).filter(|record| record.compared < segment) {
        batch.change(Change::Host(Box::new(HostRecord { compared: segment, ..record.clone() })));
        plans::raise(batch, host);
    }
}
