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
use super::names::lost;
use super::{ReleaseError, Started, check_names, check_uses, history, plan, warnings};
use crate::audit;
use crate::coordinator::Coordinator;
use crate::engine;
use crate::ledger::{Change, WriteBatch};
use crate::quarantine;
use crate::registry::Registry;
use crate::store::record::ReleaseRecord;

/// The time that a release's date may be ahead of this clock. More than hosts allow (60 s): the clock of the coordinator may be the
/// one
/// that is wrong, and the hosts would take the release.
const AHEAD: Duration = Duration::from_secs(600);

/// Time for which the signatures of a release count where several people have to sign: each was made after the release was.
const SIGNATURES_COUNT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The actor of rollouts that the coordinator begins by itself.
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
    /// The submitter.
    pub actor: String,
}

/// A way back to take.
#[derive(Debug, Clone)]
pub(crate) struct Rollback {
    /// Of which service.
    pub service: ServiceId,
    /// The target; the last good release before the current one if absent.
    pub to: Option<Counter>,
    /// Refuse it where names would lead nowhere, so that a person can be asked.
    pub ask: bool,
    /// The asker.
    pub actor: String,
}

/// Takes a release and starts its rollout.
pub(crate) async fn submit(
    coordinator: &Coordinator,
    submission: Submission,
) -> Result<Started, ReleaseError> {
    let registry = coordinator.registry.clone();
    coordinator.ledger.write(move |batch| take(batch, &registry, submission)).await?
}

/// Starts a rollout to an older good release. Always supersedes.
pub(crate) async fn rollback(coordinator: &Coordinator, rollback: Rollback) -> Result<Started, ReleaseError> {
    coordinator.ledger.write(move |batch| go_back(batch, rollback)).await?
}

fn take(
    batch: &mut WriteBatch<'_>,
    registry: &Registry,
    submission: Submission,
) -> Result<Started, ReleaseError> {
    // Only to find the keys; what is decided is decided on the bytes that were verified.
    let claimed: Release = decode(&submission.envelope)?;
    let id = claimed.service_id();
    let checked = verify(batch, &submission.envelope, &id);
    let subject = format!("{id} {}", claimed.counter);
    let digest = submission.envelope.digest();
    let release = match checked {
        Ok(release) => release,
        Err(error) => {
            let outcome = format!("refused: {error}");
            batch.audit(audit::fact(&submission.actor, "release.submit", &subject, Some(digest), &outcome));
            return Err(error);
        }
    };
    let name = ReleaseRef::of(&release, digest);
    let service = batch.state.services.get(&id).cloned().unwrap_or_else(|| Service::new(id.clone()));
    // Before anything is compared with what the store says of the service: it is older than the fleet.
    if batch.state.is_recovering() {
        return Err(ReleaseError::Recovering);
    }
    let warnings = warnings(batch.state, &release);
    if service.is_at(&name) {
        let release = service.current.map_or(name.counter, |current| current.counter);
        return Ok(Started { rollout: None, release, warnings });
    }
    if let Some(rollout) = already_begun(batch, &service, &name) {
        return Ok(Started { rollout: Some(rollout), release: name.counter, warnings });
    }
    check_counter(batch, &service, &name)?;
    check_names(batch.state, &release)?;
    check_uses(batch.state, &release)?;
    if !submission.retry_quarantined {
        check_quarantine(batch, registry, &service, &release, digest)?;
    }
    if let Some(wanted) = submission.preview
        && plan(batch.state, registry, &release, digest, submission.retry_quarantined, batch.now).digest
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
    let started = begin(batch, &service, target)?;
    batch.audit(audit::fact(&submission.actor, "release.submit", &subject, Some(digest), "ok"));
    batch.change(Change::Release(Box::new(ReleaseRecord {
        digest,
        service: id,
        envelope: String::from_utf8(submission.envelope.to_bytes()).expect("JSON is text"),
        submitted_at: batch.now,
        submitted_by: submission.actor,
    })));
    Ok(Started { warnings, ..started })
}

/// Signed by those who may, for us, and allowed to run.
fn verify(batch: &WriteBatch<'_>, envelope: &Envelope, id: &ServiceId) -> Result<Release, ReleaseError> {
    let trust = batch.state.trust.document();
    if !trust.accepts_new_releases(batch.now) {
        return Err(ReleaseError::TrustExpired(trust.expires_at));
    }
    let keys = trust.release_keys(id, Acceptance::New);
    let release: Release = envelope.verify(PayloadType::Release, &keys)?.decode()?;
    if release.fleet != batch.state.fleet {
        return Err(ReleaseError::OtherFleet { found: release.fleet, ours: batch.state.fleet.clone() });
    }
    if !RELEASE_VERSIONS.contains(&release.version) || release.version < release.spec.version() {
        return Err(ReleaseError::Version(release.version));
    }
    // Every host refuses it, so that its rollout could only fail.
    if release.created_at > batch.now + AHEAD {
        return Err(ReleaseError::FromTheFuture { at: release.created_at, now: batch.now });
    }
    // A release that was taken in time may be submitted again.
    let is_new = !batch.state.releases.contains_key(&envelope.digest());
    if is_new && keys.threshold() > 1 && batch.now >= release.created_at + SIGNATURES_COUNT {
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

/// Refuses content that hosts of the rollout would not start: the rollout could only fail there.
fn check_quarantine(
    batch: &WriteBatch<'_>,
    registry: &Registry,
    service: &Service,
    release: &Release,
    digest: Digest,
) -> Result<(), ReleaseError> {
    let content = release.content_digest();
    let known = quarantine::of_service(batch.state, service);
    let Some(failed) = known.into_iter().find(|known| known.content == content) else { return Ok(()) };
    let planned = plan(batch.state, registry, release, digest, true, batch.now);
    quarantine::refusal(&failed, &planned).map_or(Ok(()), |why| Err(ReleaseError::Quarantined(why)))
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
fn already_begun(batch: &WriteBatch<'_>, service: &Service, name: &ReleaseRef) -> Option<RolloutId> {
    if service.current != Some(*name) || service.last_counter != name.counter.0 {
        return None;
    }
    let mut newest = batch.state.rollouts.values().rev();
    newest.find(|rollout| rollout.service == service.id).filter(|r| r.to == *name).map(|r| r.id.clone())
}

fn check_counter(batch: &WriteBatch<'_>, service: &Service, name: &ReleaseRef) -> Result<(), ReleaseError> {
    let next = Counter(service.last_counter + 1);
    if name.counter == next {
        return Ok(());
    }
    let id = &service.id;
    let known =
        batch.state.entries.values().find(|known| &known.service == id && known.name.counter == name.counter);
    match known {
        // The very same envelope again: its answer was lost. The rollout tells how it stands.
        Some(known) if known.name.digest != name.digest => {
            Err(ReleaseError::Reused { service: id.clone(), counter: name.counter })
        }
        Some(_) | None => Err(ReleaseError::Counter { service: id.clone(), found: name.counter, next }),
    }
}

/// The refusal, with the releases that a person may name.
fn nothing_before(service: &Service) -> ReleaseError {
    let current = service.current.map(|current| current.digest);
    let others = service.good.iter().filter(|good| Some(good.digest) != current);
    ReleaseError::NothingBefore {
        service: service.id.clone(),
        others: others.map(|good| good.counter).collect(),
    }
}

fn go_back(batch: &mut WriteBatch<'_>, rollback: Rollback) -> Result<Started, ReleaseError> {
    let Rollback { service: id, to, ask, actor } = rollback;
    if batch.state.is_recovering() {
        return Err(ReleaseError::Recovering);
    }
    let known = batch.state.services.get(&id).filter(|service| service.mode != Mode::Removed).cloned();
    let service = known.ok_or_else(|| ReleaseError::UnknownService(id.clone()))?;
    if let Some(on_its_way) = on_its_way_back(batch, &service).filter(|_| to.is_none()) {
        return Ok(on_its_way);
    }
    let target = match to {
        None => once_more(batch, &service)
            .or_else(|| service.rollback_target())
            .ok_or_else(|| nothing_before(&service))?,
        Some(counter) => named(batch, &service, counter)?,
    };
    may_run_again(batch, &id, &target)?;
    if service.current == Some(target) && service.is_at(&target) {
        return Ok(Started { rollout: None, release: target.counter, warnings: Vec::new() });
    }
    let lost = batch.state.releases.get(&target.digest).and_then(|release| lost(batch.state, release));
    if let Some(lost) = lost.clone().filter(|_| ask) {
        return Err(ReleaseError::LeadsNowhere(lost));
    }
    let subject = format!("{id} {}", target.counter);
    batch.audit(audit::fact(&actor, "release.rollback", &subject, Some(target.digest), "ok"));
    let target =
        Target { release: target, kind: Kind::Rollback, actor, supersede: true, retry_quarantined: true };
    Ok(Started { warnings: lost.into_iter().collect(), ..begin(batch, &service, target)? })
}

/// The rollback that moves the service already: said a second time while it is under way, `rollback` means the same one, and goes
/// no further back.
fn on_its_way_back(batch: &WriteBatch<'_>, service: &Service) -> Option<Started> {
    let active = batch.state.active_rollout(&service.id)?;
    let is_it = active.kind == Kind::Rollback
        && service.current == Some(active.to)
        && active.state != rollout::State::RollingBack;
    let (rollout, release) = (Some(active.id.clone()), active.to.counter);
    is_it.then(|| Started { rollout, release, warnings: Vec::new() })
}

/// The target of a rollback that turns back itself, because a person aborted it: said again, `rollback` means the same one.
fn once_more(batch: &WriteBatch<'_>, service: &Service) -> Option<ReleaseRef> {
    let active = batch.state.active_rollout(&service.id)?;
    let turns_back = active.kind == Kind::Rollback && active.state == rollout::State::RollingBack;
    turns_back.then_some(active.to)
}

/// A release that was good once may have been withdrawn since.
fn may_run_again(batch: &WriteBatch<'_>, id: &ServiceId, target: &ReleaseRef) -> Result<(), ReleaseError> {
    let floor = batch.state.trust.document().floor(id);
    if target.counter < floor {
        return Err(ReleaseError::BelowFloor { service: id.clone(), found: target.counter, floor });
    }
    if batch.state.trust.document().is_release_revoked(&target.digest) {
        return Err(ReleaseError::Revoked);
    }
    batch.state.releases.get(&target.digest).map_or(Ok(()), |release| check_names(batch.state, release))
}

/// Starts the rollout back that a watched release calls for. `service` is as that decision leaves it. A release that may not
/// run any more is not gone back to; the watch is over then, and says so.
pub(crate) fn go_back_alone(batch: &mut WriteBatch<'_>, service: Service, begins: Begins) {
    let Begins { to, reason } = begins;
    let subject = format!("{} {}", service.id, to.counter);
    let fact = |outcome: &str| audit::fact(ITSELF, "release.rollback", &subject, Some(to.digest), outcome);
    if let Err(error) = may_run_again(batch, &service.id, &to) {
        batch.audit(fact(&format!("refused: {error} ({reason})")));
        batch.event("watch.refused", service.id.to_string(), format!("{reason}; {}: {error}", to.counter));
        return batch.change(Change::Service(Box::new(service)));
    }
    batch.audit(fact(&format!("ok: {reason}")));
    let target = Target {
        release: to,
        kind: Kind::Rollback,
        actor: ITSELF.to_owned(),
        supersede: true,
        retry_quarantined: true,
    };
    let id = next_ids(batch.state, batch.now)();
    // No rollout moves it: a watch is only looked at without one.
    let Ok((service, mut rollout, _)) = rollout::start(&service, None, target, id, batch.now) else { return };
    rollout.reason = Some(reason);
    engine::record_state(batch, None, &rollout, None);
    history::forget(batch, &service);
    batch.change(Change::Service(Box::new(service)));
    batch.change(Change::Rollout(Box::new(rollout)));
}

fn named(batch: &WriteBatch<'_>, service: &Service, counter: Counter) -> Result<ReleaseRef, ReleaseError> {
    if let Some(good) = service.good.iter().find(|good| good.counter == counter) {
        return Ok(*good);
    }
    let id = service.id.clone();
    let known =
        batch.state.entries.values().any(|entry| entry.service == id && entry.name.counter == counter);
    Err(if known {
        ReleaseError::NeverGood { service: id, counter }
    } else {
        ReleaseError::UnknownRelease { service: id, counter }
    })
}

fn begin(batch: &mut WriteBatch<'_>, service: &Service, target: Target) -> Result<Started, ReleaseError> {
    let release = target.release.counter;
    let id = next_ids(batch.state, batch.now)();
    let active = batch.state.active_rollout(&service.id);
    let (service, rollout, superseded) = rollout::start(service, active, target, id.clone(), batch.now)?;
    if let Some(superseded) = superseded {
        engine::record_state(batch, active, &superseded, Some(&rollout.actor));
        batch.change(Change::Rollout(Box::new(superseded)));
    }
    engine::record_state(batch, None, &rollout, Some(&rollout.actor));
    history::forget(batch, &service);
    batch.change(Change::Service(Box::new(service)));
    batch.change(Change::Rollout(Box::new(rollout)));
    Ok(Started { rollout: Some(id), release, warnings: Vec::new() })
}

#[cfg(test)]
mod tests;
