//! The two sides of a recovery, the store's and the hosts', and its outcome.

use std::collections::BTreeMap;

use crate::id::{HostId, RolloutId, ServiceId, SlotId};
use crate::plan::HostPlan;
use crate::rollout::Rollout;
use crate::service::{Releases, Service, Slots};
use crate::slot::Slot;
use crate::time::Timestamp;

/// Numbers of releases that are left out while a host that may have seen them was not heard of.
pub const COUNTER_GAP: u64 = 100;
/// Indices of slots that are left out for the same reason.
pub(super) const SLOT_GAP: u32 = 1000;

/// The knowledge of the store.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// Services.
    pub services: &'a BTreeMap<ServiceId, Service>,
    /// Slots by service.
    pub slots: &'a BTreeMap<ServiceId, Slots>,
    /// Rollouts; only those that a service names count.
    pub rollouts: &'a BTreeMap<RolloutId, Rollout>,
}

/// The plans and releases that hosts have shown.
#[derive(Debug, Clone)]
pub struct Shown<'a> {
    /// The newest plans of the hosts whose word counts, verified.
    pub plans: BTreeMap<HostId, &'a HostPlan>,
    /// Every release that is known, from the store and from hosts, verified.
    pub releases: &'a Releases,
    /// The highest number of a service's releases that any host has seen.
    pub counters: BTreeMap<ServiceId, u64>,
    /// The other members.
    pub others: Others,
    /// When the newest plans of other hosts were made that the store surely knows. Asked only where the fleet has gone
    /// on: what is older than those decides nothing.
    pub since: BTreeMap<HostId, Timestamp>,
}

/// Hosts whose plans are not among those shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// None: what is shown is all there is.
    None,
    /// Some were not heard of yet.
    Unheard,
    /// The fleet has gone on, and this is about hosts that come late.
    GoneOn,
}

/// The changes to store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merged {
    /// Services that change or come.
    pub services: BTreeMap<ServiceId, Service>,
    /// Slots that change, come or go.
    pub slots: BTreeMap<SlotId, Option<Slot>>,
    /// Rollouts that end, pause or come.
    pub rollouts: Vec<Rollout>,
}
