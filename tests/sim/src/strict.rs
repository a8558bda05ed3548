//! Restricted runs: their troubles and acts are those that excuse nothing, so that the checks hold without a single exemption.

use crate::operator::Action;
use crate::trouble::Trouble;

/// The troubles of a run, and whether its checks excuse anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Oracle {
    /// Every trouble, and named exemptions.
    #[default]
    Full,
    /// Restricted troubles, and no exemption.
    Strict,
}

impl Oracle {
    /// Whether a trouble comes in such a run.
    pub const fn admits_trouble(self, trouble: &Trouble) -> bool {
        match self {
            Self::Full => true,
            Self::Strict => excuses_nothing(trouble),
        }
    }

    /// Whether a person does that in such a run.
    pub const fn admits_act(self, action: &Action) -> bool {
        match self {
            Self::Full => true,
            Self::Strict => decides_alone(action),
        }
    }
}

const fn excuses_nothing(trouble: &Trouble) -> bool {
    use Trouble as T;
    match trouble {
        T::AgentCrash(_)
        | T::AgentDoom(_)
        | T::CenterCrash
        | T::CenterDoom
        | T::Break(_)
        | T::NoRegistry(_)
        | T::Forgery(_)
        | T::Misdelivery(_)
        | T::Cut(_)
        | T::CutUp(_)
        | T::CutDown(_)
        | T::EngineDown(_)
        | T::EngineHung(_)
        | T::DiskFull(_)
        | T::Flaky(_)
        | T::Killed(_)
        | T::EngineRestart(_)
        | T::Off(_)
        | T::EdgeKilled(_)
        | T::EdgeTakenOver(_)
        | T::EdgeGone(_) => true,
        T::CenterOld | T::DiskLost(_) | T::DiskOld(_) | T::Clock(_) | T::Lie(_) => false,
    }
}

const fn decides_alone(action: &Action) -> bool {
    use windlass_server::embedded::HostAction;
    !matches!(
        action,
        Action::Floor(_)
            | Action::Rejoin(_)
            | Action::Host(_, HostAction::Evict | HostAction::Ban)
            | Action::ForgetIngress(_)
    )
}
