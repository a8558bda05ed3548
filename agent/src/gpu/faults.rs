//! Errors of GPUs, counted for the containers that held them when they came.

use std::collections::BTreeMap;

use tokio::time::Instant;
use windlass_core::Timestamp;
use windlass_core::host::GpuStats;
use windlass_core::observation::{GpuError, GpuErrors};
use windlass_core::reconcile::Container;

use super::Seen;

/// Counts by the engine's id of the container.
pub(crate) type Counted = BTreeMap<String, GpuErrors>;

/// The state that is kept from look to look.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    looked: Option<Instant>,
    /// The counters of each GPU: errors of its driver, and memory errors that were not corrected.
    known: BTreeMap<String, (u64, u64)>,
    /// GPUs that were lost at the last look.
    lost: Vec<String>,
    counted: Counted,
}

impl Faults {
    /// Takes in what is seen of the GPUs. `ours` are our containers.
    pub(crate) fn look<'a>(
        &mut self,
        seen: &Seen,
        ours: impl Iterator<Item = &'a Container> + Clone,
        now: Timestamp,
    ) {
        let Some(at) = seen.at.filter(|at| self.looked != Some(*at)) else { return };
        let is_first = self.looked.is_none();
        self.looked = Some(at);
        let is_there = |uuid: &String| {
            seen.stats.iter().any(|stats| &stats.uuid == uuid)
                || seen.lost.iter().any(|lost| &lost.uuid == uuid)
        };
        self.known.retain(|uuid, _| is_there(uuid));
        let mut new: Vec<(&str, u64, String)> = Vec::new();
        for stats in &seen.stats {
            let (more, words) = self.more(stats, is_first);
            if more > 0 {
                new.push((&stats.uuid, more, words));
            }
        }
        for lost in &seen.lost {
            if !is_first && !self.lost.contains(&lost.uuid) {
                new.push((&lost.uuid, 1, format!("is lost: {}", lost.why)));
            }
        }
        self.lost = seen.lost.iter().map(|lost| lost.uuid.clone()).collect();
        let with_gpus = ours.filter(|seen| seen.state.is_up() && !seen.gpus.is_empty());
        let mut counted = Counted::new();
        for container in with_gpus {
            let can_be_told = |uuid: &str| {
                seen.stats.iter().any(|stats| stats.uuid == uuid)
                    || seen.lost.iter().any(|lost| lost.uuid == uuid)
            };
            let before = self.counted.remove(&container.id);
            if before.is_none() && !container.gpus.iter().all(|gpu| can_be_told(&gpu.uuid)) {
                continue;
            }
            let mut errors = before.unwrap_or_default();
            for (uuid, more, words) in &new {
                if container.gpus.iter().any(|gpu| gpu.uuid == *uuid) {
                    errors.count = errors.count.saturating_add(u32::try_from(*more).unwrap_or(u32::MAX));
                    let (gpu, what) = ((*uuid).to_owned(), words.clone());
                    errors.last = Some(GpuError { gpu, what, at: now });
                }
            }
            counted.insert(container.id.clone(), errors);
        }
        self.counted = counted;
    }

    /// The counts.
    pub(crate) const fn counted(&self) -> &Counted {
        &self.counted
    }

    /// New errors of a GPU, and the words for them. What there was of uncorrected memory before the first look is old, and a
    /// counter that went down has begun anew.
    fn more(&mut self, stats: &GpuStats, is_first: bool) -> (u64, String) {
        let now = (stats.xid_count, stats.ecc_uncorrected);
        let before = self.known.insert(stats.uuid.clone(), now);
        // An error that came with the loss of its GPU was counted as that.
        let is_old = is_first || self.lost.contains(&stats.uuid);
        let before = before.filter(|_| !is_old).unwrap_or(if is_old { now } else { (0, now.1) });
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let (xids, memory) = (since(now.0, before.0), since(now.1, before.1));
        let words = match (xids, memory) {
            (0, _) => format!("has {memory} memory errors that were not corrected"),
            (1, 0) => format!("XID {}", stats.xid),
            _ => format!("XID {}, the last of {}", stats.xid, xids.saturating_add(memory)),
        };
        (xids.saturating_add(memory), words)
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::host::GpuLost;
    use windlass_core::reconcile::{ContainerState, GpuClaim};

    use super::*;
    use crate::fixture::container;

    fn holding(id: &str, uuid: &str) -> Container {
        let gpus = vec![GpuClaim { uuid: uuid.to_owned(), memory: None }];
        let state = ContainerState::Running { started_at: Timestamp::ZERO };
        Container { id: id.to_owned(), gpus, state, ..container() }
    }

    fn seen(stats: &[(&str, u64, u64)], lost: &[&str]) -> Seen {
        let stats = stats.iter().map(|(uuid, xid_count, ecc_uncorrected)| GpuStats {
            uuid: (*uuid).to_owned(),
            xid_count: *xid_count,
            xid: 79,
            ecc_uncorrected: *ecc_uncorrected,
            ..GpuStats::default()
        });
        let lost = lost.iter().map(|uuid| GpuLost {
            uuid: (*uuid).to_owned(),
            name: "L4".to_owned(),
            since: Timestamp::ZERO,
            why: "it has fallen off the bus".to_owned(),
            ..GpuLost::default()
        });
        Seen { stats: stats.collect(), lost: lost.collect(), at: Some(Instant::now()), ..Seen::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn errors_count_for_whoever_holds_the_gpu_when_they_come() {
        let (one, two) = (holding("one", "a"), holding("two", "b"));
        let mut faults = Faults::default();
        let mut look = |seen: Option<Seen>, ours: &[&Container]| {
            faults.look(&seen.unwrap_or_default(), ours.iter().copied(), Timestamp::ZERO);
            let counted = faults.counted().iter();
            counted.map(|(id, errors)| (id.clone(), errors.count)).collect::<Vec<_>>()
        };
        let told = |all: &[(&str, u32)]| -> Vec<(String, u32)> {
            all.iter().map(|(id, count)| ((*id).to_owned(), *count)).collect()
        };
        let step = || tokio::time::advance(std::time::Duration::from_secs(5));
        let well = [("a", 3, 1), ("b", 0, 0)];
        assert_eq!(look(None, &[&one, &two]), told(&[]), "nobody has looked");
        assert_eq!(look(Some(seen(&well, &[])), &[&one]), told(&[("one", 0)]), "what was before is not its");
        step().await;
        let worse = [("a", 5, 2), ("b", 0, 0)];
        assert_eq!(look(Some(seen(&worse, &[])), &[&one, &two]), told(&[("one", 3), ("two", 0)]));
        let same = Seen { at: None, ..seen(&worse, &[]) };
        assert_eq!(look(Some(same), &[&one, &two]), told(&[("one", 3), ("two", 0)]), "each look counts once");
        step().await;
        // The other one falls off the bus, and is told as lost again and again.
        for _ in 0..2 {
            let lost = seen(&[("a", 5, 2)], &["b"]);
            assert_eq!(look(Some(lost), &[&one, &two]), told(&[("one", 3), ("two", 1)]));
            step().await;
        }
        // It is back with the error that came with its loss.
        let back = seen(&[("a", 5, 2), ("b", 1, 0)], &[]);
        assert_eq!(look(Some(back), &[&one, &two]), told(&[("one", 3), ("two", 1)]));
        step().await;
        // An instance that comes later has not seen what was before it; its driver counts anew.
        let three = holding("three", "a");
        assert_eq!(look(Some(seen(&[("a", 1, 0)], &[])), &[&three]), told(&[("three", 1)]));
        let stranger = holding("four", "nobody");
        step().await;
        assert_eq!(look(Some(seen(&[("a", 1, 0)], &[])), &[&stranger]), told(&[]), "nobody can tell");
        assert_eq!(faults.known.keys().collect::<Vec<_>>(), ["a"], "one that has gone is forgotten");
    }
}
