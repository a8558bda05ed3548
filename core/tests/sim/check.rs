//! Invariants.

use std::collections::BTreeMap;

use windlass_core::host::Liveness;
use windlass_core::plan::Phase;
use windlass_core::release::{Scale, Spec, Strategy};
use windlass_core::rollout::{Advance, Kind, SLOTS_PER_STEP, State};
use windlass_core::{Amount, SlotId};

use super::world::World;

#[derive(Default)]
pub(crate) struct Checks {
    /// So many slots serve at least while a rollout is on its way; nothing is asked before the first.
    floor: usize,
    /// So many may be missing: `max_unavailable`, or what a scenario breaks by itself.
    pub(crate) slack: usize,
    /// Two instances must never run at once.
    pub(crate) exclusive: bool,
    /// Two releases must never run at once.
    pub(crate) one_release: bool,
}

impl Checks {
    pub(crate) fn begin(&mut self, serving: usize, spec: &Spec) {
        let wanted = match spec.scale {
            Scale::Replicas { min, .. } => min as usize,
            Scale::PerHost => usize::MAX,
        };
        self.floor = serving.min(wanted);
    }
}

impl Checks {
    /// A person asked for another count: nothing is asked until the next rollout.
    pub(crate) fn release(&mut self) {
        self.floor = 0;
    }
}

impl World {
    /// The serving slots on hosts that are members.
    pub(crate) fn serving(&self) -> BTreeMap<SlotId, u64> {
        let all = self.hosts.iter().filter(|host| !host.evicted).flat_map(|host| host.serving());
        all.map(|(slot, counter)| (slot, counter.0)).collect()
    }

    pub(crate) fn running(&self) -> usize {
        self.hosts.iter().filter(|host| !host.evicted).map(|host| host.up().count()).sum()
    }

    pub(crate) fn check_second(&self) {
        let (serving, checks) = (self.serving().len(), &self.checks);
        assert!(
            serving + checks.slack >= checks.floor,
            "seed {}: {serving} of {} serve at {}: {:#?}\n{:#?}",
            self.seed,
            checks.floor,
            self.now,
            self.rollout,
            self.slots
        );
        if checks.exclusive {
            let up: Vec<String> = self
                .hosts
                .iter()
                .flat_map(|host| host.up().map(|c| format!("{} on {}", c.instance, host.name)))
                .collect();
            assert!(
                up.len() <= 1,
                "seed {}: {up:?} run at once at {}: {:#?}",
                self.seed,
                self.now,
                self.slots
            );
        }
        if checks.one_release {
            let mut counters: Vec<u64> =
                self.hosts.iter().flat_map(|host| host.up()).map(|c| c.counter.0).collect();
            counters.dedup();
            counters.sort_unstable();
            counters.dedup();
            assert!(counters.len() <= 1, "seed {}: {counters:?} run at once", self.seed);
        }
    }

    /// Checks one decision.
    pub(crate) fn check_step(&self, next: &Advance) {
        assert!(next.touched.len() <= SLOTS_PER_STEP, "a step is small");
        for (slot, after) in &next.slots {
            let before = self.slots.get(slot);
            assert!(before.is_none_or(|before| before.host() == after.host()), "a slot never moves");
            assert!(next.touched.contains(slot) || before == Some(after), "touched says what changed");
        }
        let gone =
            self.slots.keys().find(|slot| !next.slots.contains_key(*slot) && !next.touched.contains(*slot));
        assert_eq!(gone, None, "touched says what went");
        self.check_batch(next);
    }

    /// At most a batch of instances is unproven whenever one more is begun.
    fn check_batch(&self, next: &Advance) {
        let Some(rollout) = next.rollout.as_ref().filter(|r| r.kind == Kind::Deploy) else { return };
        let to = rollout.to.digest;
        let Strategy::Rolling { batch, .. } = self.releases[&to].spec.strategy else { return };
        if rollout.state != State::Advancing || rollout.from.is_some_and(|from| from.digest == to) {
            return;
        }
        let (mut total, mut unproven, mut proven, mut begun) = (0, 0, 0, 0);
        let fleet = self.fleet();
        for (slot, after) in next.slots.iter().filter(|(_, a)| a.release() == to) {
            total += 1;
            let lost = fleet.members.get(after.host()).is_none_or(|m| m.liveness == Liveness::Lost);
            let left_out = lost || rollout.stragglers.contains(after.host());
            if after.run() != Phase::Running || left_out {
                continue;
            }
            // The known state of it: a crash that nobody has reported yet is nobody's fault.
            let report = fleet.members[after.host()].observation.as_deref().and_then(|seen| seen.slot(slot));
            let available =
                report.is_some_and(|seen| seen.instances.iter().any(|i| i.release == to && i.available));
            proven += u32::from(available);
            unproven += u32::from(!available);
            let was = self.slots.get(slot).is_some_and(|b| b.release() == to && b.run() == Phase::Running);
            begun += u32::from(!was);
        }
        let most =
            if proven == 0 && matches!(batch, Amount::Percent(_)) { 1 } else { batch.of_up(total).max(1) };
        assert!(
            begun == 0 || unproven <= most,
            "seed {}: {unproven} unproven, {begun} of them new, {most} allowed",
            self.seed
        );
    }

    /// Every slot serves that release, and nothing else runs.
    pub(crate) fn assert_all_serve(&mut self, counter: u64, count: usize) {
        self.run_for(40);
        let serving: Vec<u64> = self.serving().values().copied().collect();
        assert_eq!(serving, vec![counter; count], "seed {}: {:#?}", self.seed, self.slots);
        assert_eq!(self.running(), count, "seed {}: nothing else runs: {:#?}", self.seed, self.slots);
        assert_eq!(self.slots.len(), count, "seed {}: no slot is lost or left", self.seed);
    }

    /// After the last event, one more decision is empty.
    pub(crate) fn assert_quiet(&mut self) {
        self.run_for(640);
        let before = (self.service.clone(), self.slots.clone(), self.rollout.clone());
        for _ in 0..20 {
            self.second();
            assert!(self.decide().touched.is_empty(), "seed {}", self.seed);
        }
        let after = (self.service.clone(), self.slots.clone(), self.rollout.clone());
        assert_eq!(before, after, "seed {}", self.seed);
    }

    /// The number of starts of a release, anywhere.
    pub(crate) fn starts(&self, counter: u64) -> usize {
        self.hosts.iter().filter_map(|host| host.engine.starts.get(&counter)).sum()
    }

    pub(crate) fn last_good(&self) -> u64 {
        self.service.last_good().unwrap().counter.0
    }
}
