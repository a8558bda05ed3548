//! An admin says that the fleet goes on; or nobody needs to.

use std::collections::BTreeSet;

use windlass_core::view::{RecoveringState, RecoveryView};
use windlass_core::{Digest, HostId};

use super::error::RecoveryError;
use super::proposal::{Choice, Proposal, propose};
use crate::audit;
use crate::coordinator::Coordinator;
use crate::ledger::{Change, State, WriteBatch, WriteError};
use crate::store::record::{HostRecord, RecoveryRecord};

/// Changes of one transaction. Nothing else is decided between two of them.
const BATCH: usize = 512;

/// The word of an admin.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Hosts whose plan does not count.
    pub keep_store: BTreeSet<HostId>,
    /// The preview that was shown to them.
    pub preview: Digest,
    /// The admin.
    pub actor: String,
}

/// The changes left to store after the first transaction.
struct Begun {
    view: RecoveryView,
    rest: Vec<Change>,
    settled: BTreeSet<HostId>,
}

/// Takes over what was shown, and ends the recovery if one is open. Nothing happens if it is not what was shown any more.
pub(crate) async fn go_on(coordinator: &Coordinator, answer: Answer) -> Result<RecoveryView, RecoveryError> {
    let memory = coordinator.recoveries.snapshot();
    let actor = answer.actor.clone();
    let begun = coordinator
        .ledger
        .write(move |batch| {
            let choice = Choice { only: None, keep_store: answer.keep_store };
            let proposal = propose(batch.state, &memory, &choice, batch.now);
            let unasked = choice.keep_store.iter().find(|host| !proposal.settled.contains(*host));
            if let Some(host) = unasked {
                return Err(RecoveryError::NotAhead(host.clone()));
            }
            if proposal.view.digest != answer.preview {
                return Err(RecoveryError::Changed);
            }
            Ok(store(batch, proposal, &answer.actor))
        })
        .await??;
    let Begun { view, mut rest, settled } = begun;
    while !rest.is_empty() {
        let later = rest.split_off(rest.len().min(BATCH));
        let last = later.is_empty();
        let (part, actor, view) = (rest, actor.clone(), view.clone());
        coordinator
            .ledger
            .write(move |batch| {
                part.into_iter().for_each(|change| batch.change(change));
                if last {
                    finish(batch, &view, &actor);
                }
            })
            .await?;
        rest = later;
    }
    coordinator.recoveries.forget(&settled);
    tracing::info!(hosts = settled.len(), actor, "the fleet goes on");
    Ok(view)
}

/// All of it, or the first part: as long as a recovery is open nothing else is decided, and what was stored of it is
/// found again.
fn store(batch: &mut WriteBatch<'_>, proposal: Proposal, actor: &str) -> Begun {
    let Proposal { view, mut changes, settled } = proposal;
    let rest = if batch.state.is_recovering() && changes.len() > BATCH {
        changes.split_off(BATCH)
    } else {
        Vec::new()
    };
    changes.into_iter().for_each(|change| batch.change(change));
    if rest.is_empty() {
        finish(batch, &view, actor);
    }
    Begun { view, rest, settled }
}

fn finish(batch: &mut WriteBatch<'_>, view: &RecoveryView, actor: &str) {
    for host in &view.hosts {
        let outcome = match host.state {
            RecoveringState::KeepHost | RecoveringState::Asked => format!("ok: took over plan {}", host.seq),
            RecoveringState::KeepStore => format!("ok: plan {} does not count", host.seq),
            RecoveringState::Stuck => "held: it cannot be taken over".to_owned(),
            RecoveringState::Unheard => "not heard of: held when it comes".to_owned(),
        };
        batch.audit(audit::fact(actor, "host.recover", &host.host, None, &outcome));
    }
    for service in view.services.iter().filter(|service| service.paused) {
        let text = "it was in the middle of a rollout when the coordinator died, which is paused: `windlass rollout \
                    resume` or `abort`";
        batch.event("rollout.paused", format!("{}/{}", service.environment, service.service), text);
    }
    if batch.state.is_recovering() {
        end(batch, actor);
    }
}

fn end(batch: &mut WriteBatch<'_>, actor: &str) {
    let Some(recovery) = &batch.state.recovery else { return };
    let ended = RecoveryRecord { ended_at: Some(batch.now), ..recovery.clone() };
    batch.audit(audit::fact(actor, "store.recovered", &"fleet", None, "ok"));
    batch.event_by(actor, "store.recovered", "fleet", format!("the fleet goes on, by {actor}"));
    batch.change(Change::Recovery(ended));
}

/// Ends a recovery in which every host turned out to hold what the store knows, or was taken over.
pub(crate) async fn end_if_settled(coordinator: &Coordinator) -> Result<(), WriteError> {
    let settled = |state: &State| {
        let awaits = |record: &HostRecord| record.is_member() && record.compared < state.segment();
        state.is_recovering() && !state.hosts.values().any(awaits)
    };
    if !coordinator.ledger.read(settled) {
        return Ok(());
    }
    let ended = coordinator.ledger.write(move |batch| {
        let ends = settled(batch.state);
        if ends {
            end(batch, "coordinator");
        }
        ends
    });
    if ended.await? {
        coordinator.recoveries.clear();
    }
    Ok(())
}

/// Takes over at once what asks nobody: a host that holds the slots that the store knows, under a higher number.
pub(crate) async fn adopt_unchanged(coordinator: &Coordinator, host: &HostId) -> Result<(), WriteError> {
    if !coordinator.recoveries.is_complete(host) {
        return Ok(());
    }
    take_same(coordinator, host).await
}

async fn take_same(coordinator: &Coordinator, host: &HostId) -> Result<(), WriteError> {
    let memory = coordinator.recoveries.snapshot();
    let name = host.clone();
    let taken = coordinator.ledger.write(move |batch| {
        let choice = Choice { only: Some([name.clone()].into()), keep_store: BTreeSet::new() };
        let proposal = propose(batch.state, &memory, &choice, batch.now);
        let same = |view: &RecoveryView| view.hosts.iter().all(|host| host.differences.is_empty());
        if !proposal.settled.contains(&name) || !same(&proposal.view) {
            return false;
        }
        let outcome = "ok: same slots, its number is taken over";
        batch.audit(audit::fact("coordinator", "host.recover", &name, None, outcome));
        proposal.changes.into_iter().for_each(|change| batch.change(change));
        true
    });
    if taken.await? {
        // The plans that it has shown stay for the others, until the recovery ends.
        coordinator.recoveries.known(host);
        coordinator.host_changed(host);
        coordinator.ledger.signals().plan_of(host).notify_one();
    }
    Ok(())
}
