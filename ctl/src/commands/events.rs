//! `events`: what happened in the fleet.

use crate::args::{EventsArgs, Global};
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::table::printable;

pub(super) async fn run(args: &EventsArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let session = context.session().await?;
    let mut stream = session.client().events(args.tail.min(1000), args.follow).await?;
    while let Some(event) = stream.next().await? {
        if printer.is_structured() {
            printer.line(&event);
        } else {
            let message = printable(&event.message);
            printer.text(&format!("{}  {:<22} {:<28} {message}", event.at, event.kind, event.subject));
        }
    }
    Ok(Exit::Done)
}
