//! Restricted runs: their troubles and acts are those that excuse nothing, so that the checks hold without a single exemption.

use crate::operator::Action;
use crate::shop::Behaviour;
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
        | T::Break(_)
        | T::NoRegistry(_)
        | T::Forgery(_)
        | T::Misdelivery(_) => true,
        // A host without its coordinator stops what it must, nobody knows what runs on a host that is away, instances that end by
        // themselves serve nobody, an ingress that has just begun is not waited for, and what was lost or set back misleads.
        T::Cut(_)
        | T::CutUp(_)
        | T::CutDown(_)
        | T::Off(_)
        | T::Flaky(_)
        | T::EngineDown(_)
        | T::EngineHung(_)
        | T::EngineRestart(_)
        | T::Killed(_)
        | T::CenterCrash
        | T::CenterDoom
        | T::DiskFull(_)
        | T::EdgeKilled(_)
        | T::EdgeTakenOver(_)
        | T::EdgeGone(_)
        | T::CenterOld
        | T::DiskLost(_)
        | T::DiskOld(_)
        | T::Clock(_)
        | T::Lie(_) => false,
    }
}

const fn decides_alone(action: &Action) -> bool {
    use windlass_core::rollout::{RolloutCommand, ServiceCommand};
    use windlass_server::embedded::HostAction;
    match action {
        Action::Deploy(_, behaviour) => never_fails(*behaviour),
        Action::Again(..)
        | Action::Resubmit(..)
        | Action::Forge(_)
        | Action::RollBack(_)
        | Action::RollBackTo(_)
        | Action::Steer(_, RolloutCommand::Pause | RolloutCommand::Resume)
        | Action::Tell(_, ServiceCommand::Scale(_), _)
        | Action::Restart(_)
        | Action::Host(_, HostAction::Cordon | HostAction::Uncordon)
        | Action::Recover
        | Action::Republish
        | Action::Approve(_) => true,
        // A person decides against instances that have just begun, or that serve.
        Action::Supersede(..)
        | Action::Steer(..)
        | Action::Tell(..)
        | Action::Host(..)
        | Action::Rejoin(_)
        | Action::Cleanse(_)
        | Action::Floor(_)
        | Action::Meddle(_)
        | Action::ForgetIngress(_) => false,
    }
}

/// Whether no instance of such a release begins and then fails by itself.
const fn never_fails(behaviour: Behaviour) -> bool {
    matches!(
        behaviour,
        Behaviour::Good | Behaviour::CannotPull | Behaviour::WrongImage | Behaviour::CannotStart
    )
}
