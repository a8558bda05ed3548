//! `version`: of this program, and of the coordinator.

use serde::Serialize;

use crate::args::{Global, VersionArgs};
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::home::HomeError;
use crate::printer::Printer;

/// The document that `version` prints.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct VersionView {
    /// Of this program.
    client: String,
    /// Of the coordinator, if there is a context and it answers.
    coordinator: Option<String>,
    /// The fleet of the context.
    fleet: Option<String>,
    /// The reason why the coordinator's is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(super) async fn run(args: &VersionArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let client = env!("CARGO_PKG_VERSION").to_owned();
    let mut view = VersionView { client, coordinator: None, fleet: None, reason: None };
    if !args.client {
        match Context::load(global) {
            Ok(context) => ask(&context, args, &mut view).await,
            Err(error @ HomeError::NoContext(_)) => view.reason = Some(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    printer.document(&view, |_| text(&view));
    let is_silent = view.fleet.is_some() && view.coordinator.is_none();
    Ok(if is_silent { Exit::Refused } else { Exit::Done })
}

async fn ask(context: &Context, args: &VersionArgs, view: &mut VersionView) {
    view.fleet = Some(context.config.fleet.to_string());
    let asked = async {
        let session = context.session().await?;
        Ok::<_, CtlError>(session.client().version().await?)
    };
    let answer = tokio::time::timeout(args.timeout.duration(), asked).await;
    match answer {
        Ok(Ok(answer)) => view.coordinator = Some(answer.version),
        Ok(Err(CtlError::Call(error))) if error.is_unimplemented() => {
            view.coordinator = Some("older than this program".to_owned());
        }
        Ok(Err(error)) => view.reason = Some(windlass_process::report::chain(&error)),
        Err(_) => view.reason = Some(format!("the coordinator did not answer within {}", args.timeout)),
    }
}

fn text(view: &VersionView) -> String {
    let mut text = format!("windlass         {}\n", view.client);
    match (&view.coordinator, &view.reason) {
        (Some(version), _) => text.push_str(&format!("windlass-server  {version}")),
        (None, Some(reason)) => text.push_str(&format!("windlass-server  unknown: {reason}")),
        (None, None) => {}
    }
    if let Some(fleet) = view.fleet.as_ref().filter(|_| view.coordinator.is_some()) {
        text.push_str(&format!(" (fleet {fleet})"));
    }
    text
}
