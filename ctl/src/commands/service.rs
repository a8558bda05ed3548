//! `scale`, `restart`, `stop`, `rm`: change a service without a new release, and follow until it is so.

use windlass_core::{Counter, ServiceId};

use super::deploy;
use crate::args::{AttendArgs, Global, RestartArgs, RmArgs, ScaleArgs, StopArgs};
use crate::attend::{self, Done, Goal, ServiceOutcome};
use crate::client::{Heard, ServiceAction, Submitted};
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::session::Session;

pub(super) async fn scale(args: &ScaleArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let (mut session, service) = meant(&args.service, global).await?;
    let heard =
        session.client().steer_service(&service, ServiceAction::Scale, args.replicas, (false, false)).await?;
    finish(&service, Goal::Count(args.replicas), heard, args.attend, &mut session, printer).await
}

pub(super) async fn restart(
    args: &RestartArgs,
    global: &Global,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    let (mut session, service) = meant(&args.service, global).await?;
    let heard = session.client().steer_service(&service, ServiceAction::Restart, 0, (false, false)).await?;
    let release = heard.release.unwrap_or(Counter(0));
    let submitted = Submitted { rollout: heard.rollout, release, warnings: Vec::new() };
    deploy::finish(&service, submitted, args.follow, &[], &mut session, printer).await
}

pub(super) async fn stop(args: &StopArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let (mut session, service) = meant(&args.service, global).await?;
    let heard = session
        .client()
        .steer_service(&service, ServiceAction::Stop, 0, (args.supersede, args.force))
        .await?;
    finish(&service, Goal::Stopped, heard, args.attend, &mut session, printer).await
}

pub(super) async fn rm(args: &RmArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let (mut session, service) = meant(&args.service, global).await?;
    let question = format!("Remove every instance of `{service}`? Named volumes stay.");
    printer.confirm(&question, global.yes)?;
    let heard = session
        .client()
        .steer_service(&service, ServiceAction::Remove, 0, (args.supersede, args.force))
        .await?;
    finish(&service, Goal::Gone, heard, args.attend, &mut session, printer).await
}

async fn meant(name: &str, global: &Global) -> Result<(Session, ServiceId), CtlError> {
    let context = Context::load(global)?;
    let session = context.session().await?;
    let service = context.service(name, &mut session.client()).await?;
    Ok((session, service))
}

/// Follows what was told. What was so already is followed too: it may have been told and not be done yet.
async fn finish(
    service: &ServiceId,
    goal: Goal,
    heard: Heard,
    how: AttendArgs,
    session: &mut Session,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    let told = ServiceOutcome::told(service, goal, &heard);
    let done = if how.detach {
        Done::Detached
    } else {
        Box::pin(attend::follow(service, goal, how.timeout.duration(), session, printer)).await?
    };
    let (outcome, exit) = told.ended(done, heard.unchanged);
    if printer.is_structured() {
        printer.line(&outcome);
    } else if exit == Exit::Done {
        printer.result(&outcome.sentence());
    } else {
        printer.note(&outcome.sentence());
    }
    Ok(exit)
}
