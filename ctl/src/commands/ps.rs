//! `ps`: instances of all services, one per line.

use serde::Serialize;
use windlass_core::view::InstanceView;
use windlass_core::{EnvironmentId, ServiceName};

use crate::args::{Global, PsArgs};
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{clock, table};

/// An instance, and whose it is.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct PsView {
    /// Its service.
    pub(crate) service: ServiceName,
    /// The environment of the service.
    pub(crate) environment: EnvironmentId,
    /// The instance, as `status SERVICE` shows it.
    #[serde(flatten)]
    pub(crate) instance: InstanceView,
}

pub(super) async fn run(args: &PsArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let session = context.session().await?;
    let mut client = session.client();
    let mut services = Vec::new();
    if args.services.is_empty() {
        services = client.status("").await?;
        if let Some(environment) = &global.environment {
            services.retain(|status| status.environment == *environment);
        }
    }
    for name in &args.services {
        let service = context.service(name, &mut client).await?;
        services.extend(client.status(&service.to_string()).await?);
    }
    let views: Vec<PsView> = services
        .into_iter()
        .flat_map(|status| {
            let (service, environment) = (status.service, status.environment);
            status.instances.into_iter().map(move |instance| PsView {
                service: service.clone(),
                environment: environment.clone(),
                instance,
            })
        })
        .filter(|view| args.host.as_ref().is_none_or(|host| view.instance.host == *host))
        .collect();
    // An unknown host is an error: an empty list would look like an answer.
    if let Some(host) = args.host.as_ref().filter(|_| views.is_empty()) {
        client.host(host).await?;
    }
    printer.document(&views, |colour| table::instances(&views, clock::now(), colour));
    Ok(Exit::Done)
}
