//! Takes differences of reports, and keeps them for the services that a decision may ask for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::{Counts, IngressReport, REPORT_QUIET, Traffic};
use super::{Fault, FaultKind, Ring, Tally, Window};
use crate::digest::Digest;
use crate::id::{EnvironmentId, HostId, ServiceId};
use crate::time::Timestamp;

/// Processes of an ingress that are remembered per host: one that hands over reports beside its successor.
const PROCESSES: usize = 3;
/// Faults that are remembered per service.
const FAULTS: usize = 16;
/// An ingress that was heard of within this reports.
const REPORTS: Duration = Duration::from_secs(2 * REPORT_QUIET.as_secs());

/// Releases by service of which windows are kept. Those of others are not: a difference needs nothing but the last report.
pub type Wanted = BTreeMap<ServiceId, BTreeSet<Digest>>;

/// The windows of a fleet. In memory only: they begin anew with the coordinator.
#[derive(Debug, Default)]
pub struct Windows {
    hosts: BTreeMap<HostId, Heard>,
    services: BTreeMap<ServiceId, Arc<ServiceWindows>>,
    newest: Timestamp,
}

/// The windows of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceWindows {
    rings: BTreeMap<Digest, Ring>,
    heard: BTreeMap<HostId, Timestamp>,
    faults: VecDeque<Fault>,
}

/// The processes of an ingress, the one heard of last at the end.
#[derive(Debug)]
struct Heard {
    at: Timestamp,
    processes: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    report: Arc<IngressReport>,
    at: Timestamp,
    /// Counters that it had, and has not now.
    missing: BTreeSet<(ServiceId, Digest)>,
}

impl Windows {
    /// Takes in the report of a host that came at `now`. Only services in environments that it `serves` are believed.
    pub fn take(
        &mut self,
        host: &HostId,
        report: &Arc<IngressReport>,
        now: Timestamp,
        wanted: &Wanted,
        serves: impl Fn(&EnvironmentId) -> bool,
    ) {
        if now < self.newest {
            // The clock was set: times of before do not compare with those of after.
            *self = Self::default();
        }
        self.newest = now;
        self.services.retain(|service, _| wanted.contains_key(service));
        let Some(before) = self.hosts.get_mut(host) else {
            // Of a host that was not heard of, nobody knows when its requests were.
            let process = Process { report: report.clone(), at: now, missing: BTreeSet::new() };
            self.hosts.insert(host.clone(), Heard { at: now, processes: vec![process] });
            return self.note_heard(host, now, wanted, serves);
        };
        let known = before.processes.iter().position(|process| process.report.process == report.process);
        let mut process = known.map(|at| before.processes.remove(at));
        if process.as_ref().is_some_and(|known| is_stale(&known.report, report)) {
            before.processes.extend(process);
            return;
        }
        let from = process.as_ref().map_or_else(
            // All that a new process has counted is from since it began.
            || (now - report.at.since(report.started_at)).min(before.at),
            |process| process.at,
        );
        for (service, releases) in wanted.iter().filter(|(service, _)| serves(&service.environment)) {
            let windows = Arc::make_mut(self.services.entry(service.clone()).or_default());
            windows.rings.retain(|release, _| releases.contains(release));
            for release in releases {
                match difference(process.as_mut(), report, service, release) {
                    Ok((tally, fault)) => {
                        windows.rings.entry(*release).or_default().push(from, now, tally);
                        fault.into_iter().for_each(|what| windows.fault(host, now, what));
                    }
                    Err(what) => windows.fault(host, now, what),
                }
            }
        }
        let missing = process.map(|process| process.missing).unwrap_or_default();
        before.at = now;
        before.processes.push(Process { report: report.clone(), at: now, missing });
        if before.processes.len() > PROCESSES {
            before.processes.remove(0);
        }
        self.note_heard(host, now, wanted, serves);
    }

    fn note_heard(
        &mut self,
        host: &HostId,
        now: Timestamp,
        wanted: &Wanted,
        serves: impl Fn(&EnvironmentId) -> bool,
    ) {
        for service in wanted.keys().filter(|service| serves(&service.environment)) {
            let windows = self.services.entry(service.clone()).or_default();
            Arc::make_mut(windows).heard.insert(host.clone(), now);
        }
    }

    /// Forgets the ingress of a host.
    pub fn forget(&mut self, host: &HostId) {
        self.hosts.remove(host);
        for windows in self.services.values_mut() {
            Arc::make_mut(windows).heard.remove(host);
        }
    }

    /// The windows of a service, if any are kept.
    pub fn of(&self, service: &ServiceId) -> Option<Arc<ServiceWindows>> {
        self.services.get(service).cloned()
    }
}

impl ServiceWindows {
    /// The requests of `release` from `from` until `until`. Two releases asked for the same time are compared over the same
    /// reports. `traffic` says which ingresses of the environment count.
    pub fn window(
        &self,
        release: &Digest,
        (from, until): (Timestamp, Timestamp),
        environment: &EnvironmentId,
        traffic: Option<&Traffic>,
    ) -> Window {
        let counted = traffic.into_iter().flat_map(|traffic| &traffic.ingresses);
        let counted: Vec<&HostId> =
            counted.filter(|(_, of)| of.serves.contains(environment)).map(|(host, _)| host).collect();
        let reports = |host: &&&HostId| self.heard.get(**host).is_some_and(|at| until.since(*at) <= REPORTS);
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let within = |fault: &&Fault| (from..=until).contains(&fault.at);
        Window {
            from,
            until,
            tally: self.rings.get(release).map(|ring| ring.sum(from, until)).unwrap_or_default(),
            reporting: number(counted.iter().filter(reports).count()),
            ingresses: number(counted.len()),
            faults: self.faults.iter().filter(within).cloned().collect(),
        }
    }

    /// The number of entries in the ring of a release.
    #[cfg(test)]
    pub(super) fn entries(&self, release: &Digest) -> usize {
        self.rings.get(release).map_or(0, Ring::len)
    }

    fn fault(&mut self, host: &HostId, at: Timestamp, what: FaultKind) {
        if self.faults.len() >= FAULTS {
            self.faults.pop_front();
        }
        self.faults.push_back(Fault { host: host.clone(), at, what });
    }
}

/// Returns whether `report` was made before `known`, and came after it.
fn is_stale(known: &IngressReport, report: &IngressReport) -> bool {
    report.at < known.at && total(report) < total(known)
}

fn total(report: &IngressReport) -> u64 {
    let releases = report.services.values().flat_map(|service| service.releases.values());
    releases.fold(0, |sum, release| sum.saturating_add(release.weighted.requests))
}

/// The requests of a release since the last report of the process; since its beginning if there was none. Answers with a
/// fault too where a part of them is not known.
fn difference(
    process: Option<&mut Process>,
    report: &IngressReport,
    service: &ServiceId,
    release: &Digest,
) -> Result<(Tally, Option<FaultKind>), FaultKind> {
    let of = |report: &IngressReport| -> Option<Counts> {
        Some(report.services.get(service)?.releases.get(release)?.weighted.clone())
    };
    let is_cut =
        |report: &IngressReport| report.services.get(service).is_some_and(|service| service.histograms_cut);
    let counts = of(report);
    let (before, was_cut, was_missing) = match process {
        None => (None, false, false),
        Some(process) => {
            let before = of(&process.report);
            let name = (service.clone(), *release);
            let was_missing = if before.is_some() && counts.is_none() {
                process.missing.insert(name);
                false
            } else {
                counts.is_some() && process.missing.remove(&name)
            };
            (before, is_cut(&process.report), was_missing)
        }
    };
    let Some(counts) = counts else { return Ok((Tally::default(), None)) };
    if was_missing || (before.is_none() && was_cut) {
        return Err(FaultKind::CounterMissing);
    }
    let whole = !was_cut && !is_cut(report);
    let tally = Tally::between(&before.unwrap_or_default(), &counts, whole);
    let tally = tally.map_err(|_| FaultKind::CounterFell)?;
    let cut = (!whole && tally.requests > 0).then_some(FaultKind::HistogramsCut);
    Ok((tally, cut))
}
