//! The containers that are ours. Labels only say where to look: anybody can write them, and a copy of a container has
//! them all. The journal knows each container by the engine's id; one that it does not know is taken for ours only
//! where it cannot know it (it is new, older than what runs here, or was cut off between a request and its answer), and
//! then only if the container is in everything as its release says. All others are strangers, which nobody touches or
//! counts.

use std::collections::BTreeSet;

use crate::condition::{Condition, ConditionCode};
use crate::id::SlotId;

use super::container::{Container, Likeness};
use super::ended::Outcome;
use super::input::{Desired, Observed};
use super::memory::{self, InstanceMemory, Memory};
use super::tasks;

/// The owner of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ownership {
    /// The journal has its id.
    Ours,
    /// It is what would be made, where the journal cannot know it.
    Alike,
    /// Nothing can be said of it yet: its release is not here.
    Unproven,
    /// Nothing can be said of it now: its slot rests until it has been looked at.
    Unseen,
    /// None of ours.
    Stranger,
}

/// Those of the observed containers that are ours, and the conditions that the others are. Remembers whom it takes in.
pub(super) fn ours(
    desired: &Desired,
    observed: &Observed,
    memory: &mut Memory,
) -> (Observed, Vec<Condition>) {
    for outcome in &observed.outcomes {
        if let Outcome::Launched { slot, instance, container } = outcome {
            memory.instance(slot, instance).container = Some(container.clone());
        }
    }
    let of_slots = observed.containers.iter().filter(|seen| !tasks::is_task(&seen.instance));
    let standings = of_slots.map(|seen| (seen, standing(desired, observed, memory, seen)));
    let mut all: Vec<(&Container, Ownership)> = standings.collect();
    // The oldest that is alike is the one that was made; a copy is younger.
    all.sort_by(|(one, _), (other, _)| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
    let (mut kept, mut unseen) = (BTreeSet::new(), BTreeSet::new());
    let mut conditions = Vec::new();
    for (seen, standing) in all {
        // Whether it is ours is found out when its release is here: this look does not settle it.
        let waits = matches!(standing, Ownership::Unproven | Ownership::Unseen);
        if waits && memory.of(seen).is_none() {
            memory.volatile.unproven.insert(seen.id.clone());
        } else {
            memory.volatile.unproven.remove(&seen.id);
        }
        let stays = match standing {
            Ownership::Ours | Ownership::Unproven => true,
            Ownership::Unseen => {
                unseen.insert(seen.slot.clone());
                true
            }
            Ownership::Alike => take_in(memory, seen),
            Ownership::Stranger => false,
        };
        if stays {
            kept.insert(seen.id.as_str());
        } else {
            conditions.push(stranger(seen));
        }
    }
    memory.volatile.unproven.retain(|id| observed.containers.iter().any(|seen| &seen.id == id));
    memory.adopting = false;
    memory.volatile.looked = true;
    let containers = observed.containers.iter().filter(|seen| kept.contains(seen.id.as_str()));
    let mut ours = Observed { containers: containers.cloned().collect(), ..without_containers(observed) };
    ours.busy.extend(unseen);
    (ours, conditions)
}

fn without_containers(observed: &Observed) -> Observed {
    Observed {
        containers: Vec::new(),
        images: observed.images.clone(),
        pulls: observed.pulls.clone(),
        checks: observed.checks.clone(),
        collecting: observed.collecting,
        busy: observed.busy.clone(),
        busy_tasks: observed.busy_tasks.clone(),
        outcomes: observed.outcomes.clone(),
        networks: observed.networks.clone(),
        subnets: observed.subnets.clone(),
        capacity: observed.capacity.clone(),
        gpu_errors: observed.gpu_errors.clone(),
        ..*observed
    }
}

fn standing(desired: &Desired, observed: &Observed, memory: &Memory, seen: &Container) -> Ownership {
    let known = memory.slots.get(&seen.slot);
    let entry = known.and_then(|known| known.instances.get(&seen.instance));
    if let Some(id) = entry.and_then(|entry| entry.container.as_ref()) {
        return if *id == seen.id { Ownership::Ours } else { Ownership::Stranger };
    }
    // Made after the copy of the journal that is in use: the first look finds it, or nobody made it.
    let is_later = !memory.volatile.looked
        && observed.from_journal.is_none_or(|plan| seen.plan >= Some(plan))
        && memory::serial(&seen.instance) > known.map_or(0, |known| known.serial);
    let waits = memory.volatile.unproven.contains(&seen.id);
    if entry.is_none() && !memory.adopting && !is_later && !waits {
        return Ownership::Stranger;
    }
    if entry.is_some() && observed.busy.contains(&seen.slot) {
        return Ownership::Unproven; // it is being made: its id comes with the answer
    }
    match (desired.releases.contains_key(&seen.release), seen.likeness) {
        (false, _) => Ownership::Unproven,
        (true, Likeness::Unknown) => Ownership::Unseen,
        (true, Likeness::Other) => Ownership::Stranger,
        (true, Likeness::Same) if entry.is_none() && is_doubled(observed, memory, seen) => {
            Ownership::Stranger
        }
        (true, Likeness::Same) => Ownership::Alike,
    }
}

/// Returns whether another container that the journal knows runs in its place.
fn is_doubled(observed: &Observed, memory: &Memory, seen: &Container) -> bool {
    observed.containers.iter().any(|other| {
        let same = other.slot == seen.slot && other.release == seen.release;
        let known = memory.of(other).and_then(|known| known.container.as_ref());
        same && other.generation == seen.generation && other.state.is_up() && known == Some(&other.id)
    })
}

/// Remembers its id; false if another one has its name since.
fn take_in(memory: &mut Memory, seen: &Container) -> bool {
    let new = || InstanceMemory { stopped: !seen.state.is_up(), ..InstanceMemory::default() };
    let entry = memory.slot(&seen.slot).instances.entry(seen.instance.clone()).or_insert_with(new);
    entry.container.get_or_insert_with(|| seen.id.clone()) == &seen.id
}

fn stranger(seen: &Container) -> Condition {
    let short = seen.id.get(..12).unwrap_or(&seen.id);
    let message = format!(
        "container {short} (`{}`) has the labels of `{}` and was not made by this host's agent: it is left alone; remove \
         it, or make it without labels that begin with `windlass.`",
        seen.name, seen.instance
    );
    let slot: SlotId = seen.slot.clone();
    Condition::new(ConditionCode::StrangeContainer, Some(slot), message)
}
