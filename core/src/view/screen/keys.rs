//! The values of the columns of a row, to sort and to filter by.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::host::GpuStats;
use crate::time::Timestamp;

use super::super::{EventView, HostView, RolloutView};
use super::{GpuRow, IngressRow, InstanceRow, RouteRow, RowView, ServiceRow};

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Key<'a> {
    /// A figure.
    Number(f64),
    /// Words. Only these are looked at by a filter.
    Words(Cow<'a, str>),
    /// Not known.
    None,
}

impl Key<'_> {
    pub(super) fn has(&self, lower: &str) -> bool {
        matches!(self, Self::Words(words) if words.to_lowercase().contains(lower))
    }

    /// Numbers before words; what is not known at the end.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Words(a), Self::Words(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Words(_) => 1,
            Self::None => 2,
        }
    }
}

fn words<'a>(words: impl Into<Cow<'a, str>>) -> Key<'a> {
    Key::Words(words.into())
}

fn number(number: Option<f64>) -> Key<'static> {
    number.map_or(Key::None, Key::Number)
}

#[expect(clippy::cast_precision_loss, reason = "to sort by")]
fn count(count: Option<u64>) -> Key<'static> {
    number(count.map(|count| count as f64))
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no 52 bits")]
fn share(used: u64, total: u64) -> Key<'static> {
    number((total > 0).then(|| used as f64 / total as f64))
}

impl RowView {
    /// One for each column of its board.
    pub fn keys(&self, now: Timestamp) -> Vec<Key<'_>> {
        match self {
            Self::Host(of) => host(of, now),
            Self::Service(of) => service(of),
            Self::Rollout(of) => rollout(of),
            Self::Instance(of) => instance(of),
            Self::Gpu(of) => gpu(of),
            Self::Event(of) => event(of),
            Self::Route(of) => route(of),
            Self::Ingress(of) => ingress(of, now),
        }
    }
}

fn host(host: &HostView, now: Timestamp) -> Vec<Key<'_>> {
    let fresh = host.stats.as_ref().filter(|stats| stats.is_fresh(now));
    vec![
        words(host.name.as_str()),
        words(&host.state),
        number(fresh.map(|stats| stats.cpu_percent)),
        number(fresh.map(|stats| stats.load[0])),
        fresh.map_or(Key::None, |stats| share(stats.memory_used, stats.memory_total)),
        fresh.map_or(Key::None, |stats| share(stats.disk_used, stats.disk_total)),
        number(fresh.map(|stats| stats.network_rx)),
        number(fresh.map(|stats| stats.network_tx)),
        Key::Number(f64::from(host.slots)),
        host.note().map_or(Key::None, words),
    ]
}

fn service(row: &ServiceRow) -> Vec<Key<'_>> {
    let status = &row.status;
    vec![
        words(format!("{}/{}", status.environment, status.service)),
        status.release.map_or(Key::None, |release| words(release.to_string())),
        words(&status.state),
        Key::Number(f64::from(status.healthy)),
        number(row.cpu_percent),
        count(row.memory_used),
        Key::Number(f64::from(status.restarts)),
        status.why().map_or(Key::None, words),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "to sort by")]
fn rollout(rollout: &RolloutView) -> Vec<Key<'_>> {
    let waits = rollout.waiting.first().or(rollout.reason.as_ref());
    vec![
        words(format!("{}/{}", rollout.environment, rollout.service)),
        words(rollout.release.to_string()),
        words(rollout.state.as_str().replace('_', " ")),
        Key::Number(f64::from(rollout.available)),
        rollout.traffic.as_ref().map_or(Key::None, |of| words(format!("{} {}", of.release, of.weight))),
        Key::Number(-(rollout.created_at.as_millis() as f64)),
        Key::Number(rollout.duration_ms as f64),
        waits.map_or(Key::None, words),
    ]
}

fn instance(row: &InstanceRow) -> Vec<Key<'_>> {
    let of = &row.instance;
    vec![
        words(format!("{}/{}", row.environment, row.service)),
        Key::Number(f64::from(of.slot.index)),
        words(of.host.as_str()),
        words(of.release.to_string()),
        words(of.state.as_str()),
        number(of.cpu_percent),
        count(of.memory_used),
        number(of.probe.as_ref().map(|probe| probe.seconds)),
        Key::Number(f64::from(of.restarts)),
        of.trouble().map_or(Key::None, words),
    ]
}

fn gpu(row: &GpuRow) -> Vec<Key<'_>> {
    let used = row.stats.as_ref();
    vec![
        words(row.host.as_str()),
        words(&row.gpu.uuid),
        words(&row.gpu.name),
        number(used.and_then(|used| used.readings.utilization)),
        count(used.and_then(GpuStats::memory).map(|(used, _)| used)),
        count(Some(row.gpu.memory).filter(|memory| *memory > 0)),
        number(used.and_then(|used| used.readings.temperature)),
        number(used.and_then(|used| used.readings.power)),
        words(row.state()),
    ]
}

fn event(event: &EventView) -> Vec<Key<'_>> {
    vec![words(event.at.to_string()), words(&event.kind), words(&event.subject), words(&event.message)]
}

fn route(row: &RouteRow) -> Vec<Key<'_>> {
    let recent = row.recent.as_ref();
    vec![
        words(format!("{}/{}", row.environment, row.service)),
        row.release.map_or(Key::None, |release| words(release.to_string())),
        number(recent.and_then(|of| of.per_second)),
        number(recent.and_then(|of| of.error_ratio)),
        number(recent.and_then(|of| of.p95_seconds)),
        count(recent.map(|of| of.in_flight)),
        number(row.weight.map(|weight| f64::from(u16::from(weight)))),
        number(Some(f64::from(row.serving))),
        row.names.first().map_or(Key::None, words),
    ]
}

fn ingress(row: &IngressRow, now: Timestamp) -> Vec<Key<'_>> {
    let of = &row.ingress;
    vec![
        words(of.host.as_str()),
        words(row.environment.as_str()),
        words(row.state(now).as_str()),
        count(Some(of.wanted)),
        count(of.acknowledged),
        count(Some(of.in_flight)),
        of.refused.as_ref().map_or(Key::None, words),
    ]
}
