//! The rollout machine: moves one service from one release to another, a few slots at a time.
//!
//! [`advance`] is pure and total. It looks at what is stored and what is observed, and answers with
//! what is to be stored next; hosts then get plans derived from that. Every arrow waits for an
//! observation of a host that has the newest plan, so a message that is lost, repeated or late
//! changes nothing.
//!
//! ```text
//! Pending → Preparing → Advancing → Soaking → Succeeded
//!               │           │  ⇅        │ ⇅
//!               │           │ Paused ───┤
//!               │           ▼           ▼
//!               │        RollingBack ───────→ RolledBack | Aborted
//!               └──────────┴──────────→ Failed      (any active state → Superseded)
//! ```
//!
//! | state | does | leaves when | deadline |
//! |---|---|---|---|
//! | Pending | places the slots | placed, or impossible → Failed | at once |
//! | Preparing | every host has the image, nothing is touched | all pulled; a pull or check failed → Failed | progress |
//! | Advancing | replaces slots within batch, surge and unavailability | all available; one failed → `on_failure` | progress |
//! | Soaking | watches the whole service | all available for `soak` without a break | soak + progress |
//! | Paused | nothing | a person says so | none, pages |
//! | RollingBack | puts every slot back to `from` | all available | progress → Failed |

mod clocks;
mod decision;
mod decision_notes;
mod devices;
mod draining;
mod elsewhere;
pub(crate) mod ending;
pub(crate) mod exclusive;
mod figures;
mod gating;
mod guard;
pub(crate) mod hooks;
mod instances;
mod machine;
pub(crate) mod model;
pub(crate) mod older;
pub(crate) mod places;
mod placing;
pub(crate) mod planner;
mod preparing;
mod questions;
mod reason;
mod restart;
mod returning;
pub(crate) mod revert;
mod rolling_back;
mod room;
mod shift;
mod soaking;
mod start;
mod state;
mod stays;
mod steer;
mod strategy;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod trial;
mod triggers;
mod verbs;

pub use decision::{
    Allowed, Arrival, Begin, Chosen, Clocks, DETAILS, Decision, Instead, Log, Place, Placement, Refused,
    SLOTS, Stood, VERDICTS, What,
};
pub use exclusive::must_have_stopped;
pub use figures::{BlamedInstance, Figures, Trigger};
pub use hooks::HookRun;
pub use machine::{advance, orders, place_only};
pub use model::{Advance, Begins, KEEP_OLD, Reason, Rollout, SLOTS_PER_STEP, Snapshot};
pub use questions::{Question, questions};
pub use restart::{RestartError, restart};
pub use shift::{APPROVAL_COUNTS, Approval, Promotion, Shift};
pub use start::{StartError, Target, start};
pub use state::{Failure, Kind, Progress, RollbackMode, RolloutCommand, State};
pub use steer::{ApproveError, Approved, SteerError, approve, is_at, skips_approval, steer};
pub use verbs::{CommandOutcome, ServiceCommand, ServiceCommandError, apply_command};

pub use crate::slot::Waiting;
