//! Recovery: what the coordinator makes of hosts that are ahead of its store.
//!
//! A store that was set back (a backup came back, a disk lost its last writes) knows less than the hosts. Each host has
//! its newest plan, which an earlier life of the coordinator signed, and the releases in it, which operators signed.
//! Put together, those are the state that was lost: where every slot is, at which release, what is good, what is kept
//! for return. [`merge`] writes that over the store, so that the next plan of each host says what its last one said,
//! and nothing is restarted.
//!
//! | the hosts show | the service gets |
//! |---|---|
//! | the newest plans call a release good | that release as its current one; hosts that were left behind catch up |
//! | the newest plans have a release on trial | a paused rollout to it: a person resumes or aborts |
//! | no slot any more | no release: it was removed, or moved to hosts that say so themselves |
//! | a number above the last one known | numbers from there on, so that none is used twice |
//!
//! Only plans that were verified come in here, and only after a person said so does the result go anywhere.

mod difference;
mod exclusive;
mod model;
mod rollouts;
mod service;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::id::{HostId, RolloutId, ServiceId, SlotId};
use crate::plan::{HostPlan, PlanSlot};
use crate::release::Release;
use crate::service::Releases;
use crate::slot::Slot;
use crate::time::Timestamp;

use service::Word;

pub use difference::{Difference, Side, differences};
pub use model::{COUNTER_GAP, Merged, Others, Shown, Stored};

/// The reason for which a host's plan cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// It names a release that nobody has shown.
    #[error("{slot}: its release {} is not known, or its number stands for another one", release.short())]
    Release {
        /// Where.
        slot: SlotId,
        /// Which.
        release: Digest,
    },
    /// Another host has the slot.
    #[error("{slot} was given to host {host} meanwhile")]
    Taken {
        /// Which.
        slot: SlotId,
        /// The host that has it.
        host: HostId,
    },
}

/// Which plans cannot be taken over beside the others and the store, and why. They are to be left out of `plans`.
pub fn obstacles(
    stored: Stored<'_>,
    plans: &BTreeMap<HostId, &HostPlan>,
    releases: &Releases,
) -> BTreeMap<HostId, Vec<Obstacle>> {
    let mut left = plans.clone();
    let mut found = BTreeMap::new();
    // A plan that is left out leaves its slots where the store has them, which may be in the way of another.
    loop {
        let more = obstacles_once(stored, &left, releases);
        if more.is_empty() {
            return found;
        }
        left.retain(|host, _| !more.contains_key(host));
        found.extend(more);
    }
}

fn obstacles_once(
    stored: Stored<'_>,
    plans: &BTreeMap<HostId, &HostPlan>,
    releases: &Releases,
) -> BTreeMap<HostId, Vec<Obstacle>> {
    let assigned = |slot: &SlotId| stored.slots.get(&slot.service)?.get(slot).map(Slot::host);
    let mut holders: BTreeMap<&SlotId, &HostId> = BTreeMap::new();
    for (host, plan) in plans {
        for want in &plan.slots {
            let holder = holders.entry(&want.slot).or_insert(host);
            // Of two that claim a slot, the one that the store puts it on has it.
            if assigned(&want.slot) == Some(host) {
                *holder = host;
            }
        }
    }
    let mut found: BTreeMap<HostId, Vec<Obstacle>> = BTreeMap::new();
    for (host, plan) in plans {
        for want in &plan.slots {
            let slot = &want.slot;
            let of_service = |release: &Release| release.service_id() == slot.service;
            let unknown = named(want).find(|digest| !releases.get(digest).is_some_and(of_service));
            let kept_by = assigned(slot).filter(|other| *other != host && !plans.contains_key(*other));
            let other = holders.get(slot).copied().filter(|holder| *holder != host).or(kept_by);
            let obstacle = match (unknown, other) {
                (Some(release), _) => Obstacle::Release { slot: slot.clone(), release },
                (None, Some(other)) => Obstacle::Taken { slot: slot.clone(), host: other.clone() },
                (None, None) => continue,
            };
            found.entry(host.clone()).or_default().push(obstacle);
        }
    }
    found
}

/// The releases that a slot of a plan names.
pub fn named(want: &PlanSlot) -> impl Iterator<Item = Digest> {
    let previous = want.previous.as_ref().map(|previous| previous.release);
    [Some(want.release), want.fallback, previous].into_iter().flatten()
}

/// Writes what the hosts have shown over what is stored. Plans with [`obstacles`] must not be among them. `id` names a
/// rollout that has to be made.
pub fn merge(
    stored: Stored<'_>,
    shown: &Shown<'_>,
    mut id: impl FnMut() -> RolloutId,
    now: Timestamp,
) -> Merged {
    let mut words: BTreeMap<&ServiceId, Vec<Word<'_>>> = BTreeMap::new();
    for (host, plan) in &shown.plans {
        for want in &plan.slots {
            let word = Word { host, issued_at: plan.issued_at, part: Cow::Borrowed(want) };
            words.entry(&want.slot.service).or_default().push(word);
        }
    }
    let mut merged = Merged::default();
    let mut known: Vec<&ServiceId> = stored.services.keys().chain(shown.counters.keys()).collect();
    known.extend(words.keys().copied());
    known.sort_unstable();
    known.dedup();
    for name in known {
        let words = words.remove(name).unwrap_or_default();
        service::merge(stored, shown, name, words, &mut id, now, &mut merged);
    }
    merged
}

#[cfg(test)]
mod tests;
