//! Images that nobody needs any more, when the disk fills up.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::plan::PlanSlot;

use super::Turn;
use super::step::Step;

/// Above this share of the disk, in percent, images are removed.
const FULL: u64 = 80;

/// Removes the image that was not used for the longest time, if the disk is full: one at a time, and only
/// what the agent pulled itself. Whatever a container or the plan names (current, previous, fallback) stays.
pub(super) fn images(turn: &mut Turn<'_>) {
    let (memory, images) = (&mut turn.memory, &turn.observed.images);
    let releases = turn.desired.releases.values().map(|release| release.release.spec.image.digest);
    let needed: BTreeSet<_> = releases.collect();
    memory.pulled.retain(|digest, _| images.contains_key(digest) || needed.contains(digest));
    let capacity = &turn.observed.capacity;
    let used = capacity.disk_total.saturating_sub(capacity.disk_free);
    let full = capacity.disk_total > 0 && used / (capacity.disk_total / 100).max(1) >= FULL;
    if !full || turn.observed.collecting || !turn.observed.busy.is_empty() {
        return;
    }
    // Nobody can say which image a release has that is not here.
    let known = |release: &Digest| turn.desired.releases.contains_key(release);
    let named = |want: &PlanSlot| {
        let previous = want.previous.as_ref().map(|previous| previous.release);
        [Some(want.release), want.fallback, previous].into_iter().flatten().all(|release| known(&release))
    };
    if !turn.desired.plan.iter().flat_map(|plan| &plan.slots).all(named) {
        return;
    }
    // An image of a container whose release is not known is protected by the engine.
    let spare = memory.pulled.iter().filter(|(digest, _)| !needed.contains(digest));
    let spare = spare.filter(|(digest, _)| !memory.volatile.collected.contains(digest));
    let oldest = spare.min_by_key(|(digest, image)| (image.used_at, **digest));
    if let Some((digest, image)) = oldest.map(|(digest, image)| (*digest, image.clone())) {
        memory.volatile.collected.insert(digest);
        turn.steps.push(Step::RemoveImage { image: digest, id: image.id });
    }
}
