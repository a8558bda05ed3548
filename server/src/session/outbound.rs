//! The messages of the coordinator on a session.

use std::collections::BTreeMap;

use bytes::Bytes;
use windlass_core::{Digest, EnvironmentId, HostId};
use windlass_proto::pb;
use windlass_proto::pb::connect_response::Message;

use super::{LogCommand, Session};
use crate::coordinator::Coordinator;
use crate::routes;

/// The newest plan of `host` and its number, if that is above `sent` and the host may have it.
pub(crate) fn newest_plan(coordinator: &Coordinator, host: &HostId, sent: u64) -> Option<(u64, Bytes)> {
    if coordinator.ledger.read(|state| state.is_recovering() || state.awaits(host)) {
        return None;
    }
    coordinator.plans.envelope(host).filter(|(seq, _)| *seq > sent)
}

/// The traffic tables of the environments that `host` serves which are not the ones that `sent` names; it names them from now on.
pub(crate) fn newer_routes(
    coordinator: &Coordinator,
    host: &HostId,
    sent: &mut BTreeMap<EnvironmentId, Digest>,
) -> Vec<Bytes> {
    let newer: Vec<_> = coordinator.ledger.read(|state| {
        if state.is_recovering() {
            return Vec::new();
        }
        let tables = state.routes.iter().filter_map(|(name, record)| Some((name, record.table.clone()?)));
        let newer = tables.filter(|(name, table)| {
            sent.get(*name) != Some(&table.digest) && routes::serves(state, host, name)
        });
        newer.map(|(_, table)| table).collect()
    });
    let offered = newer.into_iter().map(|table| {
        sent.insert(table.routes.environment.clone(), table.digest);
        coordinator.tables.envelope(&table)
    });
    offered.collect()
}

impl Session {
    pub(super) fn welcome(&mut self) {
        let heartbeat = self.coordinator.registry.rules().heartbeat;
        self.push(Message::Welcome(pb::Welcome {
            coordinator_version: env!("CARGO_PKG_VERSION").to_owned(),
            trust_version: self.coordinator.ledger.read(|state| state.trust.version()),
            heartbeat_ms: u32::try_from(heartbeat.as_millis()).unwrap_or(u32::MAX),
            acks_heartbeats: true,
            takes_stats: true,
        }));
    }

    /// Queues the newest plan, if it is newer than what was sent on this stream.
    pub(super) fn offer_plan(&mut self) {
        if let Some((seq, envelope)) = newest_plan(&self.coordinator, &self.host, self.sent_seq) {
            self.sent_seq = seq;
            tracing::debug!(host = %self.host, seq, "offering a plan");
            self.push(Message::Plan(pb::PlanOffer { envelope }));
        }
    }

    /// Queues what every session is told: a newer trust document, a newer checkpoint, a newer revocation list.
    pub(super) fn notify(&mut self) {
        self.everyone.mark_unchanged();
        let (version, checkpoint) = self.coordinator.ledger.read(|state| {
            let newer = state.checkpoint.as_ref().filter(|(size, _)| *size > self.sent_checkpoint);
            (state.trust.version(), newer.cloned())
        });
        if version > self.sent_trust {
            self.sent_trust = version;
            self.push(Message::Trust(pb::TrustNotice { version }));
        }
        self.offer_routes();
        if let Some((version, envelope)) = self.coordinator.revoked.after(self.sent_revocations) {
            self.sent_revocations = version;
            self.push(Message::Revocations(pb::RevocationNotice { envelope }));
        }
        if let Some((size, envelope)) = checkpoint {
            self.sent_checkpoint = size;
            self.push(Message::Checkpoint(pb::CheckpointNotice { envelope: envelope.into() }));
        }
    }

    /// Queues every traffic table that is newer than what was sent on this stream, of environments that the host serves.
    fn offer_routes(&mut self) {
        if !self.knows_routes {
            return;
        }
        for envelope in newer_routes(&self.coordinator, &self.host, &mut self.sent_routes) {
            self.push(Message::Routes(pb::RoutesOffer { envelope }));
        }
    }

    /// Asks the host for a log.
    pub(super) fn command(&mut self, command: LogCommand) {
        if !self.sends_logs && command.needs_apart() {
            command.refuse("its agent is of a version before this can be asked; upgrade it");
            return;
        }
        let request = self.coordinator.readers.start(&self.host, command.pieces.clone());
        self.asked.insert(request);
        let apart = self.sends_logs;
        self.push(Message::LogRequest(command.request(request, apart)));
    }

    pub(super) fn push(&mut self, message: Message) {
        self.pending.push_back(pb::ConnectResponse { message: Some(message) });
    }
}
