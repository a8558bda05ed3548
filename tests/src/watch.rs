//! Asks every instance for its version, all along, and keeps a record of every answer that did not come.
//!
//! It asks the engines which containers run and the containers who they are; no part of the product is between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::host::Host;
use crate::wait;

const ROUND_EVERY: Duration = Duration::from_millis(100);
/// A container that was told to stop refuses newcomers before its engine says so.
const ENDING: Duration = Duration::from_secs(3);
/// It may have answered once more after it was told.
const LAST_ANSWER: Duration = Duration::from_secs(3);

/// The watch. Ask [`Watch::end`] for what it saw.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Seen>>,
}

/// The observations of a watch.
#[derive(Debug, Default)]
pub struct Seen {
    /// Rounds of questions.
    pub rounds: usize,
    /// Answers.
    pub answers: usize,
    /// The fewest instances that answered with a wanted version in one round.
    pub fewest: usize,
    /// When that was, and what every container that ran said.
    pub low: String,
    /// Releases by label, each with the versions that its containers said.
    pub versions: BTreeMap<String, BTreeSet<String>>,
    /// Instances of a wanted version that had answered, were still running, and did not answer.
    pub silent: Vec<String>,
}

impl Watch {
    /// Begins to watch a service on some hosts. Versions in `wanted` count as serving.
    pub fn begin(service: &str, hosts: &[Host], wanted: &'static [&'static str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicUsize::new(0));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&rounds));
        let (service, hosts) = (service.to_owned(), hosts.to_vec());
        let thread = std::thread::spawn(move || {
            let mut seen = Seen { fewest: usize::MAX, ..Seen::default() };
            let mut known = BTreeMap::new();
            let begun_at = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                let round_at = Instant::now();
                seen.round(&service, &hosts, wanted, &mut known, begun_at);
                counter.store(seen.rounds, Ordering::Relaxed);
                wait::pause(ROUND_EVERY.saturating_sub(round_at.elapsed()));
            }
            seen
        });
        Self { stop, rounds, thread: Some(thread) }
    }

    /// Waits until it has asked everybody so many times more.
    #[track_caller]
    pub fn wait_for_rounds(&self, more: usize) {
        let goal = self.rounds.load(Ordering::Relaxed) + more;
        let look = || self.rounds.load(Ordering::Relaxed) >= goal;
        wait::until_true(&format!("the watch has asked {more} times"), Duration::from_secs(60), look);
    }

    /// Ends it.
    ///
    /// # Panics
    /// If it could not ask at all.
    #[track_caller]
    pub fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.take().expect("ended once").join().expect("the watch did not panic");
        assert!(seen.rounds > 0, "the watch asked nobody");
        seen
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    fn round(
        &mut self,
        service: &str,
        hosts: &[Host],
        wanted: &[&str],
        known: &mut BTreeMap<String, SystemTime>,
        begun_at: Instant,
    ) {
        let (mut serving, mut still_known) = (0, BTreeMap::new());
        // Looked into when everybody was asked: that takes a while, in which others may have been replaced.
        let mut without_answer = Vec::new();
        let (at, mut said) = (begun_at.elapsed().as_millis(), Vec::new());
        for host in hosts {
            let (mut listed, mut missed) = (BTreeSet::new(), true);
            // One that was stopped between the list and its turn was replaced by one that is not in that list.
            while std::mem::take(&mut missed) {
                let Ok(mut running) = host.engine.running(service) else { break };
                running.retain(|container| listed.insert(container.id.clone()));
                for container in running {
                    let asked_at = SystemTime::now();
                    let answer = host.version(&container);
                    let word = answer.as_ref().map_or_else(ToString::to_string, |body| version_of(body));
                    said.push(format!("{}: {word}", container.label("instance")));
                    match answer {
                        Ok(body) => {
                            let version = version_of(&body);
                            self.answers += 1;
                            if wanted.contains(&version.as_str()) {
                                serving += 1;
                                still_known.insert(container.id.clone(), asked_at);
                            }
                            self.versions
                                .entry(container.label("release").to_owned())
                                .or_default()
                                .insert(version);
                        }
                        // One that did not answer in the round before is starting, or was started again.
                        Err(error) => {
                            if let Some(answered_at) = known.get(&container.id) {
                                missed = true;
                                let at = begun_at.elapsed();
                                without_answer.push((host, container, at, error, *answered_at));
                            }
                        }
                    }
                }
            }
        }
        for (host, container, at, error, answered_at) in without_answer {
            if !is_ending(host, &container.id, answered_at) {
                self.silent.push(format!(
                    "after {} ms: {} on {} ({}): {error:#}",
                    at.as_millis(),
                    container.label("instance"),
                    host.name,
                    container.label("release"),
                ));
                still_known.insert(container.id, answered_at);
            }
        }
        *known = still_known;
        self.rounds += 1;
        if serving < self.fewest {
            self.fewest = serving;
            self.low = format!(
                "after {at} ms, which took {} ms: {}",
                begun_at.elapsed().as_millis() - at,
                said.join("; ")
            );
        }
    }

    /// Insists that at least `minimum` answered in every round, that none fell silent, and that every release said
    /// the version that belongs to it.
    #[track_caller]
    pub fn expect_served(&self, minimum: usize, versions: &[(&str, &str)]) {
        assert!(
            self.fewest >= minimum,
            "only {} answered at one time, not {minimum}: {self:#?}",
            self.fewest
        );
        assert!(self.silent.is_empty(), "instances that ran did not answer: {self:#?}");
        for (release, said) in &self.versions {
            let expected = versions.iter().find(|(name, _)| name == release).map(|(_, version)| *version);
            let only = said.len() == 1 && said.first().map(String::as_str) == expected;
            assert!(only, "{release} said {said:?}, expected {expected:?}");
        }
    }
}

/// The version in the sample's answer.
pub fn version_of(body: &str) -> String {
    let answer: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    answer["version"].as_str().unwrap_or(body).to_owned()
}

/// Whether a container that refuses newcomers was told to stop or has ended since its last answer. Its engine may say so a
/// moment later.
fn is_ending(host: &Host, id: &str, answered_at: SystemTime) -> bool {
    let since = answered_at - LAST_ANSWER;
    let asked_at = Instant::now();
    loop {
        let looked_at = Instant::now();
        let runs = host.engine.inspect(id).is_ok_and(|container| container["State"]["Running"] == true);
        if !runs || host.engine.was_signalled(id, since).unwrap_or_default() {
            return true;
        }
        if looked_at.duration_since(asked_at) >= ENDING {
            return false;
        }
        wait::pause(ROUND_EVERY);
    }
}
