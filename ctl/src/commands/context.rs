//! `context`: which fleet am I talking to.

use serde::Serialize;
use windlass_core::{EnvironmentId, FleetId, Timestamp};

use crate::args::ContextCommand;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::home::{Home, HomeError};
use crate::printer::Printer;
use crate::{clock, table};

/// A context in a list.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct ContextView {
    /// Its name.
    pub(crate) name: String,
    /// Is it the one meant when none is named?
    pub(crate) current: bool,
    /// Its fleet.
    pub(crate) fleet: FleetId,
    /// Where the coordinator answers.
    pub(crate) server: String,
    /// The environment meant when none is named.
    pub(crate) environment: Option<EnvironmentId>,
    /// The operator's name, if there is a certificate.
    pub(crate) operator: Option<String>,
    /// Until when that certificate counts.
    pub(crate) operator_expires_at: Option<Timestamp>,
}

pub(super) fn run(command: &ContextCommand, printer: &Printer) -> Result<Exit, CtlError> {
    let home = Home::find()?;
    let mut config = home.config()?;
    if let ContextCommand::Use { name } = command {
        config.context(Some(name), home.path())?;
        config.current = Some(name.clone());
        home.save(&config)?;
        printer.note(&format!("now using `{name}`"));
        return Ok(Exit::Done);
    }
    if config.contexts.is_empty() {
        return Err(HomeError::NoContext(home.path().to_owned()).into());
    }
    let views: Vec<ContextView> = config
        .contexts
        .iter()
        .map(|(name, context)| {
            let operator = home.fleet(&context.fleet).operator().ok();
            ContextView {
                name: name.clone(),
                current: config.current.as_ref() == Some(name),
                fleet: context.fleet.clone(),
                server: context.server.clone(),
                environment: context.environment.clone(),
                operator: operator.as_ref().map(|identity| identity.peer().identity.name().to_owned()),
                operator_expires_at: operator.as_ref().map(|identity| identity.peer().not_after),
            }
        })
        .collect();
    printer.document(&views, |colour| table::contexts(&views, clock::now(), colour));
    Ok(Exit::Done)
}
