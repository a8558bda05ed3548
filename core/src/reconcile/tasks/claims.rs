//! The name of a hook's container, and what hooks take of the host.

use crate::capacity::{GpuTaken, Need};
use crate::reconcile::memory::Memory;

/// The fifth part of the name of a hook's container; that of an instance has a number there.
pub(super) const MARK: &str = "hook";

/// Returns whether `instance` is the name of a hook's container: `production.web.0.r7.hook.ROLLOUT.before-1`.
pub fn is_task(instance: &str) -> bool {
    instance.split('.').nth(4) == Some(MARK)
}

/// What hooks that are not over take of the host.
pub(in crate::reconcile) fn of_tasks(memory: &Memory) -> Vec<Need> {
    let taken = memory.tasks.values().filter(|known| known.end.is_none());
    taken.map(|known| claim(known.memory, &known.gpus)).collect()
}

/// What a hook with this memory and these devices takes.
pub(super) fn claim(memory: u64, gpus: &[String]) -> Need {
    Need { memory, gpus: gpus.iter().map(|uuid| (uuid.clone(), GpuTaken::Exclusively)).collect() }
}
