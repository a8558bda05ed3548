//! Rolling back where there was nothing good before.

use crate::plan::Phase;
use crate::slot::Transition;

use super::super::draft::Draft;
use super::super::ending;
use super::super::model::{GoingBack, Reason, State};
use super::super::revert::past_deadline;
use super::{Fate, fate, keep};

/// What was started stops, and is kept for inspection unless a person asked for the end or nothing was
/// touched.
pub(crate) fn back_to_nothing(draft: &mut Draft<'_>, how: GoingBack) {
    let mut stopped = true;
    let late = past_deadline(draft);
    for slot in draft.staying() {
        let begun = draft.slots[&slot].run() != Phase::Pulled;
        match fate(draft, &slot, how, late) {
            Fate::Back => {}
            Fate::Stays => {
                keep(draft, &slot);
                continue;
            }
            Fate::Open(waiting) => {
                draft.wait(waiting);
                stopped = false;
                continue;
            }
        }
        if how == GoingBack::Aborted || !begun {
            draft.drop_slot(&slot);
            continue;
        }
        draft.apply(&slot, &Transition::Abandon);
        let facts = draft.facts(&slot);
        stopped &= facts.is_lost() || facts.is_stopped(&facts.intent.release).unwrap_or(false);
    }
    if draft.is_full() || draft.drains() || !(stopped || late) {
        return;
    }
    if how != GoingBack::OnlyFailed {
        draft.service.replicas = draft.rollout().replicas_before;
    }
    if how == GoingBack::Aborted {
        draft.service.current = None;
        return ending::end(draft, State::Aborted, None);
    }
    let before = draft.rollout().reason.as_ref().map(ToString::to_string).unwrap_or_default();
    let reason = draft.rollout().changed.then(|| {
        Reason::NothingToGoBackTo(format!("{before}; there is no earlier good release to go back to"))
    });
    ending::end(draft, State::Failed, reason);
}
