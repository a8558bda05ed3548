//! Preparing: every host has the image, and has made the checks of the release, and the hooks that come first have run, before
//! any container is touched.

use crate::observation::SlotObservation;
use crate::plan::Phase;
use crate::release::Stage;
use crate::slot::{Seen, Waiting};

use super::ending::{self, Faults};
use super::hooks::{self, HookProgress};
use super::model::{Progress, Reason, RollbackMode, State};
use super::planner::Planner;

pub(crate) fn step(planner: &mut Planner<'_>) {
    let Some((to, release)) = planner.target() else { return };
    let mut faults = Faults::default();
    let mut progress = Progress::default();
    let (mut missing, mut total, mut lost) = (0_u32, 0_u32, Vec::new());
    let slots = ending::counted(planner, &to.digest);
    if ending::is_vacuous(planner, &release.spec, slots.len()) {
        return;
    }
    // An image that is here counts in full, so that the bytes of one host never hide those of another.
    let size = release.spec.image.size;
    for slot in slots {
        let facts = planner.facts(&slot);
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
                planner.saw_image(&slot);
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
                planner.wait(if checks { Waiting::Checks(host) } else { pull });
            }
            Seen::Nothing(waiting) => {
                missing += 1;
                if facts.is_out_of_reach() {
                    lost.push(host);
                }
                planner.wait(waiting);
            }
        }
    }
    planner.note_pulled(progress.pulled, total);
    planner.progress(progress);
    if let Some(reason) = faults.record(planner).or_else(|| hooks::failed(planner, Stage::Before)) {
        ending::go_back(planner, RollbackMode::Untouched, reason);
    } else if missing == 0 {
        match hooks::run(planner, Stage::Before) {
            HookProgress::Done => planner.go(State::Advancing),
            HookProgress::Waits => {}
            HookProgress::Blocked => {
                if planner.deadline_passed(&release.spec) {
                    let why = "no host could take the next hook: one is out of reach, or runs a hook that does not stop";
                    ending::go_back(planner, RollbackMode::Untouched, Reason::HookFailed(why.to_owned()));
                }
            }
            HookProgress::Failed(reason) => ending::go_back(planner, RollbackMode::Untouched, reason),
        }
    } else if planner.deadline_passed(&release.spec) {
        let everywhere_else = lost.len() == missing as usize && progress.pulled > 0;
        if everywhere_else {
            planner.leave_behind(lost);
        } else {
            let reason = ending::no_progress(planner, to, &release.spec);
            ending::go_back(planner, RollbackMode::Untouched, reason);
        }
    }
}
