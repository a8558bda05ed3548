//! A release on trial: what it may not do, counted from its requests and its instances.
//!
//! A release is on trial in the rollout of its deploy, and for as long after that as its manifest says. Nothing fires without
//! data: a window with too few requests, or of an ingress that says nothing, brings nothing back.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::gate::GpuFault;
use crate::release::{ErrorRate, RollbackOn};
use crate::service::{ReleaseRef, Watch};
use crate::time::Timestamp;
use crate::traffic::Window;
use crate::units::Span;

use super::figures::{Figures, Trigger, spaced};
use super::instances::{self, LOOK_EVERY};
use super::model::{Begins, Kind, Reason};
use super::planner::Planner;

/// Errors of GPUs that are kept with what they brought about.
const FAULTS: usize = 16;

/// A release on trial.
pub(crate) struct Trial<'a> {
    pub(crate) release: ReleaseRef,
    pub(crate) rules: &'a RollbackOn,
    /// Since when it counts.
    pub(crate) since: Timestamp,
    /// Restarts of its instances, and errors of their GPUs, that do not count.
    pub(crate) before: (BTreeMap<String, u32>, BTreeMap<String, u32>),
}

/// The watch over a release whose rollout has succeeded, as far as its manifest wants one.
pub(crate) fn watch_after(planner: &mut Planner<'_>, rules: &RollbackOn) -> Option<Watch> {
    let until = planner.now() + rules.watch?.duration();
    let rollout = planner.rollout();
    let release = rollout.to;
    let from = rollout.from.filter(|from| rollout.kind == Kind::Deploy && from.digest != release.digest)?;
    let since = rollout.counts_from.unwrap_or(rollout.created_at);
    let restarts_before = rollout.restarts_before.clone();
    let gpu_errors_before = rollout.gpu_errors_before.clone();
    let instances = Some(instances::begin(planner));
    Some(Watch { release, from, since, until, restarts_before, gpu_errors_before, instances })
}

/// Watches a release whose rollout has succeeded. If a trigger fires, a rollout back begins.
pub(crate) fn watch(planner: &mut Planner<'_>) -> bool {
    let Some(watch) = planner.service.watch.clone() else { return false };
    let now = planner.now();
    if planner.rollout.is_some() {
        // The rollout that has just succeeded is stored first.
        planner.wake(now);
        return false;
    }
    let is_at_it = planner.service.current == Some(watch.release);
    let release = planner.release(&watch.release.digest).filter(|_| is_at_it && now < watch.until);
    let Some(rules) = release.map(|release| &release.spec.rollback_on) else {
        planner.service.watch = None;
        return false;
    };
    let next = if rules.counts_requests() { now + LOOK_EVERY } else { watch.until };
    planner.wake(next.min(watch.until));
    let mut seen = watch.instances.clone();
    let of_one = seen.as_mut().and_then(|seen| instances::look(planner, seen, watch.release, rules));
    let before = (watch.restarts_before.clone(), watch.gpu_errors_before.clone());
    let trial = Trial { release: watch.release, rules, since: watch.since, before };
    let Some(reason) = trial.first(planner).or(of_one) else {
        planner.service.watch = Some(Watch { instances: seen, ..watch });
        return false;
    };
    planner.service.watch = None;
    planner.begins = Some(Begins { to: watch.from, reason });
    true
}

impl Trial<'_> {
    /// The first trigger that fires, with what it counted.
    pub(crate) fn first(&self, planner: &Planner<'_>) -> Option<Reason> {
        let rules = self.rules;
        let counter = self.release.counter;
        let reason = |what, figures| Some(Reason::Trigger { what, figures: Box::new(figures) });
        if let Some(most) = rules.crashes {
            let crashes = self.crashes(planner);
            if crashes >= most {
                let times = (self.since, planner.now());
                return reason(Trigger::Crashes, Figures::of_crashes(counter, most, crashes, times));
            }
        }
        if let Some(most) = rules.gpu_errors {
            let GpuErrors { by_instance, last, .. } = gpu_errors(planner, &self.release.digest);
            let errors = more(&by_instance, &self.before.1);
            if errors >= most {
                let times = (self.since, planner.now());
                return reason(Trigger::GpuErrors, Figures::of_gpus(counter, most, (errors, last), times));
            }
        }
        if let Some(most) = rules.status_5xx
            && let Some(window) = self.window(planner, most.within)
            && window.server_errors() >= u64::from(most.count)
        {
            return reason(Trigger::Status5xx, Figures::of_window(counter, most.count, window));
        }
        if let Some(rate) = rules.error_rate
            && let Some(window) = self.window(planner, rate.within())
            && fails_too_often(&rate, &window)
        {
            return reason(
                Trigger::ErrorRate,
                Figures::of_window(counter, spaced(rate.max.permille()), window),
            );
        }
        if let Some(slow) = rules.p95
            && let Some(window) = self.window(planner, slow.within())
            && let Some(p95) = window.p95()
            && p95.samples >= u64::from(slow.least())
            && p95.at_least >= slow.max.duration()
        {
            return reason(Trigger::P95, Figures::of_window(counter, slow.max, window));
        }
        None
    }

    /// Its requests in the last `within`, or since it counts. `None` if nobody has counted any.
    fn window(&self, planner: &Planner<'_>, within: Span) -> Option<Window> {
        let (fleet, now) = (planner.snapshot.fleet, planner.now());
        let windows = fleet.windows(&planner.service.id)?;
        let from = planner.counted_from(self.since).max(now - within.duration());
        let environment = &planner.service.id.environment;
        Some(windows.window(&self.release.digest, (from, now), environment, fleet.traffic()))
    }

    /// Exits of its instances since it counts.
    fn crashes(&self, planner: &Planner<'_>) -> u32 {
        more(&restarts(planner, &self.release.digest), &self.before.0)
    }
}

fn fails_too_often(rate: &ErrorRate, window: &Window) -> bool {
    let clearly = window.fails_more_than(ErrorRate::clear());
    window.answered() >= u64::from(rate.least(clearly)) && window.fails_more_than(rate.max.permille())
}

/// Instances of a release that were started again, and how often, as far as their hosts are heard of.
pub(crate) fn restarts(planner: &Planner<'_>, release: &Digest) -> BTreeMap<String, u32> {
    let facts = planner.slots.keys().filter_map(|slot| planner.facts(slot).last());
    let instances = facts.flat_map(|seen| &seen.instances);
    let restarted = instances.filter(|instance| &instance.release == release && instance.restarts > 0);
    restarted.map(|instance| (instance.id.clone(), instance.restarts)).collect()
}

/// The sum of what is counted now and was not before, by instance.
pub(crate) fn more(now: &BTreeMap<String, u32>, before: &BTreeMap<String, u32>) -> u32 {
    let more =
        now.iter().map(|(id, count)| count.saturating_sub(before.get(id).copied().unwrap_or_default()));
    more.fold(0, u32::saturating_add)
}

/// Errors of the GPUs of a release's instances.
#[derive(Debug, Default)]
pub(crate) struct GpuErrors {
    /// So many each has seen.
    pub(crate) by_instance: BTreeMap<String, u32>,
    /// The last one of each that has seen any.
    pub(crate) last: Vec<GpuFault>,
    /// Instances that run and whose hosts can tell.
    pub(crate) measured: u32,
    /// Instances that run.
    pub(crate) instances: u32,
}

/// Errors of the GPUs of a release's instances, as far as their hosts are heard of.
pub(crate) fn gpu_errors(planner: &Planner<'_>, release: &Digest) -> GpuErrors {
    let mut all = GpuErrors::default();
    for slot in planner.slots.keys() {
        let facts = planner.facts(slot);
        let seen = facts.last().into_iter().flat_map(|seen| &seen.instances);
        for instance in seen.filter(|instance| &instance.release == release) {
            let (errors, runs) = (&instance.vitals.gpu_errors, instance.state.is_running());
            all.instances = all.instances.saturating_add(u32::from(runs));
            all.measured = all.measured.saturating_add(u32::from(runs && errors.is_some()));
            let Some(errors) = errors.as_ref().filter(|errors| errors.count > 0) else { continue };
            all.by_instance.insert(instance.id.clone(), errors.count);
            let host = facts.host().clone();
            all.last.extend(errors.last.iter().map(|last| GpuFault {
                host: host.clone(),
                instance: instance.id.clone(),
                error: last.clone(),
            }));
        }
    }
    all.last.truncate(FAULTS);
    all
}
