//! The messages of an agent on a session.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tonic::Status;
use windlass_certs::identity::PeerIdentity;
use windlass_core::condition;
use windlass_core::host::{HostFacts, HostStats, Liveness};
use windlass_core::observation::Observation;
use windlass_core::{HostId, Timestamp};
use windlass_proto::limits::{MAX_STATS_IN_HEARTBEAT, MAX_STATS_REPORT};
use windlass_proto::pb;
use windlass_proto::pb::connect_request::Message as From;
use windlass_proto::pb::connect_response::Message as To;

use super::Session;
use crate::coordinator::Coordinator;
use crate::grpc::status::refused;
use crate::hosts::HostError;
use crate::ledger::{Change, WriteBatch, WriteError};
use crate::receipts;
use crate::recovery;
use crate::routes;
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
fn stats_of(field: &'static str, bytes: &[u8], limit: usize) -> Result<HostStats, Status> {
    let mut stats: HostStats = bounded(field, bytes, limit)?;
    stats.bound();
    Ok(stats)
}

impl Session {
    pub(super) async fn received(&mut self, message: pb::ConnectRequest) -> Result<(), Status> {
        let now = self.coordinator.ledger.now();
        match message.message {
            Some(From::Heartbeat(beat)) => {
                let stats = (!beat.stats.is_empty())
                    .then(|| stats_of("heartbeat.stats", &beat.stats, MAX_STATS_IN_HEARTBEAT));
                let seq = heard(&self.coordinator, &self.host, stats.transpose()?).await?;
                if beat.number > 0 {
                    self.push(To::HeartbeatAck(pb::HeartbeatAck { number: beat.number, seq }));
                }
                for request in self.coordinator.readers.abandoned(&self.host, &mut self.asked) {
                    self.push(To::LogCancel(pb::LogCancel { request }));
                }
            }
            Some(From::Stats(report)) => {
                let stats = stats_of("stats", &report.stats, MAX_STATS_REPORT)?;
                self.coordinator.registry.measured(&self.host, stats, now);
            }
            Some(From::Observation(report)) => {
                let revision = observed(&self.coordinator, &self.host, &report.observation)?;
                // It is in memory here, and the agent sends it again on every new stream: whatever dies,
                // the newest arrives.
                self.push(To::Ack(pb::ObservationAck { revision }));
            }
            Some(From::Facts(report)) => {
                let facts = facts_of("facts", &report.facts)?;
                self.coordinator.registry.heard(&self.host, None, now);
                self.held = Some(facts);
            }
            Some(From::LogLines(lines)) => {
                // Said once: an agent that is told to stop with each message would be told thousands of times.
                let request = lines.request;
                if self.asked.contains(&request) && self.coordinator.readers.lines(&self.host, lines) {
                    self.asked.remove(&request);
                    self.push(To::LogCancel(pb::LogCancel { request }));
                }
            }
            Some(From::Receipt(receipt)) => {
                receipts::take(&self.coordinator, &self.host, &receipt).await?;
            }
            Some(From::Kept(report)) => {
                for digest in recovery::listed(&self.coordinator, &self.host, &report.digests)? {
                    self.push(To::ReleaseRequest(pb::ReleaseRequest { digest: digest.to_string() }));
                }
                recovery::adopt_unchanged(&self.coordinator, &self.host).await?;
            }
            Some(From::Release(report)) => {
                recovery::shown(&self.coordinator, &self.host, &report);
                recovery::adopt_unchanged(&self.coordinator, &self.host).await?;
            }
            Some(From::Ingress(report)) => {
                routes::reported(&self.coordinator, &self.host, &report.report).await?;
            }
            Some(From::Hello(_)) => return Err(Status::invalid_argument("`hello` comes once, and first")),
            // A newer agent may say what this version does not know.
            None => {}
        }
        self.store_held(now).await
    }

    /// Stores the newest facts, if that is not too soon; a heartbeat comes in any case.
    async fn store_held(&mut self, now: Timestamp) -> Result<(), Status> {
        if self.held.is_none() || !self.coordinator.registry.may_store_facts(&self.host, now) {
            return Ok(());
        }
        let Some(facts) = self.held.take() else { return Ok(()) };
        store_facts(&self.coordinator, &self.host, facts).await?;
        self.coordinator.host_changed(&self.host);
        Ok(())
    }
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
/// what never runs twice may run on elsewhere, and so nothing of it may start here.
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

async fn store_facts(coordinator: &Coordinator, host: &HostId, facts: HostFacts) -> Result<(), WriteError> {
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
