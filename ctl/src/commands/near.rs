//! "Did you mean": the name nearest to one that the fleet does not have. Asked for only after a command failed, so that no
//! command pays for it, and all of them have it.

use std::error::Error;
use std::fmt::{self, Display};
use std::time::Duration;

use windlass_core::manifest::closest;
use windlass_core::{EnvironmentId, HostId, ServiceId, ServiceName};

use super::complete::shortest;
use crate::args::Global;
use crate::context::Context;
use crate::error::{CtlError, Failure};
use crate::exit::Exit;
use crate::unknown::Unknown;

/// Longest wait for the names of the fleet: the command has failed already.
const DEADLINE: Duration = Duration::from_secs(2);

/// The error of a command, with the name that was meant.
#[derive(Debug)]
struct Misspelt {
    error: Box<CtlError>,
    near: String,
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
        Some(format!("did you mean `{}`?", self.near))
    }

    fn exit(&self) -> Exit {
        self.error.exit()
    }
}

/// The error, with the name that was meant if it is about a name that the fleet does not have, and another one is near.
pub(super) async fn suggested(error: CtlError, global: &Global) -> CtlError {
    let Some(unknown) = error.unknown() else { return error };
    match tokio::time::timeout(DEADLINE, nearest(&unknown, global)).await {
        Ok(Ok(Some(near))) => Misspelt { error: Box::new(error), near }.into(),
        // Only for the words: a coordinator that does not say leaves the hint as it was.
        Ok(Ok(None) | Err(_)) | Err(_) => error,
    }
}

async fn nearest(unknown: &Unknown, global: &Global) -> Result<Option<String>, CtlError> {
    let context = Context::load(global)?;
    let session = context.session().await?;
    let mut client = session.client();
    Ok(match unknown {
        Unknown::Service(wanted) => {
            let known = client.status("").await?.into_iter().map(|seen| (seen.service, seen.environment));
            let usual = global.environment.as_ref().or(context.config.environment.as_ref());
            service(wanted, known.collect(), usual)
        }
        Unknown::Host(wanted) => {
            let hosts: Vec<HostId> = client.hosts().await?.into_iter().map(|host| host.name).collect();
            let names = hosts.iter().map(HostId::as_str).filter(|name| *name != wanted.as_str());
            closest(wanted.as_str(), names).map(str::to_owned)
        }
    })
}

/// The service that was meant: a name that is near in the environment that was named, the same name in another one, or a near
/// one there.
fn service(
    wanted: &ServiceId,
    known: Vec<(ServiceName, EnvironmentId)>,
    usual: Option<&EnvironmentId>,
) -> Option<String> {
    let is_wanted =
        |(name, at): &(ServiceName, EnvironmentId)| *name == wanted.name && *at == wanted.environment;
    if known.iter().any(is_wanted) {
        return None; // it came meanwhile
    }
    let shown = shortest(&known, usual);
    let near = |is_meant: &dyn Fn(&ServiceName, &EnvironmentId) -> bool| {
        let candidates = known.iter().filter(|(name, at)| is_meant(name, at)).map(|(name, _)| name.as_str());
        let name = closest(wanted.name.as_str(), candidates)?;
        let place = known.iter().position(|(known, at)| known.as_str() == name && is_meant(known, at))?;
        shown.get(place).cloned()
    };
    near(&|_, at| *at == wanted.environment)
        .or_else(|| near(&|name, _| *name == wanted.name))
        .or_else(|| near(&|_, _| true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_that_was_meant_is_found_by_table() {
        let of = |text: &str| {
            let (environment, name) = text.split_once('/').unwrap();
            (name.parse().unwrap(), environment.parse().unwrap())
        };
        let staging: EnvironmentId = "staging".parse().unwrap();
        #[rustfmt::skip]
        let table = [
            ("a near name",                  "default/wbe",    &["default/web", "default/db"][..],    None,           Some("web")),
            ("nothing near",                 "default/cache",  &["default/web"],                      None,           None),
            ("the named environment first",  "staging/wbe",    &["default/web", "staging/web"],       None,           Some("staging/web")),
            ("short where that means it",    "staging/wbe",    &["default/web", "staging/web"],       Some(&staging), Some("web")),
            ("the name in another one",      "stagign/web",    &["default/db", "staging/web"],        None,           Some("web")),
            ("its environment is said",      "staging/api",    &["default/api", "default/web"],       Some(&staging), Some("default/api")),
            ("a near name in another one",   "default/wbe",    &["staging/web"],                      None,           Some("web")),
            ("it came meanwhile",            "default/web",    &["default/web", "default/web-1"],     None,           None),
            ("a name with a hyphen",         "default/web-ipa", &["default/web-api"],                 None,           Some("web-api")),
        ];
        for (case, wanted, known, usual, want) in table {
            let known = known.iter().map(|text| of(text)).collect();
            let found = service(&wanted.parse().unwrap(), known, usual);
            assert_eq!(found.as_deref(), want, "{case}");
        }
    }
}
