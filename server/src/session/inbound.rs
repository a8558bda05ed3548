//! What an agent says on a session.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tonic::Status;
use windlass_certs::identity::PeerIdentity;
use windlass_core::HostId;
use windlass_core::host::HostFacts;
use windlass_core::observation::Observation;
use windlass_proto::pb;
use windlass_proto::pb::connect_request::Message as From;
use windlass_proto::pb::connect_response::Message as To;

use super::Session;
use crate::coordinator::Coordinator;
use crate::grpc::status::refused;
use crate::hosts::HostError;
use crate::ledger::{Change, Draft};
use crate::receipts;
use crate::store::record::HostRecord;

/// What a host may take of our memory and disk with each kind of report. Ours have a few KiB; an observation
/// grows with the slots.
const MAX_FACTS: usize = 64 << 10;
const MAX_STATS: usize = 256 << 10;
const MAX_OBSERVATION: usize = 4 << 20;
/// Receipts of one stream that are reported as bad.
const BAD_RECEIPTS: u32 = 10;

/// Reads JSON of at most `limit` bytes.
pub(super) fn bounded<T: DeserializeOwned>(
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

impl Session {
    pub(super) async fn received(&mut self, message: pb::ConnectRequest) -> Result<(), Status> {
        let now = self.coordinator.ledger.now();
        match message.message {
            Some(From::Heartbeat(beat)) => {
                let stats =
                    (!beat.stats.is_empty()).then(|| bounded("heartbeat.stats", &beat.stats, MAX_STATS));
                self.coordinator.registry.heard(&self.host, stats.transpose()?, now);
                for request in self.logs.abandoned() {
                    self.push(To::LogCancel(pb::LogCancel { request }));
                }
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
                store_facts(&self.coordinator, &self.host, facts).await?;
                self.coordinator.host_changed(&self.host);
            }
            Some(From::LogLines(lines)) => {
                if let Some(request) = self.logs.lines(lines) {
                    self.push(To::LogCancel(pb::LogCancel { request }));
                }
            }
            Some(From::Receipt(receipt)) => self.receipt(&receipt.envelope).await?,
            Some(From::Hello(_)) => return Err(Status::invalid_argument("`hello` comes once, and first")),
            // A newer agent may say what this version does not know.
            None => {}
        }
        Ok(())
    }

    /// A host that sends nothing but bad receipts fills no log: the first few say it all.
    async fn receipt(&mut self, envelope: &[u8]) -> Result<(), Status> {
        if self.bad_receipts < BAD_RECEIPTS
            && !receipts::take(&self.coordinator, &self.host, envelope).await?
        {
            self.bad_receipts += 1;
        }
        Ok(())
    }
}

/// Takes in what a host sees. Answers with the revision to acknowledge.
pub(crate) fn observed(coordinator: &Coordinator, host: &HostId, observation: &[u8]) -> Result<u64, Status> {
    let seen: Observation = bounded("observation", observation, MAX_OBSERVATION)?;
    let revision = seen.revision;
    coordinator.registry.observed(host, Arc::new(seen), coordinator.ledger.now());
    coordinator.host_changed(host);
    Ok(revision)
}

/// Lets a host in: it must be a member, and its certificate is noted as in use.
pub(crate) async fn admit(
    coordinator: &Coordinator,
    host: &HostId,
    peer: &PeerIdentity,
    facts: HostFacts,
) -> Result<(), Status> {
    let (host, generation) = (host.clone(), peer.generation);
    let key = windlass_core::Digest::of(&peer.spki);
    coordinator
        .write(move |draft| {
            let record = draft.state.hosts.get(&host).filter(|record| record.is_member());
            let record = record.ok_or_else(|| HostError::NotAMember(host.clone()))?;
            if record.key != key {
                return Err(HostError::OtherKey(host));
            }
            let mut next = HostRecord { facts: pinned(record, facts), ..record.clone() };
            next.certificate.seen |= generation >= next.certificate.generation;
            store(draft, record, next);
            Ok(())
        })
        .await?
        .map_err(refused)
}

async fn store_facts(coordinator: &Coordinator, host: &HostId, facts: HostFacts) -> Result<(), Status> {
    let host = host.clone();
    coordinator
        .write(move |draft| {
            let Some(record) = draft.state.hosts.get(&host) else { return };
            let next = HostRecord { facts: pinned(record, facts), ..record.clone() };
            store(draft, record, next);
        })
        .await
}

/// What the host says of itself, but for what was certified when it joined.
fn pinned(record: &HostRecord, facts: HostFacts) -> HostFacts {
    HostFacts { address: record.address.clone(), ..facts }
}

fn store(draft: &mut Draft<'_>, old: &HostRecord, new: HostRecord) {
    if *old != new {
        draft.change(Change::Host(Box::new(new)));
    }
}
