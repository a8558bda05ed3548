//! `quarantine`: contents that failed.

use crate::args::{Global, QuarantineCommand};
use crate::context::{Context, at_release};
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{clock, table};

pub(super) async fn run(
    command: QuarantineCommand,
    global: &Global,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let session = context.session().await?;
    let mut client = session.client();
    match command {
        QuarantineCommand::Ls { service } => {
            let wanted = match service {
                Some(name) => context.service(&name, &mut client).await?.to_string(),
                None => String::new(),
            };
            let mut found = client.quarantine(&wanted).await?;
            if let Some(environment) = global.environment.as_ref().filter(|_| wanted.is_empty()) {
                found.retain(|view| view.environment == *environment);
            }
            printer.document(&found, |colour| table::quarantine(&found, clock::now(), colour));
        }
        QuarantineCommand::Clear { service } => {
            let (name, release) = match at_release(&service) {
                Some((name, release)) => (name, Some(release)),
                None => (service.as_str(), None),
            };
            let id = context.service(name, &mut client).await?;
            let cleared = client.clear_quarantine(&id, release).await?;
            printer.document(&cleared, |_| match cleared.len() {
                0 => format!("{id}: nothing is quarantined"),
                _ => cleared
                    .iter()
                    .map(|one| {
                        format!("{id}: the content of {} may start again with its next deploy\n", one.release)
                    })
                    .collect(),
            });
        }
    }
    Ok(Exit::Done)
}
