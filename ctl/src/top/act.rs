//! Actions on a row: the verbs of the command line, each confirmed by the name of the service.

use windlass_core::ServiceId;
use windlass_core::view::{RowView, ScreenView};

use crate::client::{CallError, Client, RolloutAction};
use crate::commands::steer_rollout;

/// A verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Abort,
    Pause,
    Resume,
    Promote,
    Rollback,
}

impl Verb {
    /// In the order of the help.
    pub(super) const ALL: [Self; 5] = [Self::Abort, Self::Pause, Self::Resume, Self::Promote, Self::Rollback];

    pub(super) const fn key(self) -> char {
        match self {
            Self::Abort => 'a',
            Self::Pause => 'p',
            Self::Resume => 'u',
            Self::Promote => 'P',
            Self::Rollback => 'r',
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
        }
    }

    /// The effect on a service, as the help of `top` says it.
    pub(super) const fn effect(self) -> &'static str {
        match self {
            Self::Abort => "Abort its rollout, and bring the old release back",
            Self::Pause => "Pause its rollout",
            Self::Resume => "Let its rollout go on",
            Self::Promote => "Let its rollout take the next step now",
            Self::Rollback => "Start a rollout to the last good release before the current one",
        }
    }

    const fn action(self) -> Option<RolloutAction> {
        match self {
            Self::Abort => Some(RolloutAction::Abort),
            Self::Pause => Some(RolloutAction::Pause),
            Self::Resume => Some(RolloutAction::Resume),
            Self::Promote => Some(RolloutAction::Promote),
            Self::Rollback => None,
        }
    }
}

/// The subject of a row that something can be done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(super) service: ServiceId,
    /// The id of its rollout; the newest of the service if the row has none.
    pub(super) rollout: Option<String>,
    /// The step of its traffic that the row shows.
    pub(super) step: Option<u32>,
    /// Whether this operator may; not known of an old coordinator, which says so when asked.
    pub(super) may: bool,
}

impl Target {
    pub(super) fn of(row: &RowView, screen: &ScreenView) -> Option<Self> {
        let (rollout, step) = match row {
            RowView::Service(of) => (of.status.rollout.as_ref().map(ToString::to_string), None),
            RowView::Rollout(of) => {
                let step = of.traffic.as_ref().map_or(of.step, |traffic| traffic.step);
                (Some(of.rollout.to_string()), Some(step))
            }
            RowView::Instance(_) | RowView::Route(_) => (None, None),
            RowView::Host(_) | RowView::Gpu(_) | RowView::Event(_) | RowView::Ingress(_) => return None,
        };
        let service = row.service()?;
        let may = screen.steers.as_ref().is_none_or(|steers| steers.contains(&service.environment));
        Some(Self { service, rollout, step, may })
    }
}

/// A verb that was confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    pub(super) verb: Verb,
    pub(super) target: Target,
}

/// Does it. Answers with what came of it, in words.
pub(crate) async fn act(client: &mut Client, action: &Action) -> Result<String, CallError> {
    let Action { verb, target } = action;
    let service = &target.service;
    match verb.action() {
        Some(steering) => {
            let rollout = target.rollout.clone().unwrap_or_else(|| service.to_string());
            let view = steer_rollout(client, &rollout, steering, target.step).await?;
            let state = view.state.as_str().replace('_', " ");
            Ok(format!("{} {service}: its rollout to {} is {state}", verb.name(), view.release))
        }
        None => {
            let submitted = client.rollback(service, None, false).await?;
            let (verb, release) = (verb.name(), submitted.release);
            let words = match submitted.rollout {
                Some(_) => format!("{verb} {service}: a rollout to {release} has begun"),
                None => format!("{verb} {service}: it is at {release} already"),
            };
            Ok(std::iter::once(words).chain(submitted.warnings).collect::<Vec<_>>().join("; "))
        }
    }
}
