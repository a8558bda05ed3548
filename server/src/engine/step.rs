//! One look at one service.

use std::collections::BTreeSet;
use std::time::Duration;

use windlass_core::fleet::Fleet;
use windlass_core::rollout::{self, Advance, Rollout, Snapshot, State as Phase};
use windlass_core::service::Slots;
use windlass_core::time::Pace;
use windlass_core::{HostId, ServiceId, Timestamp};

use crate::audit;
use crate::coordinator::Coordinator;
use crate::ledger::{Change, State, WriteBatch, WriteError};
use crate::plans::{self, Overlay};
use crate::registry::Registry;
use crate::releases;

/// A service is left alone after a costly look: hosts that report one after the other would else have thousands of slots looked at
/// once for each of them, and leave no time to anything else.
const PACE: Pace = Pace {
    times: 6,
    most: Duration::from_millis(250),
    costly: Duration::from_millis(2),
    every: Duration::ZERO,
};

/// The result of a look.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Whether anything was stored.
    pub(super) changed: bool,
    /// How long the look took, without what was stored.
    took: Duration,
    /// Whether there was more to change than one step may.
    cut_short: bool,
    /// When to look again.
    pub(super) wake_at: Option<Timestamp>,
}

impl Step {
    /// How long the service is left alone after a look that was costly; `None` where there is more to be done at once.
    pub(super) fn rest(&self) -> Option<Duration> {
        Some(PACE.rest(self.took)).filter(|rest| !rest.is_zero() && !self.cut_short)
    }
}

/// Looks at `service`; stores and issues what comes next, if anything does. What is `moving` is likely to go on, and
/// only looked at where that is stored: over thousands of slots, a look that is thrown away costs as much as one that counts.
pub(super) async fn step(
    coordinator: &Coordinator,
    service: &ServiceId,
    moving: bool,
) -> Result<Step, WriteError> {
    if !moving && let Some(idle) = look(coordinator, service) {
        return Ok(idle);
    }
    let (registry, service, ledger) =
        (coordinator.registry.clone(), service.clone(), coordinator.ledger.clone());
    coordinator
        .ledger
        .write(move |batch| {
            let begun = ledger.now();
            let Some(advance) = advance(batch.state, &registry, &service, batch.now) else {
                return Step::default();
            };
            let (took, wake_at) = (ledger.now().since(begun), advance.wake_at);
            let changed = !is_idle(batch.state, &service, &advance);
            if changed {
                store(batch, &service, advance);
            }
            Step { changed, took, cut_short: wake_at.is_some_and(|at| at <= batch.now), wake_at }
        })
        .await
}

/// The result of a look that changes nothing, as most do; those do not trouble the writer. `None` if it changes something.
fn look(coordinator: &Coordinator, service: &ServiceId) -> Option<Step> {
    let now = coordinator.ledger.now();
    coordinator.ledger.read(|state| {
        let Some(advance) = advance(state, &coordinator.registry, service, now) else {
            return Some(Step::default());
        };
        let took = coordinator.ledger.now().since(now);
        is_idle(state, service, &advance).then_some(Step {
            took,
            wake_at: advance.wake_at,
            ..Step::default()
        })
    })
}

/// The next step by core; `None` if there is no such service, or nothing is to be decided.
pub(crate) fn advance(state: &State, registry: &Registry, id: &ServiceId, now: Timestamp) -> Option<Advance> {
    is_decided(state, id).then(|| advance_in(state, &registry.around(state, id, now), id, now)).flatten()
}

/// The same in a fleet that was looked up.
pub(crate) fn advance_in(
    state: &State,
    fleet: &dyn Fleet,
    id: &ServiceId,
    now: Timestamp,
) -> Option<Advance> {
    let service = state.services.get(id).filter(|_| is_decided(state, id))?;
    let none = Slots::new();
    Some(rollout::advance(&Snapshot {
        service,
        slots: state.slots.get(id).unwrap_or(&none),
        rollout: state.active_rollout(id),
        releases: &state.releases,
        fleet,
        now,
    }))
}

/// Whether there is anything to decide about a service: a decision on a store that is older than its fleet would undo what the
/// fleet has done since.
fn is_decided(state: &State, id: &ServiceId) -> bool {
    !state.is_recovering() && state.services.contains_key(id)
}

pub(crate) fn is_idle(state: &State, id: &ServiceId, advance: &Advance) -> bool {
    advance.touched.is_empty()
        && state.services.get(id) == Some(&advance.service)
        && state.active_rollout(id) == advance.rollout.as_ref()
}

/// Everything of one step, in one transaction.
fn store(batch: &mut WriteBatch<'_>, id: &ServiceId, advance: Advance) {
    let state = batch.state;
    let old_slots = state.slots.get(id);
    let (mut hosts, mut overlay) = (BTreeSet::<HostId>::new(), Overlay::default());
    for slot in &advance.touched {
        let old = old_slots.and_then(|slots| slots.get(slot));
        let new = advance.slots.get(slot);
        hosts.extend(old.map(|old| old.host().clone()));
        hosts.extend(new.map(|new| new.host().clone()));
        overlay.set(slot.clone(), new.cloned());
        batch.change(match new {
            Some(new) => Change::Slot(slot.clone(), Box::new(new.clone())),
            None => Change::SlotGone(slot.clone()),
        });
    }
    plans::issue(batch, &hosts, &overlay);
    if let Some(begins) = advance.begins {
        return releases::go_back_alone(batch, advance.service, begins);
    }
    if state.services.get(id) != Some(&advance.service) {
        batch.change(Change::Service(Box::new(advance.service)));
    }
    if let Some(rollout) = advance.rollout {
        let old = state.active_rollout(id);
        if old != Some(&rollout) {
            record_state(batch, old, &rollout, None);
            batch.change(Change::Rollout(Box::new(rollout)));
        }
    }
}

/// Writes down that a rollout has come to another state, and the operator that brought it there, if one did.
pub(crate) fn record_state(
    batch: &mut WriteBatch<'_>,
    old: Option<&Rollout>,
    new: &Rollout,
    by: Option<&str>,
) {
    if old.map(|old| old.state) == Some(new.state) {
        return;
    }
    let reason = new.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let release = new.to.counter;
    let verb = match new.state {
        Phase::Succeeded | Phase::Failed => "has",
        Phase::Superseded | Phase::Aborted => "was",
        _ => "is",
    };
    let state = new.state.as_str().replace('_', " ");
    let text = format!("rollout {} of {release} {verb} {state}{reason}", new.id);
    match by {
        Some(actor) => batch.event_by(actor, kind(new.state), new.service.to_string(), text),
        None => batch.event(kind(new.state), new.service.to_string(), text),
    }
    if new.state.is_final() || new.state == Phase::Paused || new.state == Phase::RollingBack {
        let subject = format!("{} {release}", new.service);
        let outcome = format!("{}{reason}", new.state.as_str());
        batch.audit(audit::fact("coordinator", "rollout.state", &subject, Some(new.to.digest), &outcome));
    }
}

const fn kind(state: Phase) -> &'static str {
    match state {
        Phase::Pending => "rollout.started",
        Phase::Preparing => "rollout.preparing",
        Phase::Advancing => "rollout.advancing",
        Phase::Soaking => "rollout.soaking",
        Phase::Paused => "rollout.paused",
        Phase::RollingBack => "rollout.rolling_back",
        Phase::Succeeded => "rollout.succeeded",
        Phase::RolledBack => "rollout.rolled_back",
        Phase::Aborted => "rollout.aborted",
        Phase::Failed => "rollout.failed",
        Phase::Superseded => "rollout.superseded",
    }
}
