//! Differences between a host's plan and the store, in words.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{Counter, SlotId};
use crate::plan::{HostPlan, Phase, PlanSlot};
use crate::service::Releases;
use crate::slot::Slot;

/// One slot that a host holds and the store does not, or the other way round, or differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Difference {
    /// Which slot.
    pub slot: SlotId,
    /// The host's side.
    pub host: Option<Side>,
    /// The store's side.
    pub store: Option<Side>,
}

/// One side of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Side {
    /// The release; absent if nobody has shown it.
    pub release: Option<Counter>,
    /// Digest of its payload.
    pub digest: Digest,
    /// The desired phase of its instance.
    pub phase: Phase,
    /// Whether the release's rollout succeeded.
    pub good: bool,
    /// The release that is kept for a way back.
    pub kept: Option<Counter>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |side: &Option<Side>| side.map_or_else(|| "nothing".to_owned(), |side| side.to_string());
        write!(f, "{}: {} (the store: {})", self.slot, side(&self.host), side(&self.store))
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.release {
            Some(release) => write!(f, "{release}")?,
            None => write!(f, "release {}", self.digest.short())?,
        }
        f.write_str(match (self.phase, self.good) {
            (Phase::Running, true) => "",
            (Phase::Running, false) => " on trial",
            (Phase::Pulled, _) => " pulled, not started",
            (Phase::Draining, _) => " draining",
            (Phase::Standby, _) => " stopped",
            (Phase::Absent, _) => " going",
        })?;
        self.kept.map_or(Ok(()), |kept| write!(f, " beside {kept}"))
    }
}

/// The differences between a host's plan and the slots that are stored for it.
pub fn differences<'a>(
    stored: impl Iterator<Item = (&'a SlotId, &'a Slot)>,
    releases: &Releases,
    plan: &'a HostPlan,
) -> Vec<Difference> {
    let mut pairs: BTreeMap<&SlotId, (Option<&PlanSlot>, Option<PlanSlot>)> =
        stored.map(|(id, slot)| (id, (None, Some(slot.plan())))).collect();
    for part in &plan.slots {
        pairs.entry(&part.slot).or_default().0 = Some(part);
    }
    let side = |want: &PlanSlot| {
        let counter = |digest: &Digest| releases.get(digest).map(|release| release.counter);
        Side {
            release: counter(&want.release),
            digest: want.release,
            phase: want.phase,
            good: want.good,
            kept: want.previous.as_ref().and_then(|previous| counter(&previous.release)),
        }
    };
    let differing = pairs.into_iter().filter(|(_, (here, there))| *here != there.as_ref());
    differing
        .map(|(slot, (here, there))| Difference {
            slot: slot.clone(),
            host: here.map(side),
            store: there.as_ref().map(side),
        })
        .collect()
}
