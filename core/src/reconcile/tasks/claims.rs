//! The name of a hook's container, and what hooks take of the host.

use crate::capacity::{GpuTaken, Need};
use crate::id::ServiceId;
use crate::plan::Task;
use crate::reconcile::container::Container;
use crate::reconcile::memory::Memory;

/// The fifth part of the name of a hook's container; that of an instance has a number there.
pub(super) const MARK: &str = "hook";

/// Returns whether `instance` is the name of a hook's container: `production.web.0.r7.hook.ROLLOUT.before-1`.
pub fn is_task(instance: &str) -> bool {
    instance.split('.').nth(4) == Some(MARK)
}

/// Returns whether a container is that of a hook of a service. Only the engine's own name of it counts, which it gives once.
pub(super) fn is_of(seen: &Container, service: &ServiceId, task: &Task) -> bool {
    let begins = format!("{}.{}.", service.environment, service.name);
    let ends = format!(".{MARK}.{}.{}", task.rollout, task.hook);
    is_task(&seen.instance)
        && seen.instance.starts_with(&begins)
        && seen.instance.ends_with(&ends)
        && seen.name.ends_with(&seen.instance)
}

/// The need of hooks that are not over.
pub(in crate::reconcile) fn of_tasks(memory: &Memory) -> Vec<Need> {
    let taken = memory.tasks.values().filter(|known| known.end.is_none());
    taken.map(|known| claim(known.memory, &known.gpus)).collect()
}

/// The need of a hook with this memory and these devices.
pub(super) fn claim(memory: u64, gpus: &[String]) -> Need {
    Need { memory, gpus: gpus.iter().map(|uuid| (uuid.clone(), GpuTaken::Exclusively)).collect() }
}
