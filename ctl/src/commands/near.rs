//! Finds the known name nearest to an unknown one. Asks the coordinator only after a command has failed, and where one waits for
//! a name that may still come.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Display};
use std::time::Duration;

use windlass_core::manifest::closest;
use windlass_core::{EnvironmentId, HostId, ServiceId, ServiceName};

use crate::args::Global;
use crate::client::Client;
use crate::context::Context;
use crate::error::{CtlError, Failure};
use crate::exit::Exit;
use crate::unknown::Unknown;

/// Longest wait for the names of the fleet: the command has failed already.
const DEADLINE: Duration = Duration::from_secs(2);

/// The error of a command about an unknown name, with a hint at a known one.
#[derive(Debug)]
struct Misspelt {
    error: Box<CtlError>,
    hint: String,
}

impl Display for Misspelt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.error, formatter)
    }
}

impl Error for Misspelt {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl Failure for Misspelt {
    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }

    fn exit(&self) -> Exit {
        self.error.exit()
    }
}

/// The error, with the name that was meant if it is about a name that the fleet does not have, and another one is near.
pub(super) async fn suggested(error: CtlError, global: &Global) -> CtlError {
    let Some(unknown) = error.unknown() else { return error };
    match tokio::time::timeout(DEADLINE, nearest(&unknown, global)).await {
        Ok(Ok(Some(hint))) => Misspelt { error: Box::new(error), hint }.into(),
        // Only for the words: a coordinator that does not say leaves the hint as it was.
        Ok(Ok(None) | Err(_)) | Err(_) => error,
    }
}

async fn nearest(unknown: &Unknown, global: &Global) -> Result<Option<String>, CtlError> {
    let context = Context::load(global)?;
    let session = context.session().await?;
    let usual = global.environment.as_ref().or(context.config.environment.as_ref());
    Ok(match look(unknown, &mut session.client(), usual).await? {
        Look::Near(hint) => Some(hint),
        Look::Known | Look::Unlike => None,
    })
}

/// The fleet's answer about a name.
enum Look {
    /// The fleet has it.
    Known,
    /// The fleet has a similar name; the hint names it.
    Near(String),
    /// The fleet has nothing like it.
    Unlike,
}

async fn look(
    wanted: &Unknown,
    client: &mut Client,
    usual: Option<&EnvironmentId>,
) -> Result<Look, CtlError> {
    let (is_known, hint) = match wanted {
        Unknown::Service(wanted) => {
            let known = client.status("").await?.into_iter().map(|seen| (seen.service, seen.environment));
            let known: Vec<_> = known.collect();
            let is_wanted = |(name, at): &(_, _)| *name == wanted.name && *at == wanted.environment;
            (known.iter().any(is_wanted), service(wanted, known, usual))
        }
        Unknown::Host(wanted) => {
            let hosts: Vec<HostId> = client.hosts().await?.into_iter().map(|host| host.name).collect();
            (hosts.contains(wanted), host(wanted, &hosts))
        }
    };
    Ok(match hint {
        _ if is_known => Look::Known,
        Some(hint) => Look::Near(hint),
        None => Look::Unlike,
    })
}

/// A hint at the host that was meant.
pub(super) fn host(wanted: &HostId, known: &[HostId]) -> Option<String> {
    closest(wanted.as_str(), others(wanted.as_str(), known.iter().map(HostId::as_str))).map(meant)
}

/// The note of a command that waits for a name which the fleet does not have and may still get; `None` if it has it, or does not
/// say in time.
pub(super) async fn awaited(
    wanted: &Unknown,
    client: &mut Client,
    usual: Option<&EnvironmentId>,
) -> Option<String> {
    let name = match wanted {
        Unknown::Service(id) => format!("service `{id}`"),
        Unknown::Host(host) => format!("host `{host}`"),
    };
    match tokio::time::timeout(DEADLINE, look(wanted, client, usual)).await {
        Ok(Ok(Look::Near(hint))) => Some(format!("the fleet has no {name}, waiting for it; {hint}")),
        Ok(Ok(Look::Unlike)) => Some(format!("the fleet has no {name}, waiting for it")),
        Ok(Ok(Look::Known) | Err(_)) | Err(_) => None,
    }
}

fn meant(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// The names that a typing error may have turned into `wanted`. Not those that differ in digits alone: `web-1` is no error for
/// a `web-2` that is gone, and whoever removes that must not be led to the other one.
fn others<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let letters = |name: &str| name.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let wanted = letters(wanted);
    names.filter(move |name| letters(name) != wanted)
}

/// A hint at the service that was meant: a near name in the environment that was named, the same name in another one, or a near
/// one there.
fn service(
    wanted: &ServiceId,
    known: Vec<(ServiceName, EnvironmentId)>,
    usual: Option<&EnvironmentId>,
) -> Option<String> {
    let is_wanted =
        |(name, at): &(ServiceName, EnvironmentId)| *name == wanted.name && *at == wanted.environment;
    if known.iter().any(is_wanted) {
        return None; // it was created meanwhile
    }
    let shown = shortest(&known, usual);
    let near = |is_meant: &dyn Fn(&ServiceName, &EnvironmentId) -> bool| {
        let candidates = known.iter().filter(|(name, at)| is_meant(name, at)).map(|(name, _)| name.as_str());
        let name = closest(wanted.name.as_str(), others(wanted.name.as_str(), candidates))?;
        let place = known.iter().position(|(known, at)| known.as_str() == name && is_meant(known, at))?;
        shown.get(place).map(|name| meant(name))
    };
    let elsewhere = || {
        let (name, at) = known.iter().find(|(name, _)| *name == wanted.name)?;
        Some(format!("`{name}` exists in environment `{at}`"))
    };
    near(&|_, at| *at == wanted.environment).or_else(elsewhere).or_else(|| near(&|_, _| true))
}

/// Each service by the shortest name that means it.
pub(super) fn shortest(
    services: &[(ServiceName, EnvironmentId)],
    usual: Option<&EnvironmentId>,
) -> Vec<String> {
    let mut counts: BTreeMap<ServiceName, usize> = BTreeMap::new();
    services.iter().for_each(|(name, _)| *counts.entry(name.clone()).or_default() += 1);
    let short = |name: &ServiceName, environment: &EnvironmentId| match usual {
        Some(usual) => usual == environment,
        None => counts.get(name) == Some(&1),
    };
    let text = |(name, environment): &(ServiceName, EnvironmentId)| {
        if short(name, environment) { name.to_string() } else { format!("{environment}/{name}") }
    };
    services.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (ServiceName, EnvironmentId) {
        let (environment, name) = text.split_once('/').unwrap();
        (name.parse().unwrap(), environment.parse().unwrap())
    }

    #[test]
    fn the_same_name_in_another_environment_is_told() {
        let known = || vec![of("default/db"), of("staging/web")];
        let hint = service(&"stagign/web".parse().unwrap(), known(), None);
        assert_eq!(hint.as_deref(), Some("`web` exists in environment `staging`"));
        assert_eq!(service(&"default/cache".parse().unwrap(), known(), None), None);
    }

    #[test]
    fn a_host_that_differs_in_digits_is_no_suggestion() {
        let near = |wanted| closest(wanted, others(wanted, ["gpu-11", "web-1"].into_iter()));
        assert_eq!(near("gpu-12"), None);
        assert_eq!(near("gup-11"), Some("gpu-11"));
    }

    #[test]
    fn the_service_that_was_meant_is_found_by_table() {
        let staging: EnvironmentId = "staging".parse().unwrap();
        #[rustfmt::skip]
        let table = [
            ("a near name",                  "default/wbe",    &["default/web", "default/db"][..],    None,           Some("web")),
            ("nothing near",                 "default/cache",  &["default/web"],                      None,           None),
            ("the named environment first",  "staging/wbe",    &["default/web", "staging/web"],       None,           Some("staging/web")),
            ("short where that means it",    "staging/wbe",    &["default/web", "staging/web"],       Some(&staging), Some("web")),
            ("gone, and another has a number", "default/web-2", &["default/web-1", "default/web-12"], None,           None),
            ("a near name in another one",   "default/wbe",    &["staging/web"],                      None,           Some("web")),
            ("it came meanwhile",            "default/web",    &["default/web", "default/web-1"],     None,           None),
            ("a name with a hyphen",         "default/web-ipa", &["default/web-api"],                 None,           Some("web-api")),
        ];
        for (case, wanted, known, usual, want) in table {
            let known = known.iter().map(|text| of(text)).collect();
            let found = service(&wanted.parse().unwrap(), known, usual);
            assert_eq!(found, want.map(meant), "{case}");
        }
    }
}
