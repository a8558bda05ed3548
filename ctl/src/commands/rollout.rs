//! `rollout`: look at and steer one rollout.

use windlass_core::view::RolloutView;
use windlass_core::{Counter, RolloutId, ServiceId};

use super::deploy::ended;
use crate::args::{Global, RolloutCommand};
use crate::client::{CallError, Client, RolloutAction, Submitted};
use crate::context::{Context, at_release};
use crate::deploy::{self, Outcome, Progress};
use crate::error::{CtlError, Failure};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{clock, table};

pub(super) async fn run(
    command: RolloutCommand,
    global: &Global,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let mut session = context.session().await?;
    let mut client = session.client();
    match command {
        RolloutCommand::Ls { service } => {
            let service = match service {
                Some(name) => context.service(&name, &mut client).await?.to_string(),
                None => String::new(),
            };
            let mut rollouts = client.rollouts(&service).await?;
            let all = rollouts.len();
            if let Some(environment) = global.environment.as_ref().filter(|_| service.is_empty()) {
                rollouts.retain(|rollout| rollout.environment == *environment);
                if rollouts.is_empty() && all > 0 {
                    printer.note(&format!("no rollouts in {environment}; {all} in other environments"));
                }
            }
            printer.document(&rollouts, |colour| table::rollouts(&rollouts, clock::now(), colour));
        }
        RolloutCommand::Show { rollout } => {
            let rollout = meant(&rollout, &context, &mut client).await?;
            let view = client.rollout(&rollout).await?;
            printer.document(&view, |colour| table::rollout(&view, clock::now(), colour));
        }
        RolloutCommand::Watch { rollout, timeout } => {
            let rollout = meant(&rollout, &context, &mut client).await?;
            let view = client.rollout(&rollout).await?;
            let service = ServiceId::new(view.environment.clone(), view.service.clone());
            let submitted = Submitted {
                rollout: Some(view.rollout.clone()),
                release: view.release,
                warnings: Vec::new(),
            };
            let mut progress = Progress::new(printer, timeout.duration());
            let end =
                Box::pin(deploy::follow(&view.rollout, timeout.duration(), &mut session, &mut progress))
                    .await;
            drop(progress);
            return Ok(ended(end?, Outcome::submitted(&service, &submitted), printer));
        }
        RolloutCommand::Pause { rollout } => {
            steer(&rollout, RolloutAction::Pause, &context, &mut client, printer).await?;
        }
        RolloutCommand::Resume { rollout } => {
            steer(&rollout, RolloutAction::Resume, &context, &mut client, printer).await?;
        }
        RolloutCommand::Approve { rollout, step } => {
            let rollout = meant(&rollout, &context, &mut client).await?;
            let view = client.rollout(&rollout).await?;
            let asked = view.asks.as_ref().filter(|asked| step.is_none_or(|step| step == asked.step));
            let asked = asked.ok_or_else(|| nothing_to_approve(&view, step))?;
            let question = format!(
                "Approve step {} of rollout {} of {} to {} ({})?",
                asked.step, view.rollout, view.service, view.release, asked.release
            );
            printer.confirm(&question, global.yes)?;
            let view = client.approve_rollout(view.rollout.as_str(), asked).await?;
            printer.document(&view, |colour| table::rollout(&view, clock::now(), colour));
        }
        RolloutCommand::Promote { rollout, full, step: _ } => {
            let action = if full { RolloutAction::PromoteFull } else { RolloutAction::Promote };
            steer(&rollout, action, &context, &mut client, printer).await?;
        }
        RolloutCommand::Abort { rollout } => {
            let rollout = meant(&rollout, &context, &mut client).await?;
            let view = client.rollout(&rollout).await?;
            if !view.state.is_final() {
                printer.confirm(&abort_question(&view), global.yes)?;
            }
            steer(&rollout, RolloutAction::Abort, &context, &mut client, printer).await?;
        }
    }
    Ok(Exit::Done)
}

/// The question before an abort, with its effect.
fn abort_question(view: &RolloutView) -> String {
    let (id, service) = (&view.rollout, format!("{}/{}", view.environment, view.service));
    match view.from {
        Some(from) => format!("Abort rollout {id} of {service} to {} and bring {from} back?", view.release),
        None => {
            format!(
                "Abort rollout {id} of {service} to {}? There is no earlier release: nothing will serve.",
                view.release
            )
        }
    }
}

/// There is nothing to approve.
#[derive(Debug, thiserror::Error)]
#[error("rollout {rollout} of {service} {at}")]
struct NothingToApprove {
    rollout: RolloutId,
    service: ServiceId,
    at: String,
}

impl Failure for NothingToApprove {
    fn hint(&self) -> Option<String> {
        Some(format!("`windlass rollout show {}` says what it waits for", self.service))
    }
}

fn nothing_to_approve(view: &RolloutView, step: Option<u32>) -> NothingToApprove {
    let at = match (&view.asks, step) {
        (Some(asked), Some(step)) => {
            format!("is at step {}, and the approval would be for step {step}", asked.step)
        }
        (Some(_), None) | (None, _) => format!("is {} and waits for no approval", view.state.as_str()),
    };
    let service = ServiceId::new(view.environment.clone(), view.service.clone());
    NothingToApprove { rollout: view.rollout.clone(), service, at }
}

async fn steer(
    rollout: &str,
    action: RolloutAction,
    context: &Context,
    client: &mut Client,
    printer: &Printer,
) -> Result<(), CtlError> {
    let rollout = meant(rollout, context, client).await?;
    let view = steer_rollout(client, &rollout, action, None).await?;
    printer.document(&view, |colour| table::rollout(&view, clock::now(), colour));
    Ok(())
}

/// Steers a rollout, which is named by its id or by its service. A promotion is meant for the step that the rollout is at, and for no
/// later one: for `step` where a person saw that, else for the one that it is at now.
pub(crate) async fn steer_rollout(
    client: &mut Client,
    rollout: &str,
    action: RolloutAction,
    step: Option<u32>,
) -> Result<RolloutView, CallError> {
    let at = match (action, step) {
        (RolloutAction::Promote | RolloutAction::PromoteFull, Some(step)) => Some(step),
        (RolloutAction::Promote | RolloutAction::PromoteFull, None) => {
            let view = client.rollout(rollout).await?;
            // A coordinator of the version before says it of a service with traffic only.
            Some(view.traffic.map_or(view.step, |traffic| traffic.step))
        }
        _ => None,
    };
    client.steer_rollout(rollout, action, at).await.map_err(|error| match error.hint() {
        None if error.is_out_of_place() => error
            .with_hint(&format!("`windlass rollout show {rollout}` says where it is, and what it waits for")),
        None | Some(_) => error,
    })
}

/// There is no rollout to this release.
#[derive(Debug, thiserror::Error)]
#[error("no rollout of `{service}` to {release} is remembered")]
struct NoRollout {
    service: ServiceId,
    release: Counter,
}

impl Failure for NoRollout {
    fn hint(&self) -> Option<String> {
        Some(format!("`windlass rollout ls {}` shows those that are", self.service))
    }
}

/// A rollout is named by its id, the beginning of it, a service for its newest, or `service@rN` for the newest to that
/// release. A service may be a bare name.
pub(super) async fn meant(text: &str, context: &Context, client: &mut Client) -> Result<String, CtlError> {
    if let Some((name, release)) = at_release(text) {
        let service = context.service(name, client).await?;
        let rollouts = client.rollouts(&service.to_string()).await?;
        let newest = rollouts.into_iter().find(|rollout| rollout.release == release);
        return Ok(newest.ok_or(NoRollout { service, release })?.rollout.to_string());
    }
    // Ids are long and hexadecimal; a beginning of one has a digit, which few names of eight letters a-f have.
    let is_hex = text.len() >= 4 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let is_id = text.parse::<RolloutId>().is_ok() || (is_hex && text.bytes().any(|b| b.is_ascii_digit()));
    if is_id { Ok(text.to_owned()) } else { Ok(context.service(text, client).await?.to_string()) }
}
