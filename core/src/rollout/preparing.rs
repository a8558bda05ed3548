//! Preparing: every host has the image, and has made the checks of the release, and the hooks that come first have run, before
//! any container is touched.

use crate::observation::SlotObservation;
use crate::plan::Phase;
use crate::release::Stage;
use crate::slot::{Seen, Waiting};

use super::draft::Draft;
use super::ending::{self, Faults};
use super::hooks::{self, Standing};
use super::model::{GoingBack, Progress, Reason, State};

pub(crate) fn step(draft: &mut Draft<'_>) {
    let Some((to, release)) = draft.target() else { return };
    let mut faults = Faults::default();
    let mut progress = Progress::default();
    let (mut missing, mut total, mut lost) = (0_u32, 0_u32, Vec::new());
    let slots = ending::counted(draft, &to.digest);
    if ending::is_vacuous(draft, &release.spec, slots.len()) {
        return;
    }
    // What is here counts in full, so that the bytes of one host never hide those of another.
    let size = release.spec.image.size;
    for slot in slots {
        let facts = draft.facts(&slot);
        let host = facts.host().clone();
        total += 1;
        if facts.intent.run == Phase::Running {
            progress.pulled += 1;
            progress.bytes += size;
            continue;
        }
        match facts.target() {
            Seen::Failed(evidence) => faults.failed(&host, &slot, evidence),
            Seen::Refused(refusal) => faults.refused(&host, &slot, refusal),
            // Available: an older instance of the same release, so its image is there.
            Seen::Available | Seen::Converging(Some(SlotObservation { pulled: true, .. })) => {
                draft.saw_image(&slot);
                progress.pulled += 1;
                progress.bytes += size;
            }
            Seen::Converging(seen) => {
                missing += 1;
                let pull = seen.and_then(|seen| seen.pull).unwrap_or_default();
                progress.bytes += pull.done.min(size);
                // The checks are made beside the pull, which is heard of as long as it goes on.
                let checks = seen.is_some_and(|seen| seen.checking && seen.pull.is_none());
                let pull = Waiting::Pull { host: host.clone(), done: pull.done, total: pull.total };
                draft.wait(if checks { Waiting::Checks(host) } else { pull });
            }
            Seen::Nothing(waiting) => {
                missing += 1;
                if facts.is_out_of_reach() {
                    lost.push(host);
                }
                draft.wait(waiting);
            }
        }
    }
    draft.tell_pulled(progress.pulled, total);
    draft.progress(progress);
    if let Some(reason) = faults.record(draft).or_else(|| hooks::failed(draft, Stage::Before)) {
        ending::go_back(draft, GoingBack::Untouched, reason);
    } else if missing == 0 {
        match hooks::run(draft, Stage::Before) {
            Standing::Done => draft.go(State::Advancing),
            Standing::Waits => {}
            Standing::Blocked => {
                if draft.deadline_passed(&release.spec) {
                    let why = "no host could take the next hook: one is out of reach, or runs a hook that does not stop";
                    ending::go_back(draft, GoingBack::Untouched, Reason::HookFailed(why.to_owned()));
                }
            }
            Standing::Failed(reason) => ending::go_back(draft, GoingBack::Untouched, reason),
        }
    } else if draft.deadline_passed(&release.spec) {
        let everywhere_else = lost.len() == missing as usize && progress.pulled > 0;
        if everywhere_else {
            draft.leave_behind(lost);
        } else {
            let reason = ending::no_progress(draft, to, &release.spec);
            ending::go_back(draft, GoingBack::Untouched, reason);
        }
    }
}
