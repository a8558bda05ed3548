//! One screen of the fleet, as `windlass top` shows it: filtered, sorted and cut where the data is, so that a fleet of any
//! size costs a screenful on the wire.

mod board;
mod keys;
mod traffic;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::condition::ConditionCode;
use crate::host::{Gpu, GpuLost, GpuStats};
use crate::id::{EnvironmentId, HostId, ServiceId, ServiceName};
use crate::time::Timestamp;

use super::{ConditionView, EventView, GpuHolder, HostView, InstanceView, RolloutView, StatusView};

pub use board::Board;
pub use keys::Key;
pub use traffic::{IngressRow, RouteRow};

/// Rows of one screen of a coordinator at most.
pub const ROWS: usize = 500;
/// Instances of a service, and slots of a rollout, that a row has for its details.
const PARTS: usize = 100;
/// Bytes of a filter at most.
pub const FILTER: usize = 256;

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowView {
    /// A host.
    Host(Box<HostView>),
    /// A service, with its instances.
    Service(Box<ServiceRow>),
    /// A rollout.
    Rollout(Box<RolloutView>),
    /// An instance.
    Instance(Box<InstanceRow>),
    /// A GPU.
    Gpu(Box<GpuRow>),
    /// An event.
    Event(EventView),
    /// A release of a service that requests are routed to.
    Route(Box<RouteRow>),
    /// An ingress of an environment.
    Ingress(Box<IngressRow>),
}

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceRow {
    /// Its state, with the first of its instances.
    pub status: StatusView,
    /// Cores that all its instances use, in percent of one; none if nothing was measured.
    pub cpu_percent: Option<f64>,
    /// Memory that all of them use, in bytes.
    pub memory_used: Option<u64>,
    /// Instances that are left out here.
    pub left_out: usize,
}

/// An instance of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceRow {
    /// The environment of its service.
    pub environment: EnvironmentId,
    /// Its service.
    pub service: ServiceName,
    /// The instance.
    pub instance: InstanceView,
}

/// A GPU of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuRow {
    /// The host.
    pub host: HostId,
    /// The GPU.
    pub gpu: Gpu,
    /// Since when and why it is lost, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<GpuLost>,
    /// Its measured values; none if they are not fresh.
    pub stats: Option<GpuStats>,
    /// Its conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ConditionView>,
    /// Slots that have it.
    pub holders: Vec<GpuHolder>,
}

impl GpuRow {
    /// Its state in a word: `lost`, `errors`, `slow`, `silent` if nobody says how it does, or `well`.
    pub fn state(&self) -> &'static str {
        let has = |code: ConditionCode| self.conditions.iter().any(|found| found.code == code.as_str());
        let errs = |stats: &GpuStats| stats.remap_failed || stats.ecc_uncorrected > 0;
        match &self.stats {
            _ if self.lost.is_some() => "lost",
            stats if has(ConditionCode::GpuErrors) || stats.as_ref().is_some_and(errs) => "errors",
            Some(stats) if has(ConditionCode::GpuThrottled) || stats.is_slowed() => "slow",
            Some(_) => "well",
            None => "silent",
        }
    }
}

/// A part of a board.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Which board.
    pub board: Board,
    /// Only rows with this in one of their words, whatever its case.
    pub filter: String,
    /// The number of the column to sort by.
    pub sort: usize,
    /// The other way round.
    pub descending: bool,
    /// Rows before the first one.
    pub from: usize,
    /// Rows at most.
    pub limit: usize,
    /// Only what is of this environment, or of none.
    pub environment: Option<EnvironmentId>,
}

/// A screen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScreenView {
    /// The board that it is of.
    pub board: Board,
    /// Rows before the first one here.
    pub from: usize,
    /// Rows that fit the filter in all.
    pub found: usize,
    /// Hosts of the fleet.
    pub hosts: usize,
    /// Those that are connected.
    pub hosts_up: usize,
    /// Rollouts under way.
    pub moving: usize,
    /// Environments of these rows whose rollouts the reader may steer; none if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steers: Option<Vec<EnvironmentId>>,
    /// The rows.
    pub rows: Vec<RowView>,
}

impl RowView {
    /// A service.
    pub fn of_service(mut status: StatusView) -> Self {
        let cpu: Vec<f64> = status.instances.iter().filter_map(|of| of.cpu_percent).collect();
        let memory: Vec<u64> = status.instances.iter().filter_map(|of| of.memory_used).collect();
        let sum = || memory.iter().fold(0_u64, |sum, used| sum.saturating_add(*used));
        let left_out = status.instances.len().saturating_sub(PARTS);
        status.instances.truncate(PARTS);
        Self::Service(Box::new(ServiceRow {
            status,
            cpu_percent: (!cpu.is_empty()).then(|| cpu.iter().sum()),
            memory_used: (!memory.is_empty()).then(sum),
            left_out,
        }))
    }

    /// A rollout.
    pub fn of_rollout(mut rollout: RolloutView) -> Self {
        rollout.slots.truncate(PARTS);
        Self::Rollout(Box::new(rollout))
    }

    /// The instances of a service, one row each.
    pub fn instances(status: &StatusView) -> impl Iterator<Item = Self> {
        status.instances.iter().map(|instance| {
            let (environment, service) = (status.environment.clone(), status.service.clone());
            Self::Instance(Box::new(InstanceRow { environment, service, instance: instance.clone() }))
        })
    }

    /// The GPUs of a host, one row each; those that it has lost come last.
    pub fn gpus(host: &HostView, now: Timestamp) -> impl Iterator<Item = Self> {
        let fresh = host.stats.as_ref().filter(|stats| stats.is_fresh(now));
        let lost = host.gpus_lost.iter().map(|lost| {
            let gpu = Gpu { uuid: lost.uuid.clone(), name: lost.name.clone(), ..Gpu::default() };
            (gpu, Some(lost.clone()))
        });
        host.gpus.iter().map(|gpu| (gpu.clone(), None)).chain(lost).map(move |(gpu, lost)| {
            let stats = fresh.and_then(|stats| stats.gpus.iter().find(|stats| stats.uuid == gpu.uuid));
            let about =
                |found: &&ConditionView| found.slot.is_none() && found.device.as_ref() == Some(&gpu.uuid);
            Self::Gpu(Box::new(GpuRow {
                host: host.name.clone(),
                lost,
                stats: stats.cloned(),
                conditions: host.conditions.iter().filter(about).cloned().collect(),
                holders: host.gpu_holders.get(&gpu.uuid).cloned().unwrap_or_default(),
                gpu,
            }))
        })
    }

    /// The service that the row is about.
    pub fn service(&self) -> Option<ServiceId> {
        match self {
            Self::Service(of) => {
                Some(ServiceId::new(of.status.environment.clone(), of.status.service.clone()))
            }
            Self::Rollout(of) => Some(ServiceId::new(of.environment.clone(), of.service.clone())),
            Self::Instance(of) => Some(ServiceId::new(of.environment.clone(), of.service.clone())),
            Self::Event(of) => of.subject.parse().ok(),
            Self::Route(of) => Some(ServiceId::new(of.environment.clone(), of.service.clone())),
            Self::Host(_) | Self::Gpu(_) | Self::Ingress(_) => None,
        }
    }

    /// Whether it is of an environment, or of none.
    fn is_of(&self, wanted: &EnvironmentId) -> bool {
        match self {
            Self::Service(of) => of.status.environment == *wanted,
            Self::Rollout(of) => of.environment == *wanted,
            Self::Instance(of) => of.environment == *wanted,
            Self::Route(of) => of.environment == *wanted,
            Self::Ingress(of) => of.environment == *wanted,
            Self::Event(_) => self.service().is_none_or(|service| service.environment == *wanted),
            Self::Host(_) | Self::Gpu(_) => true,
        }
    }
}

/// The numbers of the rows that are wanted, in order, and how many fit the filter in all.
pub fn choose<'a>(
    rows: impl Iterator<Item = &'a RowView>,
    wanted: &Wanted,
    now: Timestamp,
) -> (usize, Vec<usize>) {
    let filter = wanted.filter.to_lowercase();
    let mut found = Vec::new();
    for (number, row) in rows.enumerate() {
        if wanted.environment.as_ref().is_some_and(|environment| !row.is_of(environment)) {
            continue;
        }
        let mut keys = row.keys(now);
        if filter.is_empty() || keys.iter().any(|key| key.has(&filter)) {
            let key = if wanted.sort < keys.len() { Some(keys.swap_remove(wanted.sort)) } else { None };
            found.push((key, number));
        }
    }
    // Rollouts and events come the newest first, unless somebody asks otherwise.
    let is_sorted = matches!(wanted.board, Board::Rollouts | Board::Events);
    if wanted.sort > 0 || wanted.descending || !is_sorted {
        found.sort_by(|(a, _), (b, _)| {
            let order = match (a, b) {
                (Some(a), Some(b)) => a.compare(b),
                _ => Ordering::Equal,
            };
            if wanted.descending { order.reverse() } else { order }
        });
    }
    let count = found.len();
    let shown = found.into_iter().skip(wanted.from).take(wanted.limit);
    (count, shown.map(|(_, number)| number).collect())
}

#[cfg(test)]
mod tests;
