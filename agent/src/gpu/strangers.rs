//! Memory of each GPU that is held by processes outside of our containers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::host::{GpuProcess, GpuStats};
use windlass_core::reconcile::{Container, GpuClaim};

use super::Seen;

/// Held memory is rounded up to this, so that it changes rarely.
const STEP: u64 = 256 << 20;
/// Less than this is the driver's own, or a desktop's.
const NOTHING: u64 = 64 << 20;
/// So long after an instance has ended its memory may not be free yet, or still be counted.
const SETTLES: Duration = Duration::from_secs(3);

/// Bytes by UUID.
pub type Held = BTreeMap<String, u64>;

/// Bytes that a container uses of its GPUs, and bytes that it may use, by the engine's id; nothing of one of which that is not known.
pub type Use = BTreeMap<String, (u64, u64)>;

/// The newest findings.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    held: Held,
    used: Use,
    looked: Option<Instant>,
    /// When an instance that had a GPU was last seen to have ended.
    freed: Option<Instant>,
}

/// The owner of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// It has ended, or is out of sight.
    Nobody,
    Ours,
    Stranger,
}

impl Strangers {
    /// An instance that had a GPU has ended.
    pub(crate) fn freed(&mut self) {
        self.freed = Some(Instant::now());
    }

    /// Takes in what is seen of the GPUs; answers whether anything has changed.
    pub(crate) fn look<'a>(
        &mut self,
        seen: &Seen,
        ours: impl Iterator<Item = &'a Container> + Clone,
    ) -> bool {
        let Some(at) = seen.at.filter(|at| self.looked != Some(*at)) else { return false };
        // A measurement may still count a process that has just ended.
        if self.freed.is_some_and(|freed| at < freed + SETTLES) {
            return false;
        }
        self.looked = Some(at);
        let up = ours.filter(|seen| seen.state.is_up());
        let ids: BTreeSet<&str> = up.clone().map(|seen| seen.id.as_str()).collect();
        let mut held = Held::new();
        for stats in &seen.stats {
            let claims = up.clone().flat_map(|seen| &seen.gpus).filter(|gpu| gpu.uuid == stats.uuid);
            let declared = claims.map(|claim| claim.memory.unwrap_or(u64::MAX)).fold(0, u64::saturating_add);
            let found = strangers(stats, declared, |pid| owner(&group(pid), &ids));
            let before = self.held.get(&stats.uuid).copied().unwrap_or(0);
            // It goes up at once, and down only if it is worth it.
            let kept = if found > before || found + 2 * STEP <= before { found } else { before };
            if kept > 0 {
                held.insert(stats.uuid.clone(), kept);
            }
        }
        let used = |one: &Container| used(&one.gpus, seen, |pid| group(pid).contains(&one.id));
        self.used = up.filter_map(|one| Some((one.id.clone(), used(one)?))).collect();
        let changed = held != self.held;
        self.held = held;
        changed
    }

    /// The use of our containers.
    pub(crate) const fn used(&self) -> &Use {
        &self.used
    }

    /// Memory that they hold.
    pub(crate) const fn held(&self) -> &Held {
        &self.held
    }
}

/// The memory that strangers hold. What nobody accounts for is ours up to what our instances have declared: where the driver
/// does not tell whose it is, an instance may have it.
fn strangers(stats: &GpuStats, declared: u64, owner: impl Fn(u32) -> Owner) -> u64 {
    let sum = |which: Owner| {
        let mine = stats.processes.iter().filter(|process| owner(process.pid) == which);
        let memory = |process: &GpuProcess| process.memory.unwrap_or(0);
        mine.map(memory).fold(0, u64::saturating_add)
    };
    let (ours, theirs, nobody) = (sum(Owner::Ours), sum(Owner::Stranger), sum(Owner::Nobody));
    let rest = stats.memory_used.saturating_sub(ours.saturating_add(theirs).saturating_add(nobody));
    let held = theirs.saturating_add(rest.saturating_sub(declared.saturating_sub(ours)));
    if held < NOTHING { 0 } else { held.div_ceil(STEP).saturating_mul(STEP) }
}

/// The use that a container makes of its GPUs, and may make. Of a GPU that it has alone all that is used counts; of one that is shared, what
/// its own processes hold, where the driver tells of all memory whose it is.
fn used(claims: &[GpuClaim], seen: &Seen, is_mine: impl Fn(u32) -> bool) -> Option<(u64, u64)> {
    let (mut used, mut limit) = (0_u64, 0_u64);
    for claim in claims {
        let stats = seen.stats.iter().find(|stats| stats.uuid == claim.uuid)?;
        let share = match claim.memory {
            None => stats.memory_used,
            Some(_) => {
                let all: u64 = stats.processes.iter().map(|process| process.memory).sum::<Option<u64>>()?;
                if stats.memory_used > all.saturating_add(NOTHING) {
                    return None;
                }
                let mine = stats.processes.iter().filter(|process| is_mine(process.pid));
                mine.filter_map(|process| process.memory).sum()
            }
        };
        used = used.saturating_add(share);
        limit = limit.saturating_add(claim.memory.unwrap_or(stats.memory_total));
    }
    (limit > 0).then_some((used, limit))
}

/// The control groups of a process; empty if it has ended.
fn group(pid: u32) -> String {
    let mut text = String::new();
    let read =
        File::open(format!("/proc/{pid}/cgroup")).map(|file| file.take(16 << 10).read_to_string(&mut text));
    drop(read);
    text
}

/// The name of a container's group is, or ends with, the engine's id of it.
fn owner(group: &str, ours: &BTreeSet<&str>) -> Owner {
    if group.is_empty() {
        Owner::Nobody
    } else if ours.iter().any(|id| group.contains(id)) {
        Owner::Ours
    } else {
        Owner::Stranger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn memory_that_nobody_accounts_for_is_a_strangers() {
        let known = |pid: u32| match pid {
            1 => Owner::Ours,
            2 => Owner::Stranger,
            _ => Owner::Nobody,
        };
        let process = |pid, gib: Option<u64>| GpuProcess { pid, memory: gib.map(|gib| gib * GIB) };
        #[rustfmt::skip]
        let table = [
            ("idle",                               0,  vec![], 0, 0),
            ("ours has what it declared",          6,  vec![process(1, Some(6))], 6, 0),
            ("a stranger beside it",               23, vec![process(1, Some(6)), process(2, Some(17))], 6, 17),
            ("a stranger that nobody sees",        23, vec![process(1, Some(6))], 6, 17),
            ("the driver does not say whose",      6,  vec![process(1, None)], 6, 0),
            ("nor what a stranger has",            9,  vec![process(1, None), process(2, None)], 6, 3),
            ("ours has it alone",                  20, vec![], u64::MAX / GIB, 0),
            ("one that has ended holds nothing",   6,  vec![process(3, Some(6))], 0, 0),
        ];
        for (case, used, processes, declared, want) in table {
            let stats = GpuStats { memory_used: used * GIB, processes, ..GpuStats::default() };
            assert_eq!(strangers(&stats, declared * GIB, known) / GIB, want, "{case}");
        }
        let little = GpuStats { memory_used: 63 << 20, ..GpuStats::default() };
        let some = GpuStats { memory_used: 65 << 20, ..GpuStats::default() };
        assert_eq!((strangers(&little, 0, known), strangers(&some, 0, known)), (0, STEP));
    }

    #[test]
    fn a_share_uses_what_its_processes_hold_if_that_is_known() {
        let process = |pid, gib: Option<u64>| GpuProcess { pid, memory: gib.map(|gib| gib * GIB) };
        let (alone, share) = (None, Some(8));
        let ours = [process(1, Some(5)), process(2, Some(3))];
        #[rustfmt::skip]
        let table = [
            ("all of one that it has alone",      alone, 24, 9, &ours[..], Some((9, 24))),
            ("nobody tells how much there is",    alone, 0,  0, &[],       None),
            ("its own part of a shared one",      share, 24, 8, &ours[..], Some((5, 8))),
            ("nothing of it yet",                 share, 24, 3, &ours[1..], Some((0, 8))),
            ("memory of nobody",                  share, 24, 9, &ours[..], None),
            ("the driver does not tell whose",    share, 24, 8, &[process(1, None)], None),
        ];
        for (case, declared, total, used, processes, want) in table {
            let (memory_total, memory_used) = (total * GIB, used * GIB);
            let (uuid, processes) = ("a".to_owned(), processes.to_vec());
            let stats =
                GpuStats { uuid: uuid.clone(), memory_total, memory_used, processes, ..GpuStats::default() };
            let seen = Seen { stats: vec![stats], ..Seen::default() };
            let claim = GpuClaim { uuid, memory: declared.map(|gib: u64| gib * GIB) };
            let got = super::used(&[claim], &seen, |pid| pid == 1);
            assert_eq!(got.map(|(used, limit)| (used / GIB, limit / GIB)), want, "{case}");
        }
        assert_eq!(super::used(&[], &Seen::default(), |_| true), None);
    }

    #[test]
    fn a_process_is_ours_if_its_group_is_one_of_our_containers() {
        let id = "b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d2611184";
        let ours = BTreeSet::from([id]);
        for (group, want) in [
            (format!("0::/system.slice/docker-{id}.scope\n"), Owner::Ours),
            (format!("12:memory:/docker/{id}\n"), Owner::Ours),
            ("0::/user.slice/user-1000.slice\n".to_owned(), Owner::Stranger),
            (String::new(), Owner::Nobody),
        ] {
            assert_eq!(owner(&group, &ours), want, "{group}");
        }
        assert_eq!(owner(&group(std::process::id()), &ours), Owner::Stranger);
        assert_eq!(group(u32::MAX), "");
    }
}
