//! The live state of hosts, known only while they are connected: liveness, the newest observation, statistics.
//!
//! Nothing here is stored; the last observation is copied to the store behind (see [`crate::recorder`]) so that
//! `status` has an answer after a restart. Statistics are lossy: the newest wins.

mod answers;
mod ingresses;
mod liveness;
mod measured;
mod near;
mod runs;
mod seen;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use windlass_core::fleet::{FleetView, Member};
use windlass_core::gate::{Answer, QuestionKey};
use windlass_core::host::{HostStats, Liveness};
use windlass_core::observation::Observation;
use windlass_core::traffic::{Processes, Recent, Windows};
use windlass_core::{HostId, ServiceId, Timestamp};
use windlass_process::Steps;
use windlass_proto::limits::KEEPALIVE;

use crate::clock::Clock;
use crate::config::LivenessRules;
use crate::ledger::State;
use crate::session::LogCommand;
use crate::store::record::{HostRecord, PlanRecord};

pub(crate) use near::Near;
use runs::Runs;

/// Things that are written down about one host within [`COMPLAINTS_WINDOW`].
const COMPLAINTS: u32 = 10;
const COMPLAINTS_WINDOW: Duration = Duration::from_secs(600);
/// The shortest time between two writes of one host's facts.
const CALM: Duration = Duration::from_secs(1);
/// A stream that ends after less silence than this did not end for it.
const SILENCE: Duration = KEEPALIVE;

/// The word of a host about the audit log.
#[derive(Debug, Clone)]
pub(crate) struct Testimony {
    /// Its newest receipt, an envelope.
    pub receipt: Arc<[u8]>,
    /// The checkpoint that it keeps, an envelope; none unless the audit key signed it.
    pub checkpoint: Option<Arc<[u8]>>,
}

/// Hosts as they are now. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    hosts: Arc<RwLock<BTreeMap<HostId, Live>>>,
    rules: LivenessRules,
    started: Timestamp,
    /// When the clock was last set, in milliseconds; 0 if it was not.
    clock_set_at: Arc<AtomicI64>,
    clock: Clock,
    steps: Arc<Mutex<Steps>>,
    next: Arc<AtomicU64>,
    /// Counters of ingresses, for the decisions of services that ask.
    windows: Arc<RwLock<Windows>>,
    /// The last reports of ingresses, for people who look.
    recent: Arc<RwLock<Recent>>,
    /// Answers of providers to the questions of gates.
    answers: Arc<RwLock<BTreeMap<QuestionKey, Answer>>>,
}

#[derive(Debug, Default)]
struct Live {
    session: Option<Session>,
    last_seen: Option<Timestamp>,
    /// The same by a clock that nobody sets.
    heard_at: Option<Duration>,
    /// Whether the agent ended the stream, rather than fall silent. Then it may be dead, and what it runs goes on.
    departed: bool,
    observation: Option<Arc<Observation>>,
    /// Whether the observation was made on the stream that stands now. One from before may be old.
    current: bool,
    /// Whether the host reported since the coordinator began. What was stored before may be older than what was decided by it.
    reported: bool,
    /// Whether the observation is newer than what is stored.
    unstored: bool,
    /// Its measurements.
    stats: Option<Arc<HostStats>>,
    /// The complaints written down about it, and since when they are counted.
    complaints: (Timestamp, u32),
    /// When its facts were stored last.
    facts_at: Option<Timestamp>,
    runs: Runs,
    /// The newest reports of its ingress processes.
    ingress: Processes,
    /// Its newest receipt, an envelope that was checked.
    receipt: Option<Testimony>,
}

#[derive(Debug)]
struct Session {
    id: u64,
    replaced: CancellationToken,
    logs: mpsc::Sender<LogCommand>,
}

/// A session's place; dropping it takes the session out, unless a newer one has taken the place.
#[derive(Debug)]
pub(crate) struct Place {
    registry: Registry,
    host: HostId,
    id: u64,
    /// Tripped when the host connects again.
    pub replaced: CancellationToken,
}

impl Registry {
    /// Nobody is connected, as of `started`.
    pub(crate) fn new(rules: LivenessRules, clock: Clock) -> Self {
        let started = clock.now();
        let steps = Steps::since(started.as_millis(), clock.steady());
        Self {
            hosts: Arc::default(),
            rules,
            started,
            clock_set_at: Arc::default(),
            clock,
            steps: Arc::new(Mutex::new(steps)),
            next: Arc::default(),
            windows: Arc::default(),
            recent: Arc::default(),
            answers: Arc::default(),
        }
    }

    /// The rules of liveness.
    pub(crate) const fn rules(&self) -> &LivenessRules {
        &self.rules
    }

    /// When this coordinator started.
    pub(crate) const fn started(&self) -> Timestamp {
        self.started
    }

    /// A host has connected: the newest stream wins, the one before is told to end.
    pub(crate) fn connect(&self, host: &HostId, logs: mpsc::Sender<LogCommand>, now: Timestamp) -> Place {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let replaced = CancellationToken::new();
        let session = Session { id, replaced: replaced.clone(), logs };
        self.with(host, |live| {
            if let Some(old) = live.session.replace(session) {
                old.replaced.cancel();
            }
            live.seen(now, &self.clock);
            live.departed = false;
            live.current = false;
        });
        Place { registry: self.clone(), host: host.clone(), id, replaced }
    }

    /// A process of a host's agent begins a stream. Answers whether it comes back after another one had taken its place,
    /// which a process that has ended does not.
    pub(crate) fn comes_back(&self, host: &HostId, run: u64) -> bool {
        let mut comes_back = false;
        self.with(host, |live| comes_back = live.runs.begin(run));
        comes_back
    }

    /// A host gave a sign of life, perhaps with statistics.
    pub(crate) fn heard(&self, host: &HostId, stats: Option<HostStats>, now: Timestamp) {
        self.with(host, |live| {
            live.seen(now, &self.clock);
            if let Some(stats) = stats {
                live.measured(stats, now);
            }
        });
    }

    /// Whether a complaint about a host may be written down. The first few say it all: one that reconnects for ever
    /// with a forged plan or a bad receipt fills neither audit log nor disk.
    pub(crate) fn may_complain(&self, host: &HostId, now: Timestamp) -> bool {
        self.change(host, |live| {
            let (since, count) = &mut live.complaints;
            if now.since(*since) >= COMPLAINTS_WINDOW {
                (*since, *count) = (now, 0);
            }
            *count = count.saturating_add(1);
            *count <= COMPLAINTS
        })
    }

    /// Whether a host's facts may be stored. At most once a second: each time costs a write and a look at every service.
    pub(crate) fn may_store_facts(&self, host: &HostId, now: Timestamp) -> bool {
        self.change(host, |live| {
            let may = live.facts_at.is_none_or(|at| now.since(at) >= CALM || now < at);
            if may {
                live.facts_at = Some(now);
            }
            may
        })
    }

    /// Ends every stream but that of `host`: agents connect again, and show what they hold.
    pub(crate) fn cut_all_but(&self, host: &HostId) {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let others = hosts.iter().filter(|(other, _)| *other != host);
        others.filter_map(|(_, live)| live.session.as_ref()).for_each(|session| session.replaced.cancel());
    }

    /// Keeps the newest receipt of a host. Not stored: an agent says it again on every new stream.
    pub(crate) fn witnessed(&self, host: &HostId, testimony: Testimony) {
        self.with(host, |live| live.receipt = Some(testimony));
    }

    /// The newest receipt of every host that has sent one since the start.
    pub(crate) fn receipts(&self) -> Vec<(HostId, Testimony)> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().filter_map(|(host, live)| Some((host.clone(), live.receipt.clone()?))).collect()
    }

    /// The channel to ask a host for logs; `None` if it is not connected.
    pub(crate) fn logs_of(&self, host: &HostId) -> Option<mpsc::Sender<LogCommand>> {
        self.look(host, |live| live.session.as_ref().map(|session| session.logs.clone())).flatten()
    }

    /// The number of streams that stand.
    pub(crate) fn connected(&self) -> usize {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts.values().filter(|live| live.session.is_some()).count()
    }

    /// The fleet for a decision about `service` (or about none): stored hosts, as they are now.
    pub(crate) fn fleet(&self, state: &State, service: Option<&ServiceId>, now: Timestamp) -> FleetView {
        self.look_at_clock();
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let nothing = Live::default();
        let members = state.hosts.values().filter(|record| record.is_member()).map(|record| {
            let live = hosts.get(&record.name).unwrap_or(&nothing);
            (
                record.name.clone(),
                self.member(state, record, (live, state.plans.get(&record.name)), service, now),
            )
        });
        FleetView { since: self.counts_since(state, now), members: members.collect() }
    }

    /// Some hosts of the fleet, as they are now.
    pub(crate) fn some(&self, state: &State, names: &[HostId], now: Timestamp) -> FleetView {
        self.look_at_clock();
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let nothing = Live::default();
        let records = names.iter().filter_map(|name| state.hosts.get(name)).filter(|of| of.is_member());
        let members = records.map(|record| {
            let live = hosts.get(&record.name).unwrap_or(&nothing);
            (
                record.name.clone(),
                self.member(state, record, (live, state.plans.get(&record.name)), None, now),
            )
        });
        FleetView { since: self.counts_since(state, now), members: members.collect() }
    }

    /// The fleet for a decision about `service` alone: its own hosts at once, all others only if it asks.
    pub(crate) fn around<'a>(&'a self, state: &'a State, service: &'a ServiceId, now: Timestamp) -> Near<'a> {
        self.look_at_clock();
        Near::new(self, state, service, now)
    }

    fn member(
        &self,
        state: &State,
        record: &HostRecord,
        (live, plan): (&Live, Option<&PlanRecord>),
        service: Option<&ServiceId>,
        now: Timestamp,
    ) -> Member {
        let liveness = self.judge(live.last_seen, now);
        // On a stream that has not reported yet, what is known is from before: it may show as healthy what
        // has failed since.
        let stale = liveness == Liveness::Connected && !live.current;
        let (issued_seq, recovering) = (plan.map_or(0, |plan| plan.seq), state.awaits_that(record));
        // A report under a plan that this store does not know, of a host that joined anew after a restore, tells nothing
        // about the plans that it does know.
        let report = live.observation.clone().filter(|seen| recovering || seen.seq <= issued_seq);
        Member {
            facts: record.facts.clone(),
            liveness,
            last_seen: live.last_seen,
            isolated_for: live.silent_for(&self.clock).filter(|_| !live.departed),
            scheduling: record.scheduling,
            has_ingress: record.ingress_since.is_some(),
            recovering,
            issued_seq,
            parts: plan.map(|plan| plan.since.clone()).unwrap_or_default(),
            observation: report.clone().filter(|_| !stale),
            last_report: report,
            taken: state.taken_beside(&record.name, service),
        }
    }

    fn with(&self, host: &HostId, change: impl FnOnce(&mut Live)) {
        self.change(host, change);
    }

    fn change<T>(&self, host: &HostId, change: impl FnOnce(&mut Live) -> T) -> T {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        change(hosts.entry(host.clone()).or_default())
    }

    fn look<T>(&self, host: &HostId, look: impl FnOnce(&Live) -> T) -> Option<T> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts.get(host).map(look)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let clock = self.registry.clock.clone();
        self.registry.with(&self.host, |live| {
            if live.session.as_ref().is_some_and(|session| session.id == self.id) {
                // A partition ends a stream by silence: its keepalive is not answered. Whatever ends sooner was ended
                // by the agent, or by its kernel when the agent died.
                live.departed = live.silent_for(&clock).is_none_or(|silent| silent < SILENCE);
                live.session = None;
            }
        });
    }
}

#[cfg(test)]
mod tests;
