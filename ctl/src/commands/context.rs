//! `context`: the fleets that this person works with.

use serde::Serialize;
use windlass_core::{EnvironmentId, FleetId, Timestamp};

use crate::args::{ContextCommand, Global};
use crate::error::CtlError;
use crate::exit::Exit;
use crate::home::{Config, ContextConfig, Home, HomeError};
use crate::printer::Printer;
use crate::shell::quote;
use crate::{clock, table};

/// A context in a list.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct ContextView {
    /// Its name.
    pub(crate) name: String,
    /// Whether it is the current one, which is used when none is named.
    pub(crate) current: bool,
    /// Its fleet.
    pub(crate) fleet: FleetId,
    /// The address of the coordinator.
    pub(crate) server: String,
    /// The environment meant when none is named.
    pub(crate) environment: Option<EnvironmentId>,
    /// The operator's name, if there is a certificate.
    pub(crate) operator: Option<String>,
    /// Until when that certificate counts.
    pub(crate) operator_expires_at: Option<Timestamp>,
}

/// The document of a change of contexts.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct ContextChange {
    /// The context that was chosen, renamed or removed.
    context: String,
    /// Its name before, if it was renamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<String>,
    /// The current context afterwards.
    current: Option<String>,
}

pub(super) fn run(command: &ContextCommand, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let home = Home::find()?;
    let mut config = home.config()?;
    match command {
        ContextCommand::Ls => {}
        ContextCommand::Use { name } => {
            config.context(Some(name), home.path())?;
            config.current = Some(name.clone());
            home.save(&config)?;
            let change = ContextChange { context: name.clone(), was: None, current: config.current };
            printer.done(&change, &format!("now using `{name}`"));
            return Ok(Exit::Done);
        }
        ContextCommand::Add { name, fleet } => {
            add(&mut config, name, fleet, global.server.as_deref(), &home)?;
            home.save(&config)?;
            let change = ContextChange { context: name.clone(), was: None, current: config.current };
            printer.done(&change, &format!("`{name}` is a context of fleet `{fleet}`, and the current one"));
            return Ok(Exit::Done);
        }
        ContextCommand::Rename { from, to } => {
            rename(&mut config, from, to, &home)?;
            home.save(&config)?;
            let change =
                ContextChange { context: to.clone(), was: Some(from.clone()), current: config.current };
            printer.done(&change, &format!("`{from}` is `{to}` now"));
            return Ok(Exit::Done);
        }
        ContextCommand::Rm { name } => {
            let (_, gone) = config.context(Some(name), home.path())?;
            config.contexts.remove(name);
            let was_current = config.current.as_ref() == Some(name);
            config.current = config.current.filter(|current| current != name);
            home.save(&config)?;
            let kept = home.fleet(&gone.fleet).path().display().to_string();
            let change = ContextChange { context: name.clone(), was: None, current: config.current };
            printer.done(
                &change,
                &format!("`{name}` is forgotten; the keys of fleet `{}` stay in {kept}", gone.fleet),
            );
            printer.note(&format!(
                "to have it back: windlass context add {} --fleet {} --server {}",
                quote(name),
                gone.fleet,
                gone.server
            ));
            if was_current && !config.contexts.is_empty() {
                printer.note("no context is current now; choose one with: windlass context use NAME");
            }
            return Ok(Exit::Done);
        }
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

/// Makes a context of a fleet whose trust document is here.
fn add(
    config: &mut Config,
    name: &str,
    fleet: &FleetId,
    server: Option<&str>,
    home: &Home,
) -> Result<(), CtlError> {
    check_name(name)?;
    if config.contexts.contains_key(name) {
        return Err(taken(name));
    }
    home.fleet(fleet).trust()?;
    let server = server.ok_or_else(|| CtlError::Usage {
        message: "no coordinator is named".to_owned(),
        hint: "add its address: `--server deploy.example.com:7443`".to_owned(),
    })?;
    let context = ContextConfig {
        fleet: fleet.clone(),
        server: server.to_owned(),
        environment: None,
        insecure_registries: Vec::new(),
        release_keys: Vec::new(),
    };
    config.contexts.insert(name.to_owned(), context);
    config.current = Some(name.to_owned());
    Ok(())
}

fn taken(name: &str) -> CtlError {
    CtlError::Usage {
        message: format!("there is a context `{name}` already"),
        hint: format!("forget that one first: windlass context rm {name}"),
    }
}

fn check_name(name: &str) -> Result<(), CtlError> {
    let is_name = !name.is_empty()
        && name.len() <= 63
        && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    if is_name {
        return Ok(());
    }
    Err(CtlError::Usage {
        message: format!("`{name}` is not a name of a context"),
        hint: "letters, digits, `-`, `_` and `.`, at most 63".to_owned(),
    })
}

/// Gives the context `from` the name `to`, which no other one may have.
fn rename(config: &mut Config, from: &str, to: &str, home: &Home) -> Result<(), CtlError> {
    let (_, context) = config.context(Some(from), home.path())?;
    check_name(to)?;
    if from != to && config.contexts.contains_key(to) {
        return Err(taken(to));
    }
    config.contexts.remove(from);
    config.contexts.insert(to.to_owned(), context);
    if config.current.as_deref() == Some(from) {
        config.current = Some(to.to_owned());
    }
    Ok(())
}
