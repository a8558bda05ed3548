//! `status`: what runs where, at which release, how healthy.

use crate::args::{Global, StatusArgs};
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{clock, table};

pub(super) async fn run(args: &StatusArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let session = context.session().await?;
    let mut client = session.client();
    let Some(name) = &args.service else {
        let mut services = client.status("").await?;
        let all = services.len();
        if let Some(environment) = &global.environment {
            services.retain(|status| status.environment == *environment);
        }
        let elsewhere = global.environment.as_ref().map(|environment| (environment, all - services.len()));
        printer.document(&services, |colour| table::services(&services, elsewhere, colour));
        return Ok(Exit::Done);
    };
    let service = context.service(name, &mut client).await?;
    let found = client.status(&service.to_string()).await?;
    let status = found.into_iter().next().ok_or_else(|| CtlError::NoService(service.clone()))?;
    let history = client.service_history(&service).await?;
    let plots = history.map(|history| table::history(&history)).unwrap_or_default();
    let is_idle = status.instances.is_empty() && status.rollout.is_none();
    // Only for the words; a coordinator that does not say leaves them out.
    let last = match is_idle && !printer.is_structured() {
        true => client.rollouts(&service.to_string()).await.ok().and_then(|all| all.into_iter().next()),
        false => None,
    };
    printer.document(&status, |colour| table::service(&status, last.as_ref(), clock::now(), colour) + &plots);
    Ok(Exit::Done)
}
