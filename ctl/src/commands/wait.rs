//! `wait`: until the coordinator answers, and hosts can take slots. For scripts, and for `dev`.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_core::observation::EngineState;
use windlass_core::view::HostView;
use windlass_core::{HostId, Span};
use windlass_process::report::chain;

use super::near;
use crate::args::{Global, WaitArgs};
use crate::client::Client;
use crate::context::Context;
use crate::error::{CtlError, Failure};
use crate::exit::Exit;
use crate::home::{ContextConfig, FleetHome};
use crate::printer::Printer;
use crate::session::{Session, SessionError};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// The reason of a host that nobody knows.
const NOT_JOINED: &str = "it has not joined";

/// The document of a wait that ended in time.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub(super) struct WaitView {
    /// The coordinator that answers.
    server: String,
    /// The hosts that are ready.
    hosts: Vec<HostId>,
}

/// The reason why a wait ended at its timeout.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WaitError {
    #[error("the coordinator at `{server}` did not answer within {after}")]
    Coordinator {
        server: String,
        after: Span,
        #[source]
        source: Box<SessionError>,
    },
    #[error("host `{host}` is not ready after {after}: {why}")]
    Host { host: HostId, after: Span, why: String, near: Option<String> },
}

impl Failure for WaitError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Coordinator { .. } => {
                Some("its log says why it does not run; wait longer with `--timeout 2m`".to_owned())
            }
            Self::Host { host, why, near, .. } if why == NOT_JOINED => {
                let join = format!("join it: `windlass host token {host}`, then `windlass-agent join` there");
                Some(near.iter().cloned().chain([join]).collect::<Vec<_>>().join(" Else "))
            }
            Self::Host { host, .. } => {
                Some(format!("see `windlass host show {host}`, and the log of its agent"))
            }
        }
    }

    fn exit(&self) -> Exit {
        Exit::Timeout
    }
}

pub(super) async fn run(args: &WaitArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let deadline = Instant::now() + args.timeout.duration();
    let session = answering(&context.fleet, &context.config, (deadline, args.timeout)).await?;
    let mut client = session.client();
    for host in &args.hosts {
        let mut is_told = false;
        loop {
            let hosts = client.hosts().await?;
            let Err(why) = among(&hosts, host) else { break };
            let names: Vec<HostId> = hosts.into_iter().map(|host| host.name).collect();
            let near = near::host(host, &names).filter(|_| why == NOT_JOINED);
            // It may still join, so that a near name is no error before the timeout.
            if let Some(hint) = near.as_ref().filter(|_| !is_told) {
                printer.note(&format!("host `{host}` has not joined, waiting for it; {hint}"));
                is_told = true;
            }
            if Instant::now() >= deadline {
                return Err(WaitError::Host { host: host.clone(), after: args.timeout, why, near }.into());
            }
            sleep(PAUSE).await;
        }
    }
    let hosts: Vec<String> = args.hosts.iter().map(|host| format!("`{host}`")).collect();
    let text = match hosts.as_slice() {
        [] => format!("the coordinator at {} answers", context.config.server),
        hosts => format!("ready: {}", hosts.join(", ")),
    };
    printer.done(&WaitView { server: context.config.server, hosts: args.hosts.clone() }, &text);
    Ok(Exit::Done)
}

/// Connects as soon as the coordinator answers. Only that nobody can be reached there is waited out.
pub(super) async fn answering(
    fleet: &FleetHome,
    config: &ContextConfig,
    (deadline, after): (Instant, Span),
) -> Result<Session, CtlError> {
    loop {
        match Box::pin(Session::open(fleet, config)).await {
            Ok(session) => return Ok(session),
            Err(source @ SessionError::Connect(_)) if Instant::now() >= deadline => {
                let (server, source) = (config.server.clone(), Box::new(source));
                return Err(WaitError::Coordinator { server, after, source }.into());
            }
            Err(error @ SessionError::Connect(_)) => tracing::debug!(error = chain(&error), "not yet"),
            Err(error) => return Err(error.into()),
        }
        sleep(PAUSE).await;
    }
}

/// Whether a host can take slots now; else why not.
pub(super) async fn readiness(client: &mut Client, host: &HostId) -> Result<Result<(), String>, CtlError> {
    Ok(among(&client.hosts().await?, host))
}

fn among(hosts: &[HostView], host: &HostId) -> Result<(), String> {
    hosts.iter().find(|seen| seen.name == *host).map_or_else(|| Err(NOT_JOINED.to_owned()), of)
}

fn of(host: &HostView) -> Result<(), String> {
    match &host.engine {
        // Its agent sends its version when it connects for the first time.
        _ if host.last_seen.is_none() && host.agent_version.is_empty() => {
            Err("it has joined but never connected: start `windlass-agent run` there".to_owned())
        }
        _ if host.state != "connected" => Err(format!("it is {}", host.state)),
        EngineState::Available => Ok(()),
        EngineState::Unknown => Err("its engine was not asked yet".to_owned()),
        EngineState::Unavailable(why) => Err(format!("its engine does not answer: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{NOT_JOINED, WaitError, of};
    use crate::error::Failure as _;
    use crate::table::tests::{host_view, view};

    #[test]
    fn a_host_that_nobody_knows_is_told_to_join() {
        let error = |why: &str| WaitError::Host {
            host: "web-3".parse().unwrap(),
            after: windlass_core::Span::from_millis(3000),
            why: why.to_owned(),
            near: None,
        };
        let hint = error(NOT_JOINED).hint().unwrap();
        assert!(hint.contains("windlass host token web-3") && !hint.contains("host show"), "{hint}");
        assert!(error("it is lost").hint().unwrap().contains("windlass host show web-3"));
    }

    #[test]
    fn a_host_that_never_connected_is_told_to_start_its_agent() {
        let mut host = host_view("web-1", "lost");
        host["last_seen"] = Value::Null;
        assert_eq!(of(&view(host.clone())), Err("it is lost".to_owned()), "its agent told its version once");
        host["agent_version"] = json!("");
        let why = of(&view(host)).unwrap_err();
        assert!(why.contains("never connected") && why.contains("windlass-agent run"), "{why}");
    }
}
