//! The check that the instance and the image that a slot would go back to are still there. A person who tidies up an
//! engine sees only a container that stands still and an image that none runs of.

use crate::condition::{Condition, ConditionCode};
use crate::plan::{Phase, PlanSlot};

use super::super::Turn;
use super::super::container::Container;
use super::super::room;
use super::launch;

/// Tells what is missing. The image is pulled again, as long as the registry answers; a new instance is made of it when it
/// is needed.
pub(super) fn look(turn: &mut Turn<'_>, want: &PlanSlot, seen: &[&Container]) {
    let armed = want.fallback.filter(|fallback| !want.good && *fallback != want.release);
    let Some((digest, release)) =
        armed.and_then(|digest| Some((digest, turn.desired.releases.get(&digest)?.clone())))
    else {
        return;
    };
    let (image, counter) = (&release.release.spec.image, release.release.counter);
    let mut tell = |code, message: String| {
        turn.conditions.push(Condition::new(code, Some(want.slot.clone()), message));
    };
    let is_gone = turn.observed.image(image).is_none();
    // An image that never was here has not gone.
    let was_here = turn.memory.pulled.contains_key(&image.digest);
    let rests = want
        .previous
        .as_ref()
        .is_some_and(|previous| previous.release == digest && previous.phase == Phase::Standby);
    let serves = seen.iter().any(|seen| seen.release == want.release && seen.state.is_up());
    if rests && serves && seen.iter().all(|seen| seen.release != digest) {
        tell(
            ConditionCode::StandbyMissing,
            format!("the instance of {counter} that this slot would go back to has gone"),
        );
    }
    if !(is_gone && was_here) {
        return;
    }
    tell(
        ConditionCode::FallbackImageMissing,
        format!(
            "the image of {counter}, which this slot would go back to, has gone: `{}` is pulled again",
            image.pinned()
        ),
    );
    let fits = room::disk_fits(&turn.observed.capacity, image.size.saturating_mul(2)).is_ok();
    if fits && !turn.observed.pulls.contains_key(&image.digest) {
        let seq = turn.desired.plan.as_ref().map_or(0, |plan| plan.seq);
        launch::pull(turn, image, seq);
    }
}
