//! Ingresses: what they report, whether they count, and tables of theirs that this store has never made.

use std::sync::Arc;

use tonic::Status;
use windlass_core::traffic::{self, IngressReport, MAX_REPORT};
use windlass_core::verify::MAX_TABLE_STEP;
use windlass_core::{EnvironmentId, HostId};
use windlass_proto::limits::MAX_ROUTES_POSITIONS;
use windlass_proto::pb;

use crate::audit;
use crate::coordinator::Coordinator;
use crate::hosts::HostError;
use crate::ledger::{Change, State, Topic, WriteBatch};
use crate::registry::Registry;
use crate::store::record::{HostRecord, RoutesRecord};

/// The step above the known number up to which a host may show one: a captured host shows what it likes. It is a small part of the
/// step that hosts allow between two tables, so that all of them take the next one.
const REACH: u64 = 1 << 16;
const _: () =
    assert!(REACH <= MAX_TABLE_STEP >> 16, "ten raises in ten minutes leave no host behind in a month");

/// Takes in a report. The first one of a host makes its ingress count.
pub(crate) async fn reported(coordinator: &Coordinator, host: &HostId, bytes: &[u8]) -> Result<(), Status> {
    let report: IngressReport = crate::session::bounded("ingress.report", bytes, MAX_REPORT)?;
    report.check().map_err(|error| Status::invalid_argument(error.to_string()))?;
    let counts = coordinator
        .ledger
        .read(|state| state.hosts.get(host).is_some_and(|record| record.ingress_since.is_some()));
    if !counts {
        let name = host.clone();
        coordinator
            .write(move |batch| {
                let record = batch.state.hosts.get(&name).filter(|record| record.is_member());
                let Some(record) = record.filter(|record| record.ingress_since.is_none()) else { return };
                let next = HostRecord { ingress_since: Some(batch.now), ..record.clone() };
                batch.event("ingress.joined", name.as_str(), "its ingress counts from now on");
                batch.change(Change::Host(Box::new(next)));
            })
            .await?;
    }
    let shown: Vec<Shown> = report
        .tables
        .iter()
        .map(|(environment, table)| Shown {
            environment: environment.clone(),
            epoch: table.epoch,
            seq: table.seq,
            digest: Some(table.digest),
        })
        .collect();
    let (report, now) = (Arc::new(report), coordinator.ledger.now());
    coordinator.ledger.read(|state| coordinator.registry.ingress_reported(state, host, report, now));
    above_all(coordinator, host, shown).await?;
    coordinator.ledger.signals().wake(vec![Topic::Ingress(host.clone())]);
    Ok(())
}

/// A table that a host holds.
#[derive(Debug, Clone)]
struct Shown {
    environment: EnvironmentId,
    epoch: u64,
    seq: u64,
    digest: Option<windlass_core::Digest>,
}

/// Takes in the positions that a hello says: after a restore the next tables are numbered above them.
pub(crate) async fn raise(
    coordinator: &Coordinator,
    host: &HostId,
    positions: Vec<pb::RoutesPosition>,
) -> Result<(), Status> {
    let read = |position: pb::RoutesPosition| {
        let environment = position.environment.parse().ok()?;
        Some(Shown { environment, epoch: position.epoch, seq: position.seq, digest: None })
    };
    let shown = positions.into_iter().take(MAX_ROUTES_POSITIONS).filter_map(read).collect();
    above_all(coordinator, host, shown).await
}

/// Whether a table that a host holds is one that this store has not made.
fn ahead(state: &State, host: &HostId, shown: &Shown) -> bool {
    let newest = state.routes.get(&shown.environment);
    let known = newest.map_or(0, |record| record.newest());
    let table = newest.and_then(|record| record.table.as_deref());
    // Two tables with one number: this store made another one than it had made before it was set back.
    let is_other = shown.seq == known
        && shown.digest.is_some_and(|digest| table.is_some_and(|table| table.digest != digest));
    shown.epoch == state.trust.document().epoch
        && (shown.seq > known || is_other)
        && shown.seq - known < REACH
        && serves(state, host, &shown.environment)
}

async fn above_all(coordinator: &Coordinator, host: &HostId, shown: Vec<Shown>) -> Result<(), Status> {
    let is_ahead = coordinator.ledger.read(|state| shown.iter().any(|shown| ahead(state, host, shown)));
    if !is_ahead {
        return Ok(());
    }
    // Each time costs a write.
    if !coordinator.registry.may_complain(host, coordinator.ledger.now()) {
        return Ok(());
    }
    let name = host.clone();
    coordinator
        .write(move |batch| {
            for shown in shown.into_iter().filter(|shown| ahead(batch.state, &name, shown)) {
                let text = format!("{}: table {} is ahead of the store", shown.environment, shown.seq);
                batch.event("routes.raised", name.as_str(), text);
                above(batch, shown.environment, shown.seq);
            }
        })
        .await?;
    coordinator.ledger.signals().wake(vec![Topic::Ingress(host.clone())]);
    Ok(())
}

/// Forgets the ingress of a host, until it reports again.
pub(crate) async fn forget(coordinator: &Coordinator, host: HostId, actor: String) -> Result<(), HostError> {
    let name = host.clone();
    coordinator
        .ledger
        .write(move |batch| {
            let record = batch.state.hosts.get(&name).ok_or_else(|| HostError::Unknown(name.clone()))?;
            batch.audit(audit::ok(&actor, "routes.forget", &name));
            if record.ingress_since.is_some() {
                batch.event_by(&actor, "ingress.forgotten", name.as_str(), format!("by {actor}"));
                let next = HostRecord { ingress_since: None, ..record.clone() };
                batch.change(Change::Host(Box::new(next)));
            }
            Ok::<(), HostError>(())
        })
        .await??;
    coordinator.registry.ingress_forgotten(&host);
    coordinator.host_changed(&host);
    Ok(())
}

/// Tables and the ingresses that count, for whoever asks whether requests still go to an instance.
pub(crate) fn traffic(state: &State, registry: &Registry) -> traffic::Traffic {
    let tables = state
        .routes
        .iter()
        .filter_map(|(environment, record)| Some((environment.clone(), record.table.clone()?)));
    let counted = state.hosts.values().filter(|record| record.is_member() && record.ingress_since.is_some());
    let ingresses = counted.map(|record| {
        let serves = state.routes.keys().filter(|environment| record.serves(environment));
        let (processes, since) = (registry.ingress_reports(&record.name), registry.watched_since());
        (record.name.clone(), traffic::Ingress { processes, since, serves: serves.cloned().collect() })
    });
    traffic::Traffic { tables: tables.collect(), ingresses: ingresses.collect() }
}

/// Whether a host serves an environment.
pub(crate) fn serves(state: &State, host: &HostId, environment: &EnvironmentId) -> bool {
    state.hosts.get(host).is_some_and(|record| record.serves(environment))
}

/// Raises the number of the next table above one that hosts have shown.
fn above(batch: &mut WriteBatch<'_>, environment: EnvironmentId, seq: u64) {
    let record = batch.state.routes.get(&environment).cloned().unwrap_or_default();
    if record.newest() < seq || (record.floor < seq && record.newest() == seq) {
        batch.change(Change::Routes(environment, Box::new(RoutesRecord { floor: seq, ..record })));
    }
}
