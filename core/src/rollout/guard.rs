//! The traffic guard: of two releases that share the traffic of a service, none gets every request and none loses its instances
//! while it is the only one that is known to serve.

use crate::digest::Digest;
use crate::slot::{Certainty, Intent, Seen};

use super::planner::Planner;

/// Whether an instance of the release serves on a host that can be reached. It may do so where its host is silent for a
/// moment, or has not answered to its newest plan.
pub(crate) fn serves(planner: &Planner<'_>, release: &Digest) -> Certainty {
    let mut certainty = Certainty::No;
    for slot in planner.slots.values().filter(|slot| !slot.is_leaving()) {
        let facts = planner.facts(slot.id());
        if facts.of(release) == Seen::Available {
            return Certainty::Yes;
        }
        if !facts.is_lost() && facts.word().is_err() && Intent::from(slot).has_run(release) {
            certainty = Certainty::Maybe;
        }
    }
    certainty
}

/// Whether the traffic stays away from `keep`, and nothing of `other` is dropped: that one is known better to serve.
pub(crate) fn holds(planner: &Planner<'_>, keep: &Digest, other: &Digest) -> bool {
    serves(planner, other) > serves(planner, keep)
}

/// The same for the service's two releases, if `keep` is one of them.
pub(crate) fn holds_from(planner: &Planner<'_>, keep: &Digest) -> bool {
    let other = planner.service.split.as_ref().and_then(|split| split.beside(keep));
    other.is_some_and(|other| holds(planner, keep, &other))
}

/// The number of slots that have an instance of the release that is available.
pub(crate) fn available(planner: &Planner<'_>, release: &Digest) -> usize {
    let staying = planner.slots.values().filter(|slot| !slot.is_leaving());
    staying.filter(|slot| planner.facts(slot.id()).of(release) == Seen::Available).count()
}
