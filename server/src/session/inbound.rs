//! The messages of an agent on a session.

use tonic::Status;
use windlass_core::Timestamp;
use windlass_proto::limits::{MAX_STATS_IN_HEARTBEAT, MAX_STATS_REPORT};
use windlass_proto::pb;
use windlass_proto::pb::connect_request::Message as From;
use windlass_proto::pb::connect_response::Message as To;

use super::Session;
use super::reports::{facts_of, heard, observed, stats_of, store_facts};
use crate::receipts;
use crate::recovery;
use crate::routes;

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
