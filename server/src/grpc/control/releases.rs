//! Releases: what the next one is numbered, what it would do, taking it, going back.

use bytes::Bytes;
use tonic::Status;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::identity::OperatorRole;
use windlass_certs::json::decode_bounded;
use windlass_core::release::Release;
use windlass_core::view::ReleaseView;
use windlass_core::{Counter, Digest, ServiceId};
use windlass_proto::json::encode;
use windlass_proto::pb;

use super::{Caller, service};
use crate::coordinator::Coordinator;
use crate::gates::unreachable;
use crate::grpc::status::{invalid, refused};
use crate::ledger::{ReleaseEntry, State};
use crate::releases::{self, ReleaseError, Rollback, Submission};

pub(super) fn get_service(coordinator: &Coordinator, id: &ServiceId) -> pb::GetServiceResponse {
    coordinator.ledger.read(|state| {
        let known = state.services.get(id);
        let current = known.and_then(|known| state.entries.get(&known.current?.digest));
        pb::GetServiceResponse {
            fleet: state.fleet.to_string(),
            last_counter: known.map_or(0, |known| known.last_counter),
            current: current.map(|entry| entry.envelope.clone()).unwrap_or_default().into(),
        }
    })
}

pub(super) fn preview(
    coordinator: &Coordinator,
    caller: &Caller,
    request: &pb::PreviewRequest,
) -> Result<Bytes, Status> {
    let release: Release = decode_bounded(&request.release, PayloadType::Release.max_len())
        .map_err(|error| invalid("release", &error))?;
    caller.may(OperatorRole::Viewer, &release.environment)?;
    let checked = coordinator.ledger.read(|state| {
        releases::check_names(state, &release)?;
        releases::check_uses(state, &release)
    });
    checked.map_err(refused)?;
    let digest = Digest::of(&request.release);
    Ok(encode(&releases::look_ahead(coordinator, &release, digest, request.retry_quarantined)))
}

pub(super) async fn submit(
    coordinator: &Coordinator,
    caller: &Caller,
    request: pb::SubmitReleaseRequest,
) -> Result<pb::SubmitReleaseResponse, Status> {
    let envelope = Envelope::parse(&request.envelope, PayloadType::Release.max_len())
        .map_err(|error| refused(ReleaseError::Verify(error)))?;
    // The environment that the signatures are checked for is the one that the caller must have.
    let release: Release = decode_bounded(envelope.payload_bytes(), PayloadType::Release.max_len())
        .map_err(|error| invalid("envelope", &error))?;
    caller.may(OperatorRole::Deployer, &release.environment)?;
    let preview = Some(request.preview).filter(|text| !text.is_empty());
    let submission = Submission {
        envelope,
        supersede: request.supersede,
        retry_quarantined: request.retry_quarantined,
        preview: preview.map(|text| text.parse()).transpose().map_err(|error| invalid("preview", &error))?,
        actor: caller.actor(),
    };
    let mut started = releases::submit(coordinator, submission).await.map_err(refused)?;
    started.warnings.extend(unreachable(&coordinator.gates, &release));
    Ok(pb::SubmitReleaseResponse {
        unchanged: started.rollout.is_none(),
        rollout: started.rollout.map(|id| id.to_string()).unwrap_or_default(),
        release: started.release.to_string(),
        warnings: started.warnings,
    })
}

pub(super) async fn rollback(
    coordinator: &Coordinator,
    caller: &Caller,
    request: pb::RollbackRequest,
) -> Result<pb::RollbackResponse, Status> {
    let id = service(caller, &request.service, OperatorRole::Deployer)?;
    let (to, ask) = (counter(&request.to)?, request.ask);
    let rollback = Rollback { service: id, to, ask, actor: caller.actor() };
    let started = releases::rollback(coordinator, rollback).await.map_err(refused)?;
    Ok(pb::RollbackResponse {
        rollout: started.rollout.map(|id| id.to_string()).unwrap_or_default(),
        release: started.release.to_string(),
        warnings: started.warnings,
    })
}

pub(super) fn list(coordinator: &Coordinator, id: &ServiceId) -> Bytes {
    let views: Vec<ReleaseView> = coordinator.ledger.read(|state| {
        let mut entries: Vec<&ReleaseEntry> =
            state.entries.values().filter(|entry| &entry.service == id).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.name.counter));
        entries.into_iter().filter_map(|entry| view(state, entry)).collect()
    });
    encode(&views)
}

pub(super) fn get(
    coordinator: &Coordinator,
    caller: &Caller,
    request: &pb::GetReleaseRequest,
) -> Result<Bytes, Status> {
    let id = service(caller, &request.service, OperatorRole::Viewer)?;
    let wanted = counter(&request.release)?;
    let found = coordinator.ledger.read(|state| {
        let entries = state.entries.values().filter(|entry| entry.service == id);
        let found = entries
            .filter(|entry| wanted.is_none_or(|counter| entry.name.counter == counter))
            .max_by_key(|entry| entry.name.counter);
        found.map(|entry| entry.envelope.clone())
    });
    let unknown = || match wanted {
        Some(counter) => ReleaseError::UnknownRelease { service: id.clone(), counter },
        None => ReleaseError::UnknownService(id.clone()),
    };
    found.map(Into::into).ok_or_else(|| refused(unknown()))
}

fn counter(text: &str) -> Result<Option<Counter>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| invalid("release", &error))
}

fn view(state: &State, entry: &ReleaseEntry) -> Option<ReleaseView> {
    let release = state.releases.get(&entry.name.digest)?;
    let known = state.services.get(&entry.service)?;
    let envelope = Envelope::parse(&entry.envelope, PayloadType::Release.max_len()).ok()?;
    let mut newest = state.rollouts.values().rev();
    let newest = newest.find(|rollout| rollout.service == entry.service && rollout.to == entry.name);
    Some(ReleaseView {
        release: release.counter,
        environment: release.environment.clone(),
        service: release.service.clone(),
        digest: entry.name.digest,
        image: release.spec.image.reference.clone(),
        image_digest: release.spec.image.digest,
        author: release.author.clone(),
        created_at: release.created_at,
        good: known.good.iter().any(|good| good.digest == entry.name.digest),
        held: known.held.contains(&entry.name.content),
        current: known.current.is_some_and(|current| current.digest == entry.name.digest),
        outcome: newest.map(|rollout| rollout.state).filter(|state| state.is_final()),
        signed_by: envelope.signatures().iter().filter_map(|signature| signature.keyid.clone()).collect(),
    })
}
