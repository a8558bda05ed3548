//! Exit codes: what a script may rely on.
//!
//! | code | means |
//! |---|---|
//! | 0 | done, or nothing to change; hosts that were lost meanwhile (`stragglers`) are named and get it when they return |
//! | 1 | refused, or failed before anything changed; of several services, those that come before stay deployed |
//! | 2 | wrong usage |
//! | 3 | the old release serves again: rolled back, aborted |
//! | 4 | stopped; manual action required: paused, failed |
//! | 5 | the timeout passed; the rollout goes on |
//! | 6 | superseded |
//! | 10 | only `plan`: there are changes |

use std::process::ExitCode;

use windlass_core::rollout::State;

/// The end of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or nothing to change.
    Done,
    /// Refused, or failed before anything changed.
    Refused,
    /// Wrong usage.
    Usage,
    /// The old release serves again.
    Back,
    /// Stopped; manual action required.
    Stopped,
    /// The timeout passed; the rollout goes on.
    Timeout,
    /// Another rollout took over.
    Superseded,
    /// `plan` found changes.
    Changes,
    /// The person pressed Ctrl-C; a rollout goes on.
    Interrupted,
}

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Back => 3,
            Self::Stopped => 4,
            Self::Timeout => 5,
            Self::Superseded => 6,
            Self::Changes => 10,
            Self::Interrupted => 130,
        }
    }

    /// The end of following a rollout that is in `state`; `None` while it goes on. `changed` says whether any
    /// container was touched.
    pub(crate) const fn of(state: State, changed: bool) -> Option<Self> {
        match state {
            State::Succeeded => Some(Self::Done),
            State::RolledBack | State::Aborted => Some(Self::Back),
            State::Failed if !changed => Some(Self::Refused),
            State::Failed | State::Paused => Some(Self::Stopped),
            State::Superseded => Some(Self::Superseded),
            State::Pending | State::Preparing | State::Advancing | State::Soaking | State::RollingBack => {
                None
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollouts_end_has_the_code_that_scripts_rely_on() {
        #[rustfmt::skip]
        let table = [
            (State::Succeeded, true, Some(0)), (State::Succeeded, false, Some(0)),
            (State::RolledBack, true, Some(3)), (State::RolledBack, false, Some(3)),
            (State::Aborted, true, Some(3)), (State::Aborted, false, Some(3)),
            (State::Failed, true, Some(4)), (State::Failed, false, Some(1)),
            (State::Paused, true, Some(4)), (State::Paused, false, Some(4)),
            (State::Superseded, true, Some(6)), (State::Superseded, false, Some(6)),
            (State::Pending, false, None), (State::Preparing, false, None), (State::Advancing, true, None),
            (State::Soaking, true, None), (State::RollingBack, true, None),
        ];
        for (state, changed, want) in table {
            assert_eq!(
                Exit::of(state, changed).map(Exit::code),
                want,
                "{} changed={changed}",
                state.as_str()
            );
        }
    }

    #[test]
    fn the_other_codes() {
        let codes = [Exit::Done, Exit::Refused, Exit::Usage, Exit::Timeout, Exit::Changes].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 5, 10]);
    }
}
