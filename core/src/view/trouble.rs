//! The troubles of a host: faults, and conditions that keep it from its work, in a form for scripts and in words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fleet::{Member, Scheduling};
use crate::host::{HostStats, Liveness, Silent};
use crate::id::{HostId, SlotId};
use crate::observation::{EngineState, Refusal, SlotStatus};
use crate::time::Timestamp;

use super::condition::{self, ConditionView};

/// Of the disk that holds the engine's data, in percent: from here on a host soon starts nothing new.
const DISK_FULL: u64 = 95;
/// Signed documents are good for less if the clocks differ by more; agents allow for a minute.
const SKEW_MILLIS: i64 = 30_000;
/// Refused slots of one host that are named.
const SLOTS: usize = 16;
/// So many things that do not answer are named, in so many characters.
const SILENT: (usize, usize) = (8, 200);

/// Something that is wrong with a host, or that a person set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Trouble {
    /// It is not heard of: what is shown of it is as of then.
    NotHeardOf {
        /// Its state since then.
        state: Liveness,
        /// When it was last heard of; none if not since the coordinator started.
        last_seen: Option<Timestamp>,
    },
    /// It has connected, and not said yet what it runs.
    NothingReported,
    /// It holds a plan that the coordinator's store does not know: the store was set back.
    Recovering,
    /// Its engine does not answer: what is shown of its containers is as of before.
    EngineUnavailable {
        /// Why.
        reason: String,
    },
    /// It refuses its newest plan and goes on with the one before.
    PlanRefused {
        /// Why.
        refusal: Refusal,
    },
    /// It has not taken its newest plan yet.
    PlanNotTaken {
        /// Number of the newest.
        issued: u64,
        /// Number of the one it has.
        has: u64,
    },
    /// It started nothing in a slot.
    SlotRefused {
        /// Which.
        slot: SlotId,
        /// Why.
        refusal: Refusal,
    },
    /// Its disk is nearly full: it keeps what runs and starts nothing new.
    DiskFull {
        /// In use, in bytes.
        used: u64,
        /// Size, in bytes.
        total: u64,
    },
    /// Something of it does not answer its agent, which goes on without.
    Silent {
        /// The part, as a word: `GPUs`.
        what: String,
        /// Since when, by its clock.
        since: Timestamp,
        /// Symptom of it.
        reason: String,
    },
    /// Its clock and the coordinator's differ.
    ClockSkew {
        /// Lead of its clock, in milliseconds; behind, if negative.
        ahead_ms: i64,
    },
    /// A person said that it gets no new slots.
    Cordoned,
    /// A person said that what it has moves away.
    Draining,
}

impl Trouble {
    /// The stable code, as `problem` has it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotHeardOf { .. } => "not_heard_of",
            Self::NothingReported => "nothing_reported",
            Self::Recovering => "recovering",
            Self::EngineUnavailable { .. } => "engine_unavailable",
            Self::PlanRefused { .. } => "plan_refused",
            Self::PlanNotTaken { .. } => "plan_not_taken",
            Self::SlotRefused { .. } => "slot_refused",
            Self::DiskFull { .. } => "disk_full",
            Self::Silent { .. } => "silent",
            Self::ClockSkew { .. } => "clock_skew",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        }
    }
}

/// The same with its words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Problem {
    /// The trouble.
    #[serde(flatten)]
    pub trouble: Trouble,
    /// In words.
    pub text: String,
}

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Self {
        Self { text: trouble.to_string(), trouble }
    }
}

/// The codes of everything that is wrong with a host itself, each with how often: troubles, and what its agent found.
pub fn host_codes(member: &Member, stats: Option<&HostStats>) -> BTreeMap<&'static str, usize> {
    let troubles = of(member, stats);
    let said = member.observation.iter().flat_map(|seen| &seen.conditions);
    let said = said.filter(|said| said.slot.is_none()).map(|said| said.code.as_str());
    let mut codes = BTreeMap::new();
    for code in troubles.iter().map(|found| found.trouble.code()).chain(said) {
        *codes.entry(code).or_insert(0) += 1;
    }
    codes
}

/// The conditions of a host itself: its troubles, and what its agent found about it and its devices.
pub(super) fn of_host(host: &HostId, problems: &[Problem], found: &[ConditionView]) -> Vec<ConditionView> {
    let mut all = conditions(host, problems);
    all.extend(condition::of_host(found).cloned());
    all
}

/// The troubles of a host in the form of conditions.
pub(super) fn conditions(host: &HostId, problems: &[Problem]) -> Vec<ConditionView> {
    let of = |problem: &Problem| {
        let (slot, since) = match &problem.trouble {
            Trouble::SlotRefused { slot, .. } => (Some(slot.clone()), None),
            Trouble::NotHeardOf { last_seen, .. } => (None, *last_seen),
            Trouble::Silent { since, .. } => (None, Some(*since)),
            Trouble::NothingReported
            | Trouble::Recovering
            | Trouble::EngineUnavailable { .. }
            | Trouble::PlanRefused { .. }
            | Trouble::PlanNotTaken { .. }
            | Trouble::DiskFull { .. }
            | Trouble::ClockSkew { .. }
            | Trouble::Cordoned
            | Trouble::Draining => (None, None),
        };
        ConditionView {
            code: problem.trouble.code().to_owned(),
            message: problem.text.clone(),
            host: host.clone(),
            slot,
            instance: None,
            device: None,
            since,
            not_ready: None,
            last_exit: None,
        }
    };
    problems.iter().map(of).collect()
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotHeardOf { state, last_seen: Some(at) } => {
                write!(f, "{}: no contact since {at}; its data is of then", state.as_str())
            }
            Self::NotHeardOf { state, last_seen: None } => {
                write!(
                    f,
                    "{}: no contact since the coordinator started: its agent has to run there; its data is older",
                    state.as_str()
                )
            }
            Self::NothingReported => f.write_str("connected, has not reported yet what it runs"),
            Self::Recovering => f.write_str("recovering: it holds a plan that the store does not know"),
            Self::EngineUnavailable { reason } => {
                write!(f, "engine unavailable: {reason}; the data of its containers is older")
            }
            Self::PlanRefused { refusal } => write!(f, "refuses its newest plan: {refusal}"),
            Self::PlanNotTaken { issued, has } => write!(f, "has plan {has}, the newest is {issued}"),
            Self::SlotRefused { slot, refusal } => write!(f, "refuses {slot}: {refusal}"),
            Self::DiskFull { used, total } => {
                write!(f, "disk {} % full: nothing new is started", percent(*used, *total))
            }
            Self::Silent { what, since, reason } => {
                write!(f, "{what}: no answer since {since} ({reason}); its data is older")
            }
            Self::ClockSkew { ahead_ms } => {
                let way = if *ahead_ms > 0 { "ahead of" } else { "behind" };
                write!(f, "its clock is {} s {way} the coordinator's", ahead_ms.unsigned_abs() / 1000)
            }
            Self::Cordoned => f.write_str("cordoned: no new slots"),
            Self::Draining => f.write_str("draining: what it has moves away"),
        }
    }
}

fn percent(used: u64, total: u64) -> u64 {
    u64::try_from(u128::from(used) * 100 / u128::from(total.max(1))).unwrap_or(100)
}

/// Everything that is wrong with a host, the most important first.
pub(super) fn of(member: &Member, stats: Option<&HostStats>) -> Vec<Problem> {
    let mut found = Vec::new();
    let connected = member.liveness == Liveness::Connected;
    if !connected {
        found.push(Trouble::NotHeardOf { state: member.liveness, last_seen: member.last_seen });
    }
    if member.recovering {
        found.push(Trouble::Recovering);
    }
    match member.observation.as_deref() {
        None if connected => found.push(Trouble::NothingReported),
        None => {}
        Some(seen) => {
            if let EngineState::Unavailable(reason) = &seen.engine {
                found.push(Trouble::EngineUnavailable { reason: reason.clone() });
            }
            match &seen.plan_refusal {
                Some(refusal) => found.push(Trouble::PlanRefused { refusal: refusal.clone() }),
                None if seen.seq < member.issued_seq && connected && !member.recovering => {
                    found.push(Trouble::PlanNotTaken { issued: member.issued_seq, has: seen.seq });
                }
                None => {}
            }
            let refused = seen.slots.iter().filter_map(|slot| match &slot.status {
                SlotStatus::Refused(refusal) => {
                    Some(Trouble::SlotRefused { slot: slot.slot.clone(), refusal: refusal.clone() })
                }
                SlotStatus::Converging | SlotStatus::Settled | SlotStatus::Failed { .. } => None,
            });
            found.extend(refused.take(SLOTS));
        }
    }
    let measured = stats.filter(|_| connected).map(|stats| stats.silent.as_slice()).unwrap_or_default();
    found.extend(silent(&member.facts.silent, measured));
    // Statistics of a host that is not there are old news.
    if let (Some(stats), true) = (stats, connected) {
        if stats.disk_total > 0 && percent(stats.disk_used, stats.disk_total) >= DISK_FULL {
            found.push(Trouble::DiskFull { used: stats.disk_used, total: stats.disk_total });
        }
        if let (Some(at), Some(heard)) = (stats.at, stats.told_at.or(member.last_seen)) {
            let ahead_ms = at.as_millis() - heard.as_millis();
            if ahead_ms.abs() > SKEW_MILLIS {
                found.push(Trouble::ClockSkew { ahead_ms });
            }
        }
    }
    match member.scheduling {
        Scheduling::Ready => {}
        Scheduling::Cordoned => found.push(Trouble::Cordoned),
        Scheduling::Draining => found.push(Trouble::Draining),
    }
    found.into_iter().map(Problem::from).collect()
}

/// Parts that do not answer, each once, and no more than a person reads.
fn silent(facts: &[Silent], stats: &[Silent]) -> Vec<Trouble> {
    let short = |text: &str| text.chars().take(SILENT.1).collect::<String>();
    let new = stats.iter().filter(|seen| facts.iter().all(|known| known.what != seen.what));
    let all = facts.iter().chain(new).take(SILENT.0);
    let trouble = |silent: &Silent| Trouble::Silent {
        what: short(&silent.what),
        since: silent.since,
        reason: short(&silent.why),
    };
    all.map(trouble).collect()
}

/// Why what is known of a host's instances may not be so now, and since when.
pub(super) fn doubt(member: Option<&Member>) -> Option<String> {
    let Some(member) = member else { return Some("its host is not in the fleet any more".to_owned()) };
    let seen = member.observation.as_deref();
    match (member.liveness, seen.map(|seen| &seen.engine)) {
        (Liveness::Connected, None) => Some(Trouble::NothingReported.to_string()),
        (Liveness::Connected, Some(EngineState::Unavailable(reason))) => {
            Some(Trouble::EngineUnavailable { reason: reason.clone() }.to_string())
        }
        (Liveness::Connected, Some(_)) => None,
        (state, _) => Some(Trouble::NotHeardOf { state, last_seen: member.last_seen }.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fixture::{at, member};
    use crate::host::HostFacts;
    use crate::observation::{Observation, RefusalCode, SlotObservation};

    fn seen(change: impl FnOnce(&mut Observation)) -> Option<Arc<Observation>> {
        let mut seen = Observation { engine: EngineState::Available, seq: 7, ..Observation::default() };
        change(&mut seen);
        Some(Arc::new(seen))
    }

    fn refusal(code: RefusalCode, detail: &str) -> Refusal {
        Refusal { code, detail: detail.to_owned() }
    }

    #[test]
    fn every_fault_says_what_it_is() {
        let well =
            || Member { issued_seq: 7, last_seen: Some(at(100)), observation: seen(|_| {}), ..member() };
        let stats = |at_second: i64, used: u64| HostStats {
            at: Some(at(at_second)),
            disk_used: used,
            disk_total: 100,
            ..HostStats::default()
        };
        let adopting = || {
            refusal(RefusalCode::Stale, "the journal is lost; this host adopts what runs and takes no plan")
        };
        let hung = |what: &str| {
            let silent = Silent { what: what.to_owned(), since: at(5), why: "it hangs".to_owned() };
            Arc::new(HostFacts { silent: vec![silent], ..HostFacts::default() })
        };
        let slot = || SlotObservation {
            slot: "production/web/0".parse().unwrap(),
            release: None,
            status: SlotStatus::Refused(refusal(RefusalCode::NoRoom, "disk: 2 GiB needed")),
            pulled: false,
            checking: false,
            pull: None,
            instances: Vec::new(),
            trouble: None,
        };
        #[rustfmt::skip]
        let table: Vec<(&str, Member, Option<HostStats>, Vec<&str>)> = vec![
            ("a host that is well", well(), Some(stats(100, 50)), vec![]),
            ("suspect", Member { liveness: Liveness::Suspect, ..well() }, None,
                vec!["suspect: no contact since 1970-01-01T00:01:40.000Z; its data is of then"]),
            ("lost", Member { liveness: Liveness::Lost, ..well() }, Some(stats(0, 99)),
                vec!["lost: no contact since 1970-01-01T00:01:40.000Z; its data is of then"]),
            ("never heard of", Member { liveness: Liveness::Unknown, last_seen: None, ..well() }, None,
                vec!["unknown: no contact since the coordinator started: its agent has to run there; its data is older"]),
            ("connected and silent", Member { observation: None, ..well() }, None,
                vec!["connected, has not reported yet what it runs"]),
            ("the engine is gone", Member { observation: seen(|s| s.engine = EngineState::Unavailable("no answer".into())), ..well() }, None,
                vec!["engine unavailable: no answer; the data of its containers is older"]),
            ("the journal is lost", Member { observation: seen(|s| s.plan_refusal = Some(adopting())), ..well() }, None,
                vec!["refuses its newest plan: stale: the journal is lost; this host adopts what runs and takes no plan"]),
            ("it lags behind", Member { issued_seq: 9, ..well() }, None, vec!["has plan 7, the newest is 9"]),
            ("it is ahead of the store", Member { recovering: true, ..well() }, None,
                vec!["recovering: it holds a plan that the store does not know"]),
            ("a slot was refused", Member { observation: seen(|s| s.slots.push(slot())), ..well() }, None,
                vec!["refuses production/web/0: no_room: disk: 2 GiB needed"]),
            ("the disk is full", well(), Some(stats(100, 96)), vec!["disk 96 % full: nothing new is started"]),
            ("something hangs", Member { facts: hung("GPUs"), ..well() }, Some(HostStats { silent: hung("GPUs").silent.iter().chain(&hung("disk").silent).cloned().collect(), ..stats(100, 5) }),
                vec!["GPUs: no answer since 1970-01-01T00:00:05.000Z (it hangs); its data is older",
                     "disk: no answer since 1970-01-01T00:00:05.000Z (it hangs); its data is older"]),
            ("its clock is ahead", well(), Some(stats(190, 5)), vec!["its clock is 90 s ahead of the coordinator's"]),
            ("its clock is behind", well(), Some(stats(10, 5)), vec!["its clock is 90 s behind the coordinator's"]),
            ("a person said so", Member { scheduling: Scheduling::Draining, ..well() }, None,
                vec!["draining: what it has moves away"]),
        ];
        for (case, member, stats, want) in table {
            let found = of(&member, stats.as_ref());
            let texts: Vec<&str> = found.iter().map(|problem| problem.text.as_str()).collect();
            assert_eq!(texts, want, "{case}");
            let shown = conditions(&"web-1".parse().unwrap(), &found);
            assert_eq!(shown.len(), found.len(), "{case}");
            for (condition, problem) in shown.iter().zip(&found) {
                assert_eq!(
                    serde_json::to_value(problem).unwrap()["problem"],
                    condition.code.as_str(),
                    "{case}"
                );
                assert_eq!((&condition.message, condition.host.as_str()), (&problem.text, "web-1"), "{case}");
            }
        }
    }

    #[test]
    fn scripts_read_what_it_is_without_the_words() {
        let skew = serde_json::to_value(Problem::from(Trouble::ClockSkew { ahead_ms: -90_000 })).unwrap();
        assert_eq!((&skew["problem"], &skew["ahead_ms"]), (&"clock_skew".into(), &(-90_000).into()));
    }
}
