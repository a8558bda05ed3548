//! The fleet, server, environment and service that a command line means.

use std::collections::BTreeSet;

use windlass_core::manifest::Environment;
use windlass_core::{Counter, EnvironmentId, ServiceId, ServiceName};

use crate::args::Global;
use crate::client::Client;
use crate::error::CtlError;
use crate::home::{ContextConfig, FleetHome, Home, HomeError};
use crate::printer::Printer;
use crate::session::Session;

/// The context that a command runs in: home, configuration and flags together.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// Its name.
    pub(crate) name: String,
    /// The context's settings, with flags applied.
    pub(crate) config: ContextConfig,
    /// The fleet's folder.
    pub(crate) fleet: FleetHome,
    environment: Option<EnvironmentId>,
}

impl Context {
    /// The fleet and the environments that a command is about: `fleet prod, environment default`.
    pub(crate) fn destination<'a>(&self, services: impl IntoIterator<Item = &'a ServiceId>) -> String {
        let environments: BTreeSet<&str> =
            services.into_iter().map(|service| service.environment.as_str()).collect();
        let several = if environments.len() == 1 { "" } else { "s" };
        let names = environments.into_iter().collect::<Vec<_>>().join(", ");
        format!("fleet {}, environment{several} {names}", self.config.fleet)
    }

    /// Reads the home folder and lets the flags win.
    pub(crate) fn load(global: &Global) -> Result<Self, HomeError> {
        let home = Home::find()?;
        let (name, mut config) = home.config()?.context(global.context.as_deref(), home.path())?;
        if let Some(server) = &global.server {
            config.server.clone_from(server);
        }
        let fleet = home.fleet(&config.fleet);
        Ok(Self { name, config, fleet, environment: global.environment.clone() })
    }

    /// Connects to the fleet's coordinator.
    pub(crate) async fn session(&self) -> Result<Session, CtlError> {
        Ok(Box::pin(Session::open(&self.fleet, &self.config)).await?)
    }

    /// Warns of an environment that was named with `-e` and that the fleet does not have yet: `stagign` is one too.
    pub(crate) async fn warn_of_new(&self, services: &[ServiceId], client: &mut Client, printer: &Printer) {
        let Some(environment) = &self.environment else { return };
        // Only for the words; a coordinator that does not say leaves them out.
        let Ok(known) = client.status("").await else { return };
        let known: BTreeSet<EnvironmentId> = known.into_iter().map(|status| status.environment).collect();
        let is_new = services.iter().any(|service| service.environment == *environment);
        if is_new && !known.is_empty() && !known.contains(environment) {
            let names: Vec<&str> = known.iter().map(EnvironmentId::as_str).collect();
            let names = names.join(", ");
            printer.warn(&format!(
                "the fleet has no environment {environment} yet, and this makes it; it has {names}"
            ));
        }
    }

    /// The environment of a manifest.
    pub(crate) fn environment(&self) -> Environment {
        meant(self.environment.as_ref(), self.config.environment.as_ref())
    }

    /// The service a person means by `web` or `production/web`. Without `-e` and without an environment in the
    /// context, a bare name must exist in one environment only.
    pub(crate) async fn service(&self, name: &str, client: &mut Client) -> Result<ServiceId, CtlError> {
        if name.contains('/') {
            return Ok(name.parse()?);
        }
        let name: ServiceName = name.parse()?;
        if let Some(environment) = self.environment.as_ref().or(self.config.environment.as_ref()) {
            return Ok(ServiceId::new(environment.clone(), name));
        }
        let services = client.status("").await?;
        let found = services.into_iter().filter(|s| s.service == name).map(|s| s.environment).collect();
        choose(name, found)
    }
}

/// `web@r6`: a service and one of its releases.
pub(crate) fn at_release(text: &str) -> Option<(&str, Counter)> {
    let (service, release) = text.rsplit_once('@')?;
    Some((service, release.parse().ok()?))
}

/// The environment of a manifest, where there is no context.
pub(crate) fn environment(global: &Global) -> Environment {
    meant(global.environment.as_ref(), None)
}

fn meant(given: Option<&EnvironmentId>, usual: Option<&EnvironmentId>) -> Environment {
    match given {
        Some(given) => Environment::Given(given.clone()),
        None => Environment::Default(usual.cloned().unwrap_or_else(default_environment)),
    }
}

fn choose(name: ServiceName, mut found: Vec<EnvironmentId>) -> Result<ServiceId, CtlError> {
    found.sort();
    match found.len() {
        // The coordinator then says that there is no such service, with its name in full.
        0 => Ok(ServiceId::new(default_environment(), name)),
        1 => Ok(ServiceId::new(found.remove(0), name)),
        _ => Err(CtlError::Ambiguous {
            service: name.to_string(),
            environments: found.iter().map(ToString::to_string).collect(),
        }),
    }
}

fn default_environment() -> EnvironmentId {
    "default".parse().expect("a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(found: &[&str]) -> Result<String, CtlError> {
        let found = found.iter().map(|e| e.parse().unwrap()).collect();
        choose("web".parse().unwrap(), found).map(|service| service.to_string())
    }

    #[test]
    fn a_bare_name_must_mean_one_service() {
        assert_eq!(chosen(&[]).unwrap(), "default/web");
        assert_eq!(chosen(&["staging"]).unwrap(), "staging/web");
        let error = chosen(&["staging", "production"]).unwrap_err();
        assert_eq!(error.to_string(), "`web` exists in several environments: production, staging");
        assert_eq!(error.hint().unwrap(), "say which one: `-e production` or `production/web`");
        assert_eq!(error.exit().code(), 2);
    }
}
