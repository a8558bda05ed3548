//! The reports of a host, taken in: what they say is bounded here, kept in memory, and stored where it counts.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tonic::Status;
use windlass_certs::identity::PeerIdentity;
use windlass_core::HostId;
use windlass_core::condition;
use windlass_core::host::{HostFacts, HostStats, Liveness};
use windlass_core::observation::Observation;

use crate::coordinator::Coordinator;
use crate::grpc::status::refused;
use crate::hosts::HostError;
use crate::ledger::{Change, WriteBatch, WriteError};
use crate::store::record::HostRecord;

/// The bounds of each kind of report in our memory and disk. Ours have a few KiB; an observation
/// grows with the slots.
const MAX_FACTS: usize = 64 << 10;
const MAX_OBSERVATION: usize = 4 << 20;
/// A plan has at most 1024 slots; a host may still show some that left it.
const MAX_SLOTS: usize = 2048;
/// Instances of all its slots: new, old, and kept ones.
const MAX_INSTANCES: usize = 8192;

/// Reads JSON of at most `limit` bytes.
pub(crate) fn bounded<T: DeserializeOwned>(
    field: &'static str,
    bytes: &[u8],
    limit: usize,
) -> Result<T, Status> {
    if bytes.len() > limit {
        let text = format!("field `{field}` has {} bytes, more than {limit}", bytes.len());
        return Err(Status::resource_exhausted(text));
    }
    Ok(windlass_proto::json::decode(field, bytes)?)
}

/// Reads the facts of a host.
pub(super) fn facts_of(field: &'static str, bytes: &[u8]) -> Result<HostFacts, Status> {
    bounded(field, bytes, MAX_FACTS)
}

/// Reads how a host does.
pub(super) fn stats_of(field: &'static str, bytes: &[u8], limit: usize) -> Result<HostStats, Status> {
    let mut stats: HostStats = bounded(field, bytes, limit)?;
    stats.bound();
    Ok(stats)
}

/// A host gave a sign of life. Answers with the number of its newest plan, which an acknowledgement says.
pub(crate) async fn heard(
    coordinator: &Coordinator,
    host: &HostId,
    stats: Option<HostStats>,
) -> Result<u64, Status> {
    let now = coordinator.ledger.now();
    let before = coordinator.registry.liveness(host, now);
    coordinator.registry.heard(host, stats, now);
    if before != Liveness::Connected {
        await_decision(coordinator).await?;
    }
    Ok(newest_seq(coordinator, host))
}

/// Waits for the decision under way. One that was made from this host's silence is stored then, so that what an
/// acknowledgement says of the newest plan takes it into account: the host would start again what was replaced.
pub(crate) async fn await_decision(coordinator: &Coordinator) -> Result<(), WriteError> {
    coordinator.write(|_| ()).await
}

/// The number of the newest plan that was made for a host. While the store is older than its fleet nobody knows that:
/// an instance that never runs twice may run on elsewhere, and so nothing of it may start here.
pub(crate) fn newest_seq(coordinator: &Coordinator, host: &HostId) -> u64 {
    coordinator.ledger.read(|state| {
        let is_unknown = state.is_recovering() || state.awaits(host);
        if is_unknown { u64::MAX } else { state.plans.get(host).map_or(0, |plan| plan.seq) }
    })
}

/// Takes in what a host sees. Answers with the revision to acknowledge.
pub(crate) fn observed(coordinator: &Coordinator, host: &HostId, observation: &[u8]) -> Result<u64, Status> {
    let mut seen: Observation = bounded("observation", observation, MAX_OBSERVATION)?;
    check_size(&seen)?;
    seen.bound();
    let revision = seen.revision;
    coordinator.registry.observed(host, Arc::new(seen), coordinator.ledger.now());
    coordinator.host_changed(host);
    Ok(revision)
}

/// Checks the part of a report that the coordinator remembers, whatever fits into a message.
fn check_size(seen: &Observation) -> Result<(), Status> {
    let instances: usize = seen.slots.iter().map(|slot| slot.instances.len()).sum();
    if seen.slots.len() > MAX_SLOTS || instances > MAX_INSTANCES {
        return Err(Status::resource_exhausted(format!(
            "an observation has at most {MAX_SLOTS} slots and {MAX_INSTANCES} instances"
        )));
    }
    if !condition::is_bounded(&seen.conditions) {
        return Err(Status::resource_exhausted(format!(
            "an observation has at most {} conditions of {} bytes each",
            condition::CONDITIONS,
            condition::MESSAGE
        )));
    }
    Ok(())
}

/// Lets a host in: it must be a member, and its certificate is noted as in use. Answers with the facts, if they came
/// too soon after others to be stored.
pub(crate) async fn admit(
    coordinator: &Coordinator,
    host: &HostId,
    peer: &PeerIdentity,
    facts: HostFacts,
) -> Result<Option<HostFacts>, Status> {
    let may_store = coordinator.registry.may_store_facts(host, coordinator.ledger.now());
    let (host, generation) = (host.clone(), peer.generation);
    let key = windlass_core::Digest::of(&peer.spki);
    let (now, later) = if may_store { (Some(facts), None) } else { (None, Some(facts)) };
    coordinator
        .write(move |batch| {
            let record = batch.state.hosts.get(&host).filter(|record| record.is_member());
            let record = record.ok_or_else(|| HostError::NotAMember(host.clone()))?;
            if record.key != key {
                return Err(HostError::OtherKey(host));
            }
            let mut next = record.clone();
            if let Some(facts) = now {
                next.facts = pinned(record, facts);
            }
            next.certificate.seen |= generation >= next.certificate.generation;
            store(batch, record, next);
            Ok(())
        })
        .await?
        .map_err(refused)?;
    Ok(later)
}

/// Stores the facts of a host.
pub(super) async fn store_facts(
    coordinator: &Coordinator,
    host: &HostId,
    facts: HostFacts,
) -> Result<(), WriteError> {
    let host = host.clone();
    coordinator
        .write(move |batch| {
            let Some(record) = batch.state.hosts.get(&host) else { return };
            let next = HostRecord { facts: pinned(record, facts), ..record.clone() };
            store(batch, record, next);
        })
        .await
}

/// The facts that a host tells of itself, but for those certified when it joined: its address, and its labels, of which it
/// may drop some and never add one. A captured host would else claim `role=app`, and get such releases with all that
/// is in them.
fn pinned(record: &HostRecord, mut facts: HostFacts) -> Arc<HostFacts> {
    facts.gpu_driver.bound();
    let kept = |key: &String, value: &String| facts.labels.get(key) == Some(value);
    let labels = record.labels.iter().filter(|(key, value)| kept(key, value));
    let labels = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
    Arc::new(HostFacts { address: record.address.clone(), labels, ..facts })
}

fn store(batch: &mut WriteBatch<'_>, old: &HostRecord, new: HostRecord) {
    if *old != new {
        batch.change(Change::Host(Box::new(new)));
    }
}
