//! The pure part of an agent's verification: what is checked once signatures hold.
//!
//! | step | here |
//! |---|---|
//! | 6 ranges | [`check_plan`], [`check_release`], [`check_routes`] |
//! | 7 audience | [`plan_audience`], [`release_audience`], [`routes_audience`] |
//! | 8 time | [`trusted_now`], [`plan_time`], [`release_time`], [`routes_time`] |
//! | 9 order | [`plan_order`], [`routes_order`] |
//! | 10 release | [`release_in_slot`] |
//!
//! Sizes, peers and signatures (1 to 5) are the agent's and `windlass-certs`'; 11 is [`crate::policy`]; what failed
//! here before (10) and room (12) are checked by [`crate::reconcile`], which remembers and observes. The caller goes
//! through the steps in this order and stops at the first refusal.

mod asks;
mod container;
mod delegation;
mod hooks;
mod malformed;
mod ranges;
mod routes;
mod strategy;

use std::time::Duration;

use crate::digest::Digest;
use crate::host::HostFacts;
use crate::id::{Counter, FleetId, HostId, SlotId};
use crate::observation::{Refusal, RefusalCode};
use crate::plan::HostPlan;
use crate::release::Release;
use crate::time::Timestamp;

pub use delegation::beyond_delegation;
pub use ranges::{MAX_SLOTS, check_plan, check_release};
pub use routes::{AcceptedRoutes, check_routes, routes_audience, routes_order, routes_time};

/// The greatest step of a number that only rises. A number that jumps to the end of its range could never rise again.
pub const MAX_STEP: u64 = 1 << 20;
/// The greatest step between two traffic tables, so large that a host that was away for long accepts them again. A coordinator that
/// goes above the number that a host shows uses a small part of the step, so that every host can follow.
pub const MAX_TABLE_STEP: u64 = 1 << 32;
/// The highest number that a member takes as the first it sees: enough steps are left above it.
pub const MAX_FIRST: u64 = 1 << 48;
/// The longest life of a plan.
pub const MAX_PLAN_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Returns whether a number that only rises may come after `last`, if one was seen.
pub const fn is_within_step(last: Option<u64>, next: u64) -> bool {
    is_within(last, next, MAX_STEP)
}

const fn is_within(last: Option<u64>, next: u64, step: u64) -> bool {
    match last {
        Some(last) => next <= last.saturating_add(step),
        None => next <= MAX_FIRST,
    }
}

/// The most that two honest clocks may differ.
pub const SKEW: Duration = Duration::from_secs(60);

/// The newest plan or table that a host accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Its number.
    pub seq: u64,
    /// Digest of its payload.
    pub digest: Digest,
}

/// The place of a plan or table after the one that was accepted last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanOrder {
    /// It comes after it.
    Newer,
    /// It is that one: give the same answer again.
    Same,
}

fn refusal(code: RefusalCode, detail: impl Into<String>) -> Refusal {
    Refusal { code, detail: detail.into() }
}

/// Step 7: the plan is for this host of this fleet.
pub fn plan_audience(plan: &HostPlan, fleet: &FleetId, host: &HostId) -> Result<(), Refusal> {
    release_fleet(&plan.fleet, fleet)?;
    if &plan.host == host {
        Ok(())
    } else {
        Err(refusal(RefusalCode::WrongAudience, format!("for host `{}`, this is `{host}`", plan.host)))
    }
}

/// Step 7: the release is of this fleet. Which hosts may run it is step 10.
pub fn release_audience(release: &Release, fleet: &FleetId) -> Result<(), Refusal> {
    release_fleet(&release.fleet, fleet)
}

fn release_fleet(got: &FleetId, mine: &FleetId) -> Result<(), Refusal> {
    if got == mine {
        Ok(())
    } else {
        Err(refusal(RefusalCode::WrongAudience, format!("for fleet `{got}`, this is `{mine}`")))
    }
}

/// The time that counts: a clock that was set back does not make an expired document valid again, since the newest
/// time that somebody *signed* and this host accepted is remembered.
pub fn trusted_now(wall: Timestamp, last_signed: Timestamp) -> Timestamp {
    wall.max(last_signed)
}

/// Step 8 for a plan. One that is `committed` already stays desired state after its time, so only a new one can
/// be too late.
pub fn plan_time(plan: &HostPlan, committed: bool, now: Timestamp) -> Result<(), Refusal> {
    not_from_the_future(plan.issued_at, now)?;
    if !committed && now > plan.expires_at + SKEW {
        let detail = format!("expired at {}, it is {now}", plan.expires_at);
        return Err(refusal(RefusalCode::Expired, detail));
    }
    Ok(())
}

/// Step 8 for a release: releases do not expire, but none comes from the future.
pub fn release_time(release: &Release, now: Timestamp) -> Result<(), Refusal> {
    not_from_the_future(release.created_at, now)
}

fn not_from_the_future(at: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if at > now + SKEW {
        let detail = format!("signed at {at}, it is {now} here; compare the clocks");
        return Err(refusal(RefusalCode::NotYetValid, detail));
    }
    Ok(())
}

/// Step 9: epoch and order. `digest` is the plan's own, `last` the newest accepted *in this epoch*.
pub fn plan_order(
    plan: &HostPlan,
    digest: Digest,
    trust_epoch: u64,
    last: Option<Committed>,
) -> Result<PlanOrder, Refusal> {
    if plan.epoch != trust_epoch {
        let detail = format!("epoch {}, the trust document has {trust_epoch}", plan.epoch);
        return Err(refusal(RefusalCode::WrongEpoch, detail));
    }
    numbered("plans", MAX_STEP, plan.seq, digest, last)
}

/// The order of two documents of one epoch by their numbers.
fn numbered(
    what: &str,
    step: u64,
    seq: u64,
    digest: Digest,
    last: Option<Committed>,
) -> Result<PlanOrder, Refusal> {
    if !is_within(last.map(|last| last.seq), seq, step) {
        let at = last.map_or_else(|| "none yet".to_owned(), |last| format!("{}", last.seq));
        let detail = format!(
            "seq {seq} is too far above the last one ({at}): whoever signed it would leave no numbers for later {what}"
        );
        return Err(refusal(RefusalCode::Malformed, detail));
    }
    let Some(last) = last else { return Ok(PlanOrder::Newer) };
    if seq > last.seq {
        Ok(PlanOrder::Newer)
    } else if seq < last.seq {
        let detail = format!("seq {seq}, this host is at {}", last.seq);
        Err(refusal(RefusalCode::Stale, detail))
    } else if digest == last.digest {
        Ok(PlanOrder::Same)
    } else {
        let detail = format!("two {what} with seq {seq}: {:?} and {digest:?}", last.digest);
        Err(refusal(RefusalCode::Equivocation, detail))
    }
}

/// The known facts about a verified release, for [`release_in_slot`].
#[derive(Debug, Clone, Copy)]
pub struct ReleaseValidity {
    /// The lowest number of its service that may run here: the trust document's and that of good releases.
    pub floor: Counter,
    /// Whether the trust document revokes it.
    pub revoked: bool,
}

/// Step 10, after the release's own signatures held: checks that it may start in `slot` of `host`.
pub fn release_in_slot(
    slot: &SlotId,
    release: &Release,
    standing: ReleaseValidity,
    host: &HostId,
    facts: &HostFacts,
) -> Result<(), Refusal> {
    let service = release.service_id();
    if slot.service != service {
        let detail = format!("slot `{slot}` names a release of `{service}`");
        return Err(refusal(RefusalCode::UnsignedRelease, detail));
    }
    if release.counter < standing.floor {
        let detail = format!("{service} {} is below the floor {}", release.counter, standing.floor);
        return Err(refusal(RefusalCode::BelowFloor, detail));
    }
    if standing.revoked {
        return Err(refusal(RefusalCode::Revoked, format!("{service} {} is revoked", release.counter)));
    }
    suits_host(release, host, facts)
}

/// Checks that placement, environment and platform of a release fit this host. Used by the agent (step 10) and by
/// placement.
pub fn suits_host(release: &Release, host: &HostId, facts: &HostFacts) -> Result<(), Refusal> {
    let wrong = |detail: String| Err(refusal(RefusalCode::WrongHost, detail));
    if facts.policy.environments.as_ref().is_some_and(|served| !served.contains(&release.environment)) {
        return wrong(format!("`{host}` does not serve environment `{}`", release.environment));
    }
    let placement = &release.spec.placement;
    if !placement.hosts.is_empty() && !placement.hosts.contains(host) {
        return wrong(format!("`{host}` is not among the hosts that the release names"));
    }
    for (key, want) in &placement.require {
        let got = facts.labels.get(key);
        if got != Some(want) {
            let got = got.map_or("nothing", String::as_str);
            return wrong(format!("the release requires {key}={want}, `{host}` has {got}"));
        }
    }
    let platform = &release.spec.image.platform;
    if !facts.platform.is_empty() && platform != &facts.platform {
        return wrong(format!("the image is for {platform}, `{host}` is {}", facts.platform));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
