//! `routes`: the names, the services that they lead to, and the ingresses that have them.

use crate::args::{Global, RoutesArgs, RoutesCommand};
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{clock, table};

/// The document of an ingress that is forgotten.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub(super) struct Forgotten {
    /// Its host.
    host: windlass_core::HostId,
}

pub(super) async fn run(args: &RoutesArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let session = context.session().await?;
    let mut client = session.client();
    if let Some(RoutesCommand::Forget { host }) = &args.command {
        client.forget_ingress(host).await?;
        let text = format!("rollouts no longer wait for the ingress on {host}, until it reports again");
        printer.done(&Forgotten { host: host.clone() }, &text);
        return Ok(Exit::Done);
    }
    let wanted = match &args.service {
        Some(name) => context.service(name, &mut client).await?.to_string(),
        None => String::new(),
    };
    let mut views = client.routes(&wanted).await?;
    if let (Some(environment), true) = (&global.environment, wanted.is_empty()) {
        views.retain(|view| view.environment == *environment);
    }
    printer.document(&views, |colour| table::routes(&views, clock::now(), colour));
    Ok(Exit::Done)
}
