//! `scale`, `restart`, `stop`, `rm`: change a service without a new release, and follow until it is so.

use windlass_core::{Counter, ServiceId};

use super::deploy;
use crate::args::{AttendArgs, Global, RestartArgs, RmArgs, ScaleArgs, StopArgs};
use crate::attend::{self, Done, Goal, ServiceOutcome};
use crate::client::{CallError, Heard, ServiceAction, Submitted};
use crate::context::Context;
use crate::error::{CtlError, Failure};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::session::Session;
use crate::unknown::Unknown;

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

/// All of them are told first, so that they go at the same time. One that is refused keeps none of the others.
pub(super) async fn rm(args: &RmArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let mut session = context.session().await?;
    let mut services = Vec::new();
    for name in &args.services {
        let service = context.service(name, &mut session.client()).await?;
        if !services.contains(&service) {
            services.push(service);
        }
    }
    let names = services.iter().map(|service| format!("`{service}`")).collect::<Vec<_>>().join(", ");
    printer.confirm(&format!("Remove every instance of {names}? Named volumes stay."), global.yes)?;
    let how = (args.supersede, args.force);
    let (mut told, mut refused) = (Vec::new(), Vec::new());
    for service in services {
        match session.client().steer_service(&service, ServiceAction::Remove, 0, how).await {
            Ok(heard) => told.push((service, heard)),
            Err(error) => refused.push((service, error)),
        }
    }
    let mut exit = Exit::Done;
    for (service, heard) in told {
        let one = finish(&service, Goal::Gone, heard, args.attend, &mut session, printer).await?;
        exit = if exit == Exit::Done { one } else { exit };
    }
    let several = args.services.len() > 1;
    let last = refused.pop();
    for (service, error) in refused {
        let error = RmError { service, source: error }.into();
        printer.error(&error);
    }
    match last {
        Some((service, error)) if several => Err(RmError { service, source: error }.into()),
        Some((_, error)) => Err(error.into()),
        None => Ok(exit),
    }
}

/// One of several services stays.
#[derive(Debug, thiserror::Error)]
#[error("`{service}` is not removed")]
struct RmError {
    service: ServiceId,
    #[source]
    source: CallError,
}

impl Failure for RmError {
    fn hint(&self) -> Option<String> {
        self.source.hint()
    }

    fn unknown(&self) -> Option<Unknown> {
        self.source.unknown()
    }
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
