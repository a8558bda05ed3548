//! Host plans: derived from the stored slots, numbered in the transaction that changes a slot, signed when
//! sent.
//!
//! The record of a plan holds its number and times, and a signature here is deterministic, so that deriving the
//! plan again, after a restart too, gives the same bytes: two plans with one number never exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use windlass_core::plan::{HostPlan, PlanSlot};
use windlass_core::slot::Slot;
use windlass_core::verify::MAX_FIRST;
use windlass_core::{Digest, HostId, SlotId, Timestamp};

use crate::authority::Authority;
use crate::ledger::{Change, Ledger, State, WriteBatch};
use crate::store::record::PlanRecord;

/// Until when work on a plan may begin.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// A plan that has less left is issued again.
const RENEW_WITHIN: Duration = Duration::from_secs(12 * 3600);
/// The most hosts in one transaction.
pub(crate) const BATCH: usize = 64;

/// Slots that a batch changes, over those of the state. By host, so that a plan costs what its host has.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    changed: BTreeSet<SlotId>,
    on: BTreeMap<HostId, BTreeMap<SlotId, Slot>>,
}

impl Overlay {
    /// A slot as it will be; `None` if it goes. Once for each slot.
    pub(crate) fn set(&mut self, slot: SlotId, assignment: Option<Slot>) {
        debug_assert!(!self.changed.contains(&slot), "{slot} twice");
        if let Some(assignment) = assignment {
            self.on.entry(assignment.host().clone()).or_default().insert(slot.clone(), assignment);
        }
        self.changed.insert(slot);
    }
}

/// Signs plans when they are sent.
#[derive(Clone)]
pub(crate) struct Plans {
    ledger: Ledger,
    authority: Authority,
}

impl Plans {
    /// Signs with the dispatch key of `authority`.
    pub(crate) const fn new(ledger: Ledger, authority: Authority) -> Self {
        Self { ledger, authority }
    }

    /// The newest plan of `host` and its number; `None` if it never had one.
    pub(crate) fn envelope(&self, host: &HostId) -> Option<(u64, Bytes)> {
        let plan = self.ledger.read(|state| {
            let record = state.plans.get(host)?;
            Some(derive(state, host, record))
        })?;
        let payload = serde_json::to_vec(&plan).expect("a plan has only string keys, so it is JSON");
        Some((plan.seq, self.authority.sign_plan(payload).to_bytes().into()))
    }
}

/// The complete desired state of `host`.
fn derive(state: &State, host: &HostId, record: &PlanRecord) -> HostPlan {
    let slots = slots_of(state, host, &Overlay::default());
    HostPlan {
        version: HostPlan::version_for(&slots),
        fleet: state.fleet.clone(),
        host: host.clone(),
        epoch: record.epoch,
        seq: record.seq,
        issued_at: record.issued_at,
        expires_at: record.expires_at,
        slots,
    }
}

/// The desired slots of `host`, in order.
pub(crate) fn slots_of(state: &State, host: &HostId, overlay: &Overlay) -> Vec<PlanSlot> {
    let kept = state.slots_on(host).filter(|(slot, _)| !overlay.changed.contains(slot));
    let mut slots: BTreeMap<&SlotId, &Slot> = kept.collect();
    slots.extend(overlay.on.get(host).into_iter().flatten());
    slots.into_values().map(Slot::plan).collect()
}

/// The envelope of a release, if the host's plan names it: another host's configuration is none of its business.
pub(crate) fn release_for(state: &State, host: &HostId, digest: &Digest) -> Option<Vec<u8>> {
    let is_named = state.slots_on(host).any(|(_, assignment)| assignment.names(digest));
    state.entries.get(digest).filter(|_| is_named).map(|entry| entry.envelope.clone())
}

/// Numbers a new plan for each of `hosts` whose slots are not what its newest plan says. Not for those that may hold
/// a newer one than is known: theirs is numbered once that is settled.
pub(crate) fn issue(batch: &mut WriteBatch<'_>, hosts: &BTreeSet<HostId>, overlay: &Overlay) {
    for host in hosts.iter().filter(|host| !batch.state.awaits(host)).cloned().collect::<Vec<_>>() {
        let host = &host;
        let slots = slots_of(batch.state, host, overlay);
        let digest = digest(&slots);
        let old = batch.state.plans.get(host);
        if old.is_none_or(|old| old.slots != digest) {
            let seq = next_seq(old, batch.state.trust.document().epoch);
            let since = unchanged(batch.state, host, &slots);
            record(batch, host, seq, digest, since);
        }
    }
}

/// The slots of `host` whose part in a new plan of `slots` is the one of the plan before, with the number of the first plan
/// that had it. None where it is not known what the plan before says: its slots were changed without a new plan, while
/// nobody knew what the host holds; or its epoch has passed, and whoever had the keys of that may have told the host
/// anything.
fn unchanged(state: &State, host: &HostId, slots: &[PlanSlot]) -> BTreeMap<SlotId, u64> {
    let before = slots_of(state, host, &Overlay::default());
    let parts: BTreeMap<&SlotId, &PlanSlot> = before.iter().map(|part| (&part.slot, part)).collect();
    let same: Vec<&PlanSlot> = slots.iter().filter(|part| parts.get(&part.slot) == Some(part)).collect();
    let epoch = state.trust.document().epoch;
    let old = state.plans.get(host).filter(|old| old.epoch == epoch);
    // A digest is made for what it decides about.
    let old = old.filter(|old| !same.is_empty() && old.slots == digest(&before));
    let Some(old) = old else { return BTreeMap::new() };
    let since = |part: &PlanSlot| old.since.get(&part.slot).copied().unwrap_or(old.seq);
    same.into_iter().map(|part| (part.slot.clone(), since(part))).collect()
}

/// Numbers a plan of a host in a store that was set back, if its slots are not what its newest plan says: they changed
/// while nobody knew which numbers the host holds. One that never had a plan gets its first, though it be empty: it may
/// run what the store has lost.
pub(crate) fn number(batch: &mut WriteBatch<'_>, host: &HostId) {
    let slots = digest(&slots_of(batch.state, host, &Overlay::default()));
    let old = batch.state.plans.get(host);
    if batch.state.segment() > 0 && old.is_none_or(|old| old.slots != slots) {
        let seq = next_seq(old, batch.state.trust.document().epoch);
        record(batch, host, seq, slots, BTreeMap::new());
    }
}

/// Numbers the newest plan of a host anew, since it ends soon or its epoch has passed.
pub(crate) fn renew(batch: &mut WriteBatch<'_>, host: &HostId) {
    let slots = slots_of(batch.state, host, &Overlay::default());
    let seq = next_seq(batch.state.plans.get(host), batch.state.trust.document().epoch);
    let since = unchanged(batch.state, host, &slots);
    record(batch, host, seq, digest(&slots), since);
}

/// Numbers a plan for a host of which it was not known what it holds: what it has said so far is about none of its slots.
pub(crate) fn raise(batch: &mut WriteBatch<'_>, host: &HostId) {
    let slots = digest(&slots_of(batch.state, host, &Overlay::default()));
    let seq = next_seq(batch.state.plans.get(host), batch.state.trust.document().epoch);
    record(batch, host, seq, slots, BTreeMap::new());
}

/// The record of a plan that an earlier life of this coordinator made, if deriving it from `slots` gives that very plan
/// again. Else a record of the next number, with the same slots.
pub(crate) fn resumed(
    state: &State,
    plan: &HostPlan,
    digest: Digest,
    slots: Vec<PlanSlot>,
    now: Timestamp,
) -> PlanRecord {
    let epoch = state.trust.document().epoch;
    let version = HostPlan::version_for(&slots);
    let again = HostPlan { version, fleet: state.fleet.clone(), slots, ..plan.clone() };
    let slots = self::digest(&again.slots);
    let payload = serde_json::to_vec(&again).expect("a plan has only string keys, so it is JSON");
    if Digest::of(&payload) == digest {
        let HostPlan { seq, epoch, issued_at, expires_at, .. } = again;
        return PlanRecord { seq, epoch, issued_at, expires_at, slots, since: Arc::default() };
    }
    let (seq, expires_at, since) = (plan.seq.saturating_add(1), now + LIFETIME, Arc::default());
    PlanRecord { seq, epoch, issued_at: now, expires_at, slots, since }
}

/// A record above `seq`, for a host whose plan does not count.
pub(crate) fn overruled(
    state: &State,
    host: &HostId,
    seq: u64,
    slots: &[PlanSlot],
    now: Timestamp,
) -> PlanRecord {
    let known = state.plans.get(host).map_or(0, |plan| plan.seq);
    let (seq, epoch) = (seq.max(known).saturating_add(1), state.trust.document().epoch);
    let (slots, expires_at, since) = (digest(slots), now + LIFETIME, Arc::default());
    PlanRecord { seq, epoch, issued_at: now, expires_at, slots, since }
}

/// Whether `plan` is the newest that is known for its host.
pub(crate) fn is_known(record: &PlanRecord, plan: &HostPlan) -> bool {
    (record.seq, record.issued_at, record.slots) == (plan.seq, plan.issued_at, digest(&plan.slots))
}

/// Hosts whose plan has to be issued again: it ends soon, or is of an older epoch. At most [`BATCH`].
pub(crate) fn stale(state: &State, now: Timestamp) -> Vec<HostId> {
    let epoch = state.trust.document().epoch;
    let due = |plan: &PlanRecord| plan.epoch != epoch || plan.expires_at.since(now) < RENEW_WITHIN;
    if state.is_recovering() {
        return Vec::new();
    }
    let member =
        |host: &HostId| state.hosts.get(host).is_some_and(|record| record.is_member()) && !state.awaits(host);
    let stale = state.plans.iter().filter(|(host, plan)| due(plan) && member(host));
    stale.map(|(host, _)| host.clone()).take(BATCH).collect()
}

/// The number after that of `old`. It goes on in a new epoch, unless there is no room: hosts compare numbers of one epoch only.
fn next_seq(old: Option<&PlanRecord>, epoch: u64) -> u64 {
    let next = old.map_or(0, |old| old.seq).saturating_add(1);
    let is_new_epoch = old.is_some_and(|old| old.epoch != epoch);
    if is_new_epoch && next > MAX_FIRST { 1 } else { next }
}

fn record(batch: &mut WriteBatch<'_>, host: &HostId, seq: u64, slots: Digest, since: BTreeMap<SlotId, u64>) {
    let plan = PlanRecord {
        seq,
        epoch: batch.state.trust.document().epoch,
        issued_at: batch.now,
        expires_at: batch.now + LIFETIME,
        slots,
        since: Arc::new(since),
    };
    batch.change(Change::Plan(host.clone(), plan));
}

fn digest(slots: &[PlanSlot]) -> Digest {
    Digest::of(&serde_json::to_vec(slots).expect("slots have only string keys, so they are JSON"))
}

#[cfg(test)]
mod tests;
