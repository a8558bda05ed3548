//! The requests of about the last half minute, of every service, for people who look.
//!
//! Ingresses report counters since their process began. Two older reports of each process are kept beside its newest one, so
//! that a difference is over [`SPAN`] to twice as long. Nothing is computed until somebody looks, and nothing decides by it: the
//! decisions of rollouts have [`super::Windows`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::report::{Counts, IngressReport, REPORT_QUIET, ReleaseTraffic, ServiceTraffic};
use super::window::Tally;
use crate::digest::Digest;
use crate::id::{HostId, ServiceId};
use crate::time::Timestamp;

/// The least time of a difference, once a process has reported for so long.
const SPAN: Duration = Duration::from_secs(30);
/// A shorter time than this says nothing of a rate.
const SHORT: Duration = Duration::from_secs(1);
/// A process of which nothing was heard for so long is left out.
const SILENT: Duration = Duration::from_secs(2 * REPORT_QUIET.as_secs());
/// Processes of an ingress that are remembered, as many as an agent lets connect.
const PROCESSES: usize = 4;

/// The last reports of all ingresses. In memory only.
#[derive(Debug, Default)]
pub struct Recent {
    hosts: BTreeMap<HostId, Vec<Process>>,
    newest: Timestamp,
}

/// Three reports of a process: the oldest one is what the newest one is compared with, and the middle one takes its place.
#[derive(Debug)]
struct Process {
    base: Heard,
    middle: Heard,
    last: Heard,
}

#[derive(Debug, Clone)]
struct Heard {
    report: Arc<IngressReport>,
    at: Timestamp,
}

/// The requests of a service, over all ingresses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rates {
    /// By the release that they went to.
    pub releases: BTreeMap<Digest, Rate>,
    /// For which no release was found.
    pub nobody: Rate,
}

/// Requests of the last half minute to a minute, by weight or not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rate {
    /// Requests that ended per second; `None` if no process has told twice.
    pub per_second: Option<f64>,
    /// Their ends.
    pub tally: Tally,
    /// Requests and tunnels under way, now.
    pub in_flight: u64,
}

impl Recent {
    /// Takes in the report of a host that came at `now`.
    pub fn take(&mut self, host: &HostId, report: &Arc<IngressReport>, now: Timestamp) {
        if now < self.newest {
            // The clock was set: times of before do not compare with those of after.
            self.hosts.clear();
        }
        self.newest = now;
        let processes = self.hosts.entry(host.clone()).or_default();
        let known = processes.iter().position(|of| of.last.report.process == report.process);
        let last = Heard { report: report.clone(), at: now };
        let mut process = match known {
            Some(at) => processes.remove(at),
            None => Process { base: last.clone(), middle: last.clone(), last: last.clone() },
        };
        if now.since(process.middle.at) >= SPAN {
            process.base = std::mem::replace(&mut process.middle, last.clone());
        }
        process.last = last;
        processes.push(process);
        if processes.len() > PROCESSES {
            processes.remove(0);
        }
    }

    /// Forgets the ingress of a host.
    pub fn forget(&mut self, host: &HostId) {
        self.hosts.remove(host);
    }

    /// The requests of a service as they are at `now`, by the ingresses that are `believed`.
    pub fn of(&self, service: &ServiceId, now: Timestamp, believed: impl Fn(&HostId) -> bool) -> Rates {
        let mut rates = Rates::default();
        let hosts = self.hosts.iter().filter(|(host, _)| believed(host));
        let heard = hosts.flat_map(|(_, processes)| processes).filter(|of| now.since(of.last.at) < SILENT);
        for process in heard {
            let Some(traffic) = process.last.report.services.get(service) else { continue };
            let span = process.last.at.since(process.base.at);
            let base = process.base.report.services.get(service);
            for (release, counts) in &traffic.releases {
                let before = base.and_then(|base| base.releases.get(release));
                let was_cut = before.is_none() && base.is_some_and(|base| base.histograms_cut);
                let rate = rates.releases.entry(*release).or_default();
                let before = before.map(ReleaseTraffic::all);
                let pairs = counts.all().into_iter().enumerate();
                let pairs: Vec<_> =
                    pairs.map(|(number, counts)| (before.map(|before| before[number]), counts)).collect();
                rate.add(&pairs, (span, is_whole(base, traffic)), was_cut);
            }
            let was_cut = base.is_some_and(|base| base.histograms_cut && base.nobody.is_empty());
            let pair = (base.map(|base| &base.nobody), &traffic.nobody);
            rates.nobody.add(&[pair], (span, is_whole(base, traffic)), was_cut);
        }
        rates
    }
}

/// Whether both have the latencies.
fn is_whole(base: Option<&ServiceTraffic>, last: &ServiceTraffic) -> bool {
    !last.histograms_cut && base.is_none_or(|base| !base.histograms_cut)
}

impl Rate {
    /// Adds what one process counted in `span`: pairs of counts, before and now. `was_cut` says that it did not tell what it had
    /// counted before.
    fn add(&mut self, pairs: &[(Option<&Counts>, &Counts)], (span, whole): (Duration, bool), was_cut: bool) {
        let under_way = pairs.iter().map(|(_, now)| now.in_flight.saturating_add(now.tunnels));
        self.in_flight = under_way.fold(self.in_flight, u64::saturating_add);
        if span < SHORT || was_cut {
            return;
        }
        let none = Counts::default();
        let between =
            |(before, now): &(Option<&Counts>, &Counts)| Tally::between(before.unwrap_or(&none), now, whole);
        // A counter that fell says nothing of this time.
        let Ok(tallies) = pairs.iter().map(between).collect::<Result<Vec<_>, _>>() else { return };
        for tally in tallies {
            *self.per_second.get_or_insert(0.0) += per_second(tally.requests, span);
            self.tally.add(&tally);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn per_second(requests: u64, span: Duration) -> f64 {
    requests as f64 / span.as_secs_f64()
}

#[cfg(test)]
mod tests;
