//! Shares of two releases that run side by side in the traffic of a service.

use serde::{Deserialize, Serialize};

use crate::fleet::Fleet;
use crate::id::Counter;
use crate::service::{Releases, Service, Slots};
use crate::slot::Slot;
use crate::time::Timestamp;
use crate::traffic::Weight;

/// Two releases that run side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SharesView {
    /// The release that the traffic moves to, or moved to.
    pub release: Counter,
    /// Its share, in thousandths.
    pub weight: Weight,
    /// The release that has the rest.
    pub other: Counter,
    /// The one of the two that has every request meanwhile: the other one has no instance that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<Counter>,
    /// When the one without traffic stops, if that is settled: until then it is kept warm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_until: Option<Timestamp>,
}

impl SharesView {
    pub(super) fn of(
        service: &Service,
        slots: &Slots,
        releases: &Releases,
        fleet: &dyn Fleet,
    ) -> Option<Self> {
        let split = service.split.as_ref()?;
        let warm = slots.values().filter(|slot| slot.other().is_some_and(|other| other.run.runs()));
        Some(Self {
            release: releases.get(&split.new)?.counter,
            weight: split.weight,
            other: releases.get(&split.old)?.counter,
            alone: alone(service, releases, fleet),
            warm_until: warm
                .filter_map(Slot::standby_until)
                .chain(slots.values().filter_map(Slot::kept_until))
                .max(),
        })
    }
}

/// The release that has every request of a service although its split says otherwise.
pub(in crate::view) fn alone(service: &Service, releases: &Releases, fleet: &dyn Fleet) -> Option<Counter> {
    let split = service.split.as_ref()?;
    let alone = fleet.traffic()?.alone(&service.id, split)?;
    let has_all = split.share(&alone) == Weight::ALL;
    releases.get(&alone).filter(|_| !has_all).map(|release| release.counter)
}
