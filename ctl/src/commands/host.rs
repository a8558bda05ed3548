//! `host`: join, look, take out of service.

use std::collections::BTreeMap;

use serde::Serialize;
use windlass_certs::join::Terms;
use windlass_core::{HostId, Timestamp};

use crate::args::{Global, HostCommand, Label, LabelArgs};
use crate::client::{Client, HostAction};
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::invitation::Wanted;
use crate::printer::Printer;
use crate::{clock, table};

use super::recover;

/// The effect of an eviction or a ban on the containers of the host.
const GOES_ON: &str =
    "Its containers keep running until somebody stops them, and replacements start elsewhere at once";

/// The document of `host token`.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(super) struct HostToken {
    /// The host it is for.
    host: HostId,
    /// The token. It works once.
    token: String,
    /// Until when.
    expires_at: Timestamp,
}

pub(super) async fn run(command: HostCommand, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    if let HostCommand::Evict { host } | HostCommand::Ban { host } = &command {
        let back = match command {
            HostCommand::Ban { .. } => "may never join again",
            _ => "may join again with a new token",
        };
        let question = format!("Revoke the certificate of `{host}`? {GOES_ON}. It {back}.");
        printer.confirm(&question, global.yes)?;
    }
    let mut session = context.session().await?;
    let mut client = session.client();
    match command {
        HostCommand::Token { host, labels } => {
            let labels: BTreeMap<String, String> =
                labels.into_iter().map(|Label { key, value }| (key, value)).collect();
            let (answer, expires_at) = client.host_token(&host, labels.clone()).await?;
            let terms = Terms { labels: Some(labels), ..Terms::default() };
            let wanted = Wanted { name: host.clone(), terms };
            let token = session.invite(&answer, expires_at, wanted, &context.config.server).await?;
            let made = HostToken { host, token: token.to_string(), expires_at };
            printer.document(&made, |_| made.token.clone());
        }
        HostCommand::Ls => {
            let hosts = client.hosts().await?;
            printer.document(&hosts, |colour| table::hosts(&hosts, clock::now(), colour));
        }
        HostCommand::Show { host } => {
            let view = client.host(&host).await?;
            let history = client.host_history(&host).await?;
            let plots = history.map(|history| table::history(&history)).unwrap_or_default();
            printer.document(&view, |_| table::host(&view, clock::now()) + &plots);
        }
        HostCommand::Label(args) => label(&args, &client.host(&args.host).await?, printer)?,
        HostCommand::Drain { host, attend } => {
            return Box::pin(super::drain::run(&host, attend, session, printer)).await;
        }
        HostCommand::Cordon { host } => steer(&host, HostAction::Cordon, &mut client, printer).await?,
        HostCommand::Uncordon { host } => steer(&host, HostAction::Uncordon, &mut client, printer).await?,
        HostCommand::Recover { keep_store, look } => {
            return recover::run(&keep_store, look, &mut client, global, printer).await;
        }
        HostCommand::Evict { host } => steer(&host, HostAction::Evict, &mut client, printer).await?,
        HostCommand::Ban { host } => steer(&host, HostAction::Ban, &mut client, printer).await?,
    }
    Ok(Exit::Done)
}

/// Shows the labels of a host. They are pinned on the host, so other ones take another join.
fn label(args: &LabelArgs, view: &windlass_core::view::HostView, printer: &Printer) -> Result<(), CtlError> {
    let differs = |label: &Label| view.labels.get(&label.key) != Some(&label.value);
    if args.labels.iter().any(differs) {
        let mut wanted = view.labels.clone();
        wanted.extend(args.labels.iter().map(|Label { key, value }| (key.clone(), value.clone())));
        let flags: Vec<String> = wanted
            .iter()
            .map(|(key, value)| format!(" --label {}", crate::shell::quote(&format!("{key}={value}"))))
            .collect();
        let host = &args.host;
        return Err(CtlError::Usage {
            message: format!("the labels of `{host}` are pinned on the host: it has those it joined with"),
            hint: format!(
                "let it join again in place: windlass host token {host}{}; then on the host stop the agent, and into a new folder: \
                 windlass-agent join --token TOKEN --data NEW_FOLDER; start the agent there. What runs on it stays where placements \
                 still match; move away first what may not stay: windlass host drain {host}, and at last: windlass host uncordon {host}",
                flags.concat()
            ),
        });
    }
    printer.document(&view.labels, |_| {
        let lines: Vec<String> = view.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        if lines.is_empty() { "no labels".to_owned() } else { lines.join("\n") }
    });
    Ok(())
}

async fn steer(
    host: &HostId,
    action: HostAction,
    client: &mut Client,
    printer: &Printer,
) -> Result<(), CtlError> {
    let view = client.steer_host(host, action).await?;
    printer.document(&view, |_| steered(host, view.slots, action));
    Ok(())
}

/// The result of a command to a host, in one line.
fn steered(host: &HostId, slots: u32, action: HostAction) -> String {
    let kept = match slots {
        0 => "it has no slots".to_owned(),
        1 => "it keeps its 1 slot".to_owned(),
        n => format!("it keeps its {n} slots"),
    };
    match action {
        HostAction::Cordon => format!("{host} is unschedulable; {kept}"),
        HostAction::Drain | HostAction::Unspecified => format!("{host} is draining"),
        HostAction::Uncordon => format!("{host} is schedulable"),
        HostAction::Evict => format!("{host} is evicted: its certificate is revoked. {GOES_ON}."),
        HostAction::Ban => format!("{host} is banned: its certificate is revoked for good. {GOES_ON}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_to_a_host_prints_one_line() {
        let host: HostId = "web-1".parse().unwrap();
        let of = |slots, action| steered(&host, slots, action);
        assert_eq!(of(3, HostAction::Cordon), "web-1 is unschedulable; it keeps its 3 slots");
        assert_eq!(of(1, HostAction::Cordon), "web-1 is unschedulable; it keeps its 1 slot");
        assert_eq!(of(0, HostAction::Cordon), "web-1 is unschedulable; it has no slots");
        assert_eq!(of(3, HostAction::Uncordon), "web-1 is schedulable");
        assert!(of(3, HostAction::Evict).starts_with("web-1 is evicted: its certificate is revoked."));
        assert!(of(3, HostAction::Ban).lines().count() == 1);
    }
}
