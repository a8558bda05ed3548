//! What an agent says on a session.

use std::sync::Arc;

use tonic::Status;
use windlass_certs::identity::PeerIdentity;
use windlass_core::HostId;
use windlass_core::host::HostFacts;
use windlass_core::observation::Observation;
use windlass_proto::json::decode;
use windlass_proto::pb;
use windlass_proto::pb::connect_request::Message as From;
use windlass_proto::pb::connect_response::Message as To;

use super::Session;
use crate::clock;
use crate::coordinator::Coordinator;
use crate::grpc::status::refused;
use crate::hosts::HostError;
use crate::ledger::{Change, Draft};
use crate::receipts;
use crate::store::record::HostRecord;

impl Session {
    pub(super) async fn received(&mut self, message: pb::ConnectRequest) -> Result<(), Status> {
        let now = clock::now();
        match message.message {
            Some(From::Heartbeat(beat)) => {
                let stats = (!beat.stats.is_empty()).then(|| decode("heartbeat.stats", &beat.stats));
                self.coordinator.registry.heard(&self.host, stats.transpose()?, now);
                for request in self.logs.abandoned() {
                    self.push(To::LogCancel(pb::LogCancel { request }));
                }
            }
            Some(From::Observation(report)) => {
                let seen: Observation = decode("observation", &report.observation)?;
                let revision = seen.revision;
                self.coordinator.registry.observed(&self.host, Arc::new(seen), now);
                self.coordinator.host_changed(&self.host);
                // It is in memory here, and the agent sends it again on every new stream: whatever dies,
                // the newest arrives.
                self.push(To::Ack(pb::ObservationAck { revision }));
            }
            Some(From::Facts(report)) => {
                let facts = decode("facts", &report.facts)?;
                self.coordinator.registry.heard(&self.host, None, now);
                store_facts(&self.coordinator, &self.host, facts).await?;
                self.coordinator.host_changed(&self.host);
            }
            Some(From::LogLines(lines)) => {
                if let Some(request) = self.logs.lines(lines) {
                    self.push(To::LogCancel(pb::LogCancel { request }));
                }
            }
            Some(From::Receipt(receipt)) => {
                receipts::take(&self.coordinator, &self.host, &receipt.envelope).await?
            }
            Some(From::Hello(_)) => return Err(Status::invalid_argument("`hello` comes once, and first")),
            // A newer agent may say what this version does not know.
            None => {}
        }
        Ok(())
    }
}

/// Lets a host in: it must be a member, and its certificate is noted as in use.
pub(super) async fn admit(
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
