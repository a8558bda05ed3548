//! The order in which documents are believed: sizes, outer form, keys, signatures, inner form, audience, time,
//! order. Stops at the first failure, has no side effect, and answers with a typed refusal.
//!
//! | step | here |
//! |---|---|
//! | 1 size, 3 outer form, 5 signatures | `windlass_certs::dsse` |
//! | 2 peer | `windlass_certs::tls`: only coordinators of this fleet get through a handshake |
//! | 4 keys | `windlass_certs::trust` |
//! | 6 to 10 | [`windlass_core::verify`] |
//! | 11 policy | [`windlass_core::policy`], and [`crate::policy::resolve`] for links |
//! | 12 room | `windlass_core::reconcile`, which knows what runs |
//!
//! Nothing here can be configured away.

mod code;
mod desired;

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::json;
use windlass_certs::trust::{Acceptance, TrustDocument};
use windlass_core::audit::Checkpoint;
use windlass_core::observation::{Refusal, RefusalCode};
use windlass_core::plan::HostPlan;
use windlass_core::reconcile::VerifiedRelease;
use windlass_core::release::Release;
use windlass_core::traffic::Routes;
use windlass_core::verify::{self as rules, AcceptedRoutes, Committed, PlanOrder};
use windlass_core::{Digest, EnvironmentId, FleetId, HostId, ServiceId, ServiceName, Timestamp};

pub use code::refusal;
pub use desired::{Context, desired, named, raised_floors};

/// A plan that passed steps 1 to 9.
#[derive(Debug, Clone)]
pub struct VerifiedPlan {
    /// The plan.
    pub plan: HostPlan,
    /// Digest of its payload.
    pub digest: Digest,
    /// Its place after the newest accepted one.
    pub order: PlanOrder,
}

/// The host that asks.
#[derive(Debug, Clone, Copy)]
pub struct Me<'a> {
    /// This host's fleet.
    pub fleet: &'a FleetId,
    /// Its name.
    pub host: &'a HostId,
}

/// Steps 1 to 9 for a host plan.
pub fn plan(
    bytes: &[u8],
    trust: &TrustDocument,
    me: Me<'_>,
    last: Option<Committed>,
    now: Timestamp,
) -> Result<VerifiedPlan, Refusal> {
    let envelope = Envelope::parse(bytes, PayloadType::Plan.max_len()).map_err(refusal)?;
    let verified = envelope.verify(PayloadType::Plan, &trust.dispatch_keys()).map_err(refusal)?;
    let plan: HostPlan = verified.decode().map_err(refusal)?;
    let digest = verified.digest();
    rules::check_plan(&plan)?;
    rules::plan_audience(&plan, me.fleet, me.host)?;
    let committed = last == Some(Committed { seq: plan.seq, digest });
    rules::plan_time(&plan, committed, now)?;
    let order = rules::plan_order(&plan, digest, trust.epoch, last)?;
    Ok(VerifiedPlan { plan, digest, order })
}

/// A traffic table that passed steps 1 to 9.
#[derive(Debug, Clone)]
pub struct VerifiedRoutes {
    /// The table.
    pub routes: Routes,
    /// Digest of its payload.
    pub digest: Digest,
    /// Its place after the newest accepted one of its environment.
    pub order: PlanOrder,
}

impl VerifiedRoutes {
    /// As the newest accepted one.
    pub const fn accepted(&self) -> AcceptedRoutes {
        let committed = Committed { seq: self.routes.seq, digest: self.digest };
        AcceptedRoutes { epoch: self.routes.epoch, committed }
    }
}

/// Steps 1 to 9 for the traffic table of an environment. `last` answers with the newest accepted one of it. The agent
/// asks this of what a coordinator offers, and the ingress again of what the agent hands on.
pub fn routes(
    bytes: &[u8],
    trust: &TrustDocument,
    fleet: &FleetId,
    last: impl FnOnce(&EnvironmentId) -> Option<AcceptedRoutes>,
    now: Timestamp,
) -> Result<VerifiedRoutes, Refusal> {
    let envelope = Envelope::parse(bytes, PayloadType::Routes.max_len()).map_err(refusal)?;
    let verified = envelope.verify(PayloadType::Routes, &trust.dispatch_keys()).map_err(refusal)?;
    let routes: Routes = verified.decode().map_err(refusal)?;
    let digest = verified.digest();
    rules::check_routes(&routes)?;
    rules::routes_audience(&routes, fleet, |host| trust.allows_host(&routes.environment, host))?;
    rules::routes_time(&routes, now)?;
    let order = rules::routes_order(&routes, digest, trust.epoch, last(&routes.environment))?;
    Ok(VerifiedRoutes { routes, digest, order })
}

/// Steps 1 to 8 for a release that a plan names by its digest.
pub fn release(
    bytes: &[u8],
    named: &Digest,
    trust: &TrustDocument,
    fleet: &FleetId,
    acceptance: Acceptance,
    now: Timestamp,
) -> Result<VerifiedRelease, Refusal> {
    let envelope = Envelope::parse(bytes, PayloadType::Release.max_len()).map_err(refusal)?;
    if envelope.digest() != *named {
        let detail = format!("asked for {named}, got {}", envelope.digest());
        return Err(Refusal { code: RefusalCode::Malformed, detail });
    }
    let keys = trust.release_keys(&claimed_service(envelope.payload_bytes())?, acceptance);
    let verified = envelope.verify(PayloadType::Release, &keys).map_err(refusal)?;
    let release: Release = verified.decode().map_err(refusal)?;
    let digest = verified.digest();
    rules::check_release(&release)?;
    rules::release_audience(&release, fleet)?;
    rules::release_time(&release, now)?;
    if acceptance == Acceptance::New && !trust.accepts_new_releases(now) {
        let detail =
            format!("the trust document expired at {}, so no new release is taken", trust.expires_at);
        return Err(Refusal { code: RefusalCode::Expired, detail });
    }
    Ok(VerifiedRelease::new(digest, release))
}

/// A checkpoint of the audit log, to be kept as a witness: signed by the audit key, ours, not from the future, and
/// not behind the one that is kept.
pub fn checkpoint(
    bytes: &[u8],
    trust: &TrustDocument,
    fleet: &FleetId,
    kept: Option<&Checkpoint>,
    now: Timestamp,
) -> Result<Checkpoint, Refusal> {
    let envelope = Envelope::parse(bytes, PayloadType::Audit.max_len()).map_err(refusal)?;
    let verified = envelope.verify(PayloadType::Audit, &trust.audit_keys()).map_err(refusal)?;
    let checkpoint: Checkpoint = verified.decode().map_err(refusal)?;
    if &checkpoint.fleet != fleet {
        let detail = format!("for fleet `{}`, this is `{fleet}`", checkpoint.fleet);
        return Err(Refusal { code: RefusalCode::WrongAudience, detail });
    }
    // Its time is remembered as trusted; one from the future would make every plan look late.
    if checkpoint.at > now + rules::SKEW {
        let detail = format!("signed at {}, it is {now} here", checkpoint.at);
        return Err(Refusal { code: RefusalCode::NotYetValid, detail });
    }
    let began = i64::try_from(checkpoint.segment).map(Timestamp::from_millis);
    if began.is_err() || began.is_ok_and(|began| began > now + rules::SKEW) {
        let detail = format!("its segment {} has not begun yet, it is {now}", checkpoint.segment);
        return Err(Refusal { code: RefusalCode::NotYetValid, detail });
    }
    let same = kept.filter(|kept| kept.segment == checkpoint.segment).map(|kept| kept.size);
    if !rules::is_within_step(same, checkpoint.size) {
        let detail = format!("{} entries are too many at once", checkpoint.size);
        return Err(Refusal { code: RefusalCode::Malformed, detail });
    }
    let Some(kept) = kept else { return Ok(checkpoint) };
    if checkpoint.segment > kept.segment {
        // A backup was restored, and the log says so: it may be shorter now.
        return Ok(checkpoint);
    }
    if checkpoint.segment < kept.segment {
        let (old, new) = (checkpoint.segment, kept.segment);
        let detail = format!("it is of segment {old} of the audit log, this host has seen segment {new}");
        return Err(Refusal { code: RefusalCode::Stale, detail });
    }
    if checkpoint.size < kept.size {
        let detail = format!("the audit log had {} entries, now it has {}", kept.size, checkpoint.size);
        return Err(Refusal { code: RefusalCode::Stale, detail });
    }
    if checkpoint.size == kept.size && checkpoint.head != kept.head {
        let detail = format!("two audit logs with {} entries", kept.size);
        return Err(Refusal { code: RefusalCode::Equivocation, detail });
    }
    Ok(checkpoint)
}

/// Which service a release says it is of, so that the keys can be looked up. Believed only for that: the keys decide
/// whether it may say so, and the same bytes are decoded again after their signatures held.
fn claimed_service(payload: &[u8]) -> Result<ServiceId, Refusal> {
    #[derive(serde::Deserialize)]
    struct Claim {
        environment: EnvironmentId,
        service: ServiceName,
    }
    let claim: Claim = json::decode_bounded(payload, PayloadType::Release.max_len()).map_err(|error| {
        Refusal { code: RefusalCode::Malformed, detail: windlass_process::report::chain(&error) }
    })?;
    Ok(ServiceId::new(claim.environment, claim.service))
}

#[cfg(test)]
mod tests;
