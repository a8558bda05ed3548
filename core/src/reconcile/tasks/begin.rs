//! The beginning of a hook: whether it may run here, on which devices, and what its container is made of.

use std::collections::{BTreeMap, BTreeSet};

use crate::capacity::{GpuTaken, device_fits};
use crate::host::Gpu;
use crate::observation::{Refusal, RefusalCode, TaskEnd, TaskOutcome, TaskState};
use crate::plan::{PlanSlot, Task};

use super::super::Turn;
use super::super::container::GpuClaim;
use super::super::input::VerifiedRelease;
use super::super::memory::tasks::TaskMemory;
use super::super::networks;
use super::super::room;
use super::super::step::{Launch, LaunchHook, Step};
use super::claims::{MARK, claim};
use super::push::push;

/// Begins a hook, or says why it does not run here.
pub(super) fn begin(turn: &mut Turn<'_>, want: &PlanSlot, task: &Task) -> TaskState {
    match launch(turn, want, task) {
        Ok(Some(launch)) => {
            let known = TaskMemory {
                slot: want.slot.clone(),
                release: want.release,
                instance: launch.instance.clone(),
                begun_at: turn.now,
                container: None,
                memory: launch.release.release.spec.resources.memory.bytes(),
                gpus: launch.gpus.iter().map(|gpu| gpu.uuid.clone()).collect(),
                started_at: None,
                stopped: None,
                log: None,
                end: None,
            };
            turn.task_claims.push(claim(known.memory, &known.gpus));
            turn.memory.tasks.insert(task.to_string(), known);
            push(turn, &task.to_string(), Step::Launch(Box::new(launch)));
            TaskState::Starting
        }
        Ok(None) => TaskState::Starting,
        Err(refusal) => TaskState::Ended(Box::new(TaskEnd::without_run(TaskOutcome::Refused(refusal)))),
    }
}

/// The container of a hook; none while its image is on its way.
fn launch(turn: &mut Turn<'_>, want: &PlanSlot, task: &Task) -> Result<Option<Launch>, Refusal> {
    if let Some(refusal) = turn.desired.refusals.get(&want.slot) {
        return Err(refusal.clone());
    }
    let desired = turn.desired;
    let Some(release) = desired.releases.get(&want.release) else {
        return Err(Refusal::new(RefusalCode::UnsignedRelease, "the release is not here"));
    };
    let spec = &release.release.spec;
    let Some(hook) = spec.hooks.named(&task.hook) else {
        let detail = format!("release {} has no hook `{}`", release.release.counter, task.hook);
        return Err(Refusal::new(RefusalCode::UnsignedRelease, detail));
    };
    let Some(image) = turn.observed.image(&spec.image) else { return Ok(None) };
    let gpus = devices(turn, hook.gpus.unwrap_or(0))?;
    room(turn, release, &gpus)?;
    let service = &want.slot.service;
    let counter = release.release.counter;
    let instance = format!(
        "{}.{}.{}.{counter}.{MARK}.{}.{}",
        service.environment, service.name, want.slot.index, task.rollout, task.hook
    );
    let network = networks::of_launch(turn, &want.slot, &instance, release)?;
    Ok(Some(Launch {
        plan: turn.plan_number(),
        slot: want.slot.clone(),
        instance,
        release: release.clone(),
        generation: 0,
        image: image.id.clone(),
        side: 0,
        ports: BTreeMap::new(),
        gpus,
        network,
        hook: Some(LaunchHook { name: task.hook.clone(), run: hook.run.clone() }),
    }))
}

/// Devices that nothing holds, and that no slot is about to hold by the plan: those that are well first, and of these those that
/// nothing is planned on.
fn devices(turn: &Turn<'_>, count: u32) -> Result<Vec<GpuClaim>, Refusal> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let capacity = &turn.observed.capacity;
    if let Some(why) = capacity.gpu_access.refusal() {
        return Err(no_room(&room::Shortage::NoGpuAccess(why.to_owned())));
    }
    if let Some(why) = &capacity.gpus_silent {
        return Err(no_room(&room::Shortage::GpusSilent(why.clone())));
    }
    let of = |want: &'_ &PlanSlot| want.gpus.clone();
    let planned: BTreeSet<String> = turn.wanted.values().flat_map(of).collect();
    let soon = turn.wanted.values().filter(|want| is_about_to_start(turn, want)).flat_map(of);
    let held = turn.claims.values().chain(&turn.task_claims).flat_map(|need| need.gpus.keys().cloned());
    let taken: BTreeSet<String> = soon.chain(held).collect();
    let reserve = turn.desired.local.policy.gpu_reserve.bytes();
    // Processes that are in no container of ours may hold one as well.
    let usable =
        |gpu: &Gpu| gpu.health.is_given() && device_fits(gpu, None, GpuTaken::Exclusively, reserve).is_ok();
    let free = capacity.gpus.iter().filter(|(uuid, gpu)| !taken.contains(*uuid) && usable(gpu));
    let mut free: Vec<(&String, &Gpu)> = free.collect();
    free.sort_by_key(|(uuid, gpu)| (gpu.health, planned.contains(*uuid)));
    if free.len() < count as usize {
        let (here, free) = (capacity.gpus.len(), free.len());
        let detail = format!("gpu: no free GPU for the hook: {count} needed, {free} of {here} are free");
        return Err(Refusal::new(RefusalCode::NoRoom, detail));
    }
    let given = free.into_iter().take(count as usize);
    Ok(given.map(|(uuid, _)| GpuClaim { uuid: uuid.clone(), memory: None }).collect())
}

/// Whether an instance of the slot may start on the devices of its plan at any time: its target, or what that replaces where nothing
/// of it is left here. One that is pulled gets its devices after the hook.
fn is_about_to_start(turn: &Turn<'_>, want: &PlanSlot) -> bool {
    let previous = want.previous.as_ref().filter(|previous| previous.phase.runs());
    let is_here = |release| {
        turn.by_slot.get(&want.slot).is_some_and(|all| all.iter().any(|seen| seen.release == release))
    };
    want.phase.runs() || previous.is_some_and(|previous| !is_here(previous.release))
}

fn room(turn: &Turn<'_>, release: &VerifiedRelease, gpus: &[GpuClaim]) -> Result<(), Refusal> {
    let capacity = &turn.observed.capacity;
    let uuids: Vec<String> = gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
    let wanted = claim(release.release.spec.resources.memory.bytes(), &uuids);
    let others = turn.claims.values().chain(&turn.task_claims);
    room::disk_fits(capacity, 0)
        .and_then(|()| room::fits(capacity, &turn.desired.local.policy, others, &wanted))
        .map_err(|shortage| no_room(&shortage))
}

/// The host's policy does not let it start as things are.
pub(super) fn policy(why: &str) -> TaskOutcome {
    TaskOutcome::Refused(Refusal::new(RefusalCode::Policy, why))
}

fn no_room(shortage: &room::Shortage) -> Refusal {
    Refusal::new(RefusalCode::NoRoom, shortage.to_string())
}
