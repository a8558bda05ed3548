//! The GPUs of a new instance: a plan names those of the slot's target, and every other release goes back to its own.

use std::collections::BTreeMap;

use crate::capacity::{GpuTaken, Need};
use crate::digest::Digest;
use crate::recovery::named;

use super::super::Turn;
use super::super::container::{Container, GpuClaim};
use super::super::disposition::{Disposition, SlotContext};
use super::super::input::VerifiedRelease;
use super::super::room;

/// The devices of a new instance of `release`. A plan names those of its target: any other release gets those that it had here, or
/// the target's where they are gone or somebody else has them.
pub(super) fn of_launch(
    turn: &Turn<'_>,
    context: &SlotContext<'_>,
    release: &VerifiedRelease,
) -> Vec<String> {
    let want = context.want;
    let had = || turn.memory.slots.get(&want.slot).and_then(|known| known.devices.get(&release.digest));
    let others = turn.claims.iter().filter(|(slot, _)| **slot != want.slot).map(|(_, need)| need);
    let are_free = |had: &&Vec<String>| {
        let needs = Need { memory: 0, ..Need::of_release(&release.release.spec, had) };
        let (capacity, policy) = (&turn.observed.capacity, &turn.desired.local.policy);
        room::fits(capacity, policy, others.chain(&turn.task_claims), &needs).is_ok()
    };
    let own = Some(release).filter(|release| release.digest != want.release).and_then(|_| had());
    own.filter(are_free).unwrap_or(&want.gpus).clone()
}

/// Whether an instance of the slot that runs has one of these devices, and they cannot share it.
pub(super) fn is_held(wanted: &Need, dispositions: &[(&Container, Disposition)]) -> bool {
    let up = dispositions.iter().filter(|(seen, _)| seen.state.is_up()).flat_map(|(seen, _)| &seen.gpus);
    let alone = |claim: &GpuClaim| {
        let wanted = wanted.gpus.get(&claim.uuid);
        wanted.is_some_and(|wanted| wanted.and(claim.taken()) == GpuTaken::Exclusively)
    };
    up.into_iter().any(alone)
}

/// Notes the devices of the instances of a slot, and of the new one, as far as they are others than those of its target: for the
/// releases that the plan names.
pub(super) fn note(
    known: &mut BTreeMap<Digest, Vec<String>>,
    context: &SlotContext<'_>,
    release: &Digest,
    gpus: &[String],
) {
    let want = context.want;
    let uuids = |seen: &Container| seen.gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
    known.extend(context.seen.iter().map(|seen| (seen.release, uuids(seen))));
    known.insert(*release, gpus.to_vec());
    let is_named = |of: &Digest| named(want).any(|named| named == *of);
    known.retain(|of, gpus| !gpus.is_empty() && *gpus != want.gpus && is_named(of));
}
