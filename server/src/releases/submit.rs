//! Submitting and rolling back: checked and stored in one write, so that of two submissions with one number
//! one wins.

use std::time::Duration;

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::trust::Acceptance;
use windlass_core::release::{RELEASE_VERSIONS, Release};
use windlass_core::rollout::{self, Begins, Kind, Target};
use windlass_core::service::{Mode, ReleaseRef, Service};
use windlass_core::{Counter, Digest, RolloutId, ServiceId};

use super::ids::next_ids;
use super::{ReleaseError, Started, check_names, check_uses, history, plan};
use crate::audit;
use crate::coordinator::Coordinator;
use crate::engine;
use crate::ledger::{Change, Draft};
use crate::registry::Registry;
use crate::store::record::ReleaseRecord;

/// How far a release's date may be ahead of this clock. More than hosts allow (60 s): the clock of the coordinator may be the one
/// that is wrong, and the hosts would take the release.
const AHEAD: Duration = Duration::from_secs(600);

/// How long the signatures of a release count where several people have to sign: each was made after the release was.
const SIGNATURES_COUNT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Who asks for what the coordinator begins by itself.
const ITSELF: &str = "windlass";

/// A release to take.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    /// The envelope, parsed but not believed.
    pub envelope: Envelope,
    /// End an active rollout.
    pub supersede: bool,
    /// Start it although its content failed before.
    pub retry_quarantined: bool,
    /// Only if this is still what would happen.
    pub preview: Option<Digest>,
    /// Who submits it.
    pub actor: String,
}

/// A way back to take.
#[derive(Debug, Clone)]
pub(crate) struct Rollback {
    /// Of which service.
    pub service: ServiceId,
    /// Where to; the last good release before the current one if absent.
    pub to: Option<Counter>,
    /// Who asks.
    pub actor: String,
}

/// Takes a release and starts its rollout.
pub(crate) async fn submit(
    coordinator: &Coordinator,
    submission: Submission,
) -> Result<Started, ReleaseError> {
    let registry = coordinator.registry.clone();
    coordinator.ledger.write(move |draft| take(draft, &registry, submission)).await?
}

/// Starts a rollout to an older good release. Always supersedes.
pub(crate) async fn rollback(coordinator: &Coordinator, rollback: Rollback) -> Result<Started, ReleaseError> {
    coordinator.ledger.write(move |draft| go_back(draft, rollback)).await?
}

fn take(draft: &mut Draft<'_>, registry: &Registry, submission: Submission) -> Result<Started, ReleaseError> {
    // Only to find the keys; what is decided is decided on the bytes that were verified.
    let claimed: Release = decode(&submission.envelope)?;
    let id = claimed.service_id();
    let checked = verify(draft, &submission.envelope, &id);
    let subject = format!("{id} {}", claimed.counter);
    let digest = submission.envelope.digest();
    let release = match checked {
        Ok(release) => release,
        Err(error) => {
            let outcome = format!("refused: {error}");
            draft.audit(audit::fact(&submission.actor, "release.submit", &subject, Some(digest), &outcome));
            return Err(error);
        }
    };
    let name = ReleaseRef::of(&release, digest);
    let service = draft.state.services.get(&id).cloned().unwrap_or_else(|| Service::new(id.clone()));
    // Before anything is compared with what the store says of the service: it is older than the fleet.
    if draft.state.is_recovering() {
        return Err(ReleaseError::Recovering);
    }
    if service.is_at(&name) {
        let release = service.current.map_or(name.counter, |current| current.counter);
        return Ok(Started { rollout: None, release });
    }
    if let Some(rollout) = already_begun(draft, &service, &name) {
        return Ok(Started { rollout: Some(rollout), release: name.counter });
    }
    check_counter(draft, &service, &name)?;
    check_names(draft.state, &release)?;
    check_uses(draft.state, &release)?;
    if let Some(wanted) = submission.preview
        && plan(draft.state, registry, &release, digest, submission.retry_quarantined, draft.now).digest
            != wanted
    {
        return Err(ReleaseError::PreviewChanged);
    }
    let target = Target {
        release: name,
        kind: Kind::Deploy,
        actor: submission.actor.clone(),
        supersede: submission.supersede,
        retry_quarantined: submission.retry_quarantined,
    };
    let started = begin(draft, &service, target)?;
    draft.audit(audit::fact(&submission.actor, "release.submit", &subject, Some(digest), "ok"));
    draft.change(Change::Release(Box::new(ReleaseRecord {
        digest,
        service: id,
        envelope: String::from_utf8(submission.envelope.to_bytes()).expect("JSON is text"),
        submitted_at: draft.now,
        submitted_by: submission.actor,
    })));
    Ok(started)
}

/// Signed by those who may, for us, and allowed to run.
fn verify(draft: &Draft<'_>, envelope: &Envelope, id: &ServiceId) -> Result<Release, ReleaseError> {
    let trust = draft.state.trust.document();
    if !trust.accepts_new_releases(draft.now) {
        return Err(ReleaseError::TrustExpired(trust.expires_at));
    }
    let keys = trust.release_keys(id, Acceptance::New);
    let release: Release = envelope.verify(PayloadType::Release, &keys)?.decode()?;
    if release.fleet != draft.state.fleet {
        return Err(ReleaseError::OtherFleet { found: release.fleet, ours: draft.state.fleet.clone() });
    }
    if !RELEASE_VERSIONS.contains(&release.version) || release.version < release.spec.version() {
        return Err(ReleaseError::Version(release.version));
    }
    // Every host refuses it, so that its rollout could only fail.
    if release.created_at > draft.now + AHEAD {
        return Err(ReleaseError::FromTheFuture { at: release.created_at, now: draft.now });
    }
    // What was taken in time may be submitted again.
    let is_new = !draft.state.releases.contains_key(&envelope.digest());
    if is_new && keys.threshold() > 1 && draft.now >= release.created_at + SIGNATURES_COUNT {
        return Err(ReleaseError::SignaturesExpired { made: release.created_at });
    }
    let floor = trust.floor(id);
    if release.counter < floor {
        return Err(ReleaseError::BelowFloor { service: id.clone(), found: release.counter, floor });
    }
    if trust.is_release_revoked(&envelope.digest()) {
        return Err(ReleaseError::Revoked);
    }
    Ok(release)
}

fn decode(envelope: &Envelope) -> Result<Release, ReleaseError> {
    let read = windlass_certs::json::decode_bounded(envelope.payload_bytes(), PayloadType::Release.max_len());
    read.map_err(|source| {
        let error =
            windlass_certs::dsse::VerifyError::Malformed { what: "the release", source: Some(source) };
        ReleaseError::Verify(error)
    })
}

/// The rollout that this very release began: the client asks again because the answer was lost.
fn already_begun(draft: &Draft<'_>, service: &Service, name: &ReleaseRef) -> Option<RolloutId> {
    if service.current != Some(*name) || service.last_counter != name.counter.0 {
        return None;
    }
    let mut newest = draft.state.rollouts.values().rev();
    newest.find(|rollout| rollout.service == service.id).filter(|r| r.to == *name).map(|r| r.id.clone())
}

fn check_counter(draft: &Draft<'_>, service: &Service, name: &ReleaseRef) -> Result<(), ReleaseError> {
    let next = Counter(service.last_counter + 1);
    if name.counter == next {
        return Ok(());
    }
    let id = &service.id;
    let known =
        draft.state.entries.values().find(|known| &known.service == id && known.name.counter == name.counter);
    match known {
        // The very same envelope again: its answer was lost. The rollout tells how it stands.
        Some(known) if known.name.digest != name.digest => {
            Err(ReleaseError::Reused { service: id.clone(), counter: name.counter })
        }
        Some(_) | None => Err(ReleaseError::Counter { service: id.clone(), found: name.counter, next }),
    }
}

fn go_back(draft: &mut Draft<'_>, rollback: Rollback) -> Result<Started, ReleaseError> {
    let Rollback { service: id, to, actor } = rollback;
    if draft.state.is_recovering() {
        return Err(ReleaseError::Recovering);
    }
    let known = draft.state.services.get(&id).filter(|service| service.mode != Mode::Removed).cloned();
    let service = known.ok_or_else(|| ReleaseError::UnknownService(id.clone()))?;
    if let Some(on_its_way) = on_its_way_back(draft, &service).filter(|_| to.is_none()) {
        return Ok(on_its_way);
    }
    let target = match to {
        None => once_more(draft, &service)
            .or_else(|| service.rollback_target())
            .ok_or_else(|| ReleaseError::NothingBefore(id.clone()))?,
        Some(counter) => named(draft, &service, counter)?,
    };
    may_run_again(draft, &id, &target)?;
    if service.current == Some(target) && service.is_at(&target) {
        return Ok(Started { rollout: None, release: target.counter });
    }
    let subject = format!("{id} {}", target.counter);
    draft.audit(audit::fact(&actor, "release.rollback", &subject, Some(target.digest), "ok"));
    let target =
        Target { release: target, kind: Kind::Rollback, actor, supersede: true, retry_quarantined: true };
    begin(draft, &service, target)
}

/// The rollback that moves the service already: said a second time while it is under way, `rollback` means the same one, and goes
/// no further back.
fn on_its_way_back(draft: &Draft<'_>, service: &Service) -> Option<Started> {
    let active = draft.state.active_rollout(&service.id)?;
    let is_it = active.kind == Kind::Rollback
        && service.current == Some(active.to)
        && active.state != rollout::State::RollingBack;
    is_it.then(|| Started { rollout: Some(active.id.clone()), release: active.to.counter })
}

/// The target of a rollback that turns back itself, because a person aborted it: said again, `rollback` means the same one.
fn once_more(draft: &Draft<'_>, service: &Service) -> Option<ReleaseRef> {
    let active = draft.state.active_rollout(&service.id)?;
    let turns_back = active.kind == Kind::Rollback && active.state == rollout::State::RollingBack;
    turns_back.then_some(active.to)
}

/// A release that was good once may have been withdrawn since.
fn may_run_again(draft: &Draft<'_>, id: &ServiceId, target: &ReleaseRef) -> Result<(), ReleaseError> {
    let floor = draft.state.trust.document().floor(id);
    if target.counter < floor {
        return Err(ReleaseError::BelowFloor { service: id.clone(), found: target.counter, floor });
    }
    if draft.state.trust.document().is_release_revoked(&target.digest) {
        return Err(ReleaseError::Revoked);
    }
    draft.state.releases.get(&target.digest).map_or(Ok(()), |release| check_names(draft.state, release))
}

/// Starts the rollout back that a watched release calls for. `service` is as that decision leaves it. A release that may not
/// run any more is not gone back to; the watch is over then, and says so.
pub(crate) fn go_back_alone(draft: &mut Draft<'_>, service: Service, begins: Begins) {
    let Begins { to, reason } = begins;
    let subject = format!("{} {}", service.id, to.counter);
    let fact = |outcome: &str| audit::fact(ITSELF, "release.rollback", &subject, Some(to.digest), outcome);
    if let Err(error) = may_run_again(draft, &service.id, &to) {
        draft.audit(fact(&format!("refused: {error} ({reason})")));
        draft.event("watch.refused", service.id.to_string(), format!("{reason}; {}: {error}", to.counter));
        return draft.change(Change::Service(Box::new(service)));
    }
    draft.audit(fact(&format!("ok: {reason}")));
    let target = Target {
        release: to,
        kind: Kind::Rollback,
        actor: ITSELF.to_owned(),
        supersede: true,
        retry_quarantined: true,
    };
    let id = next_ids(draft.state, draft.now)();
    // No rollout moves it: a watch is only looked at without one.
    let Ok((service, mut rollout, _)) = rollout::start(&service, None, target, id, draft.now) else { return };
    rollout.reason = Some(reason);
    engine::tell(draft, None, &rollout);
    history::forget(draft, &service);
    draft.change(Change::Service(Box::new(service)));
    draft.change(Change::Rollout(Box::new(rollout)));
}

fn named(draft: &Draft<'_>, service: &Service, counter: Counter) -> Result<ReleaseRef, ReleaseError> {
    if let Some(good) = service.good.iter().find(|good| good.counter == counter) {
        return Ok(*good);
    }
    let id = service.id.clone();
    let known =
        draft.state.entries.values().any(|entry| entry.service == id && entry.name.counter == counter);
    Err(if known {
        ReleaseError::NeverGood { service: id, counter }
    } else {
        ReleaseError::UnknownRelease { service: id, counter }
    })
}

fn begin(draft: &mut Draft<'_>, service: &Service, target: Target) -> Result<Started, ReleaseError> {
    let release = target.release.counter;
    let id = next_ids(draft.state, draft.now)();
    let active = draft.state.active_rollout(&service.id);
    let (service, rollout, superseded) = rollout::start(service, active, target, id.clone(), draft.now)?;
    if let Some(superseded) = superseded {
        engine::tell(draft, active, &superseded);
        draft.change(Change::Rollout(Box::new(superseded)));
    }
    engine::tell(draft, None, &rollout);
    history::forget(draft, &service);
    draft.change(Change::Service(Box::new(service)));
    draft.change(Change::Rollout(Box::new(rollout)));
    Ok(Started { rollout: Some(id), release })
}

#[cfg(test)]
mod tests;
