//! `explain`: what was decided in a rollout, and from what.

use crate::args::{ExplainArgs, Global};
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{clock, table};

pub(super) async fn run(args: &ExplainArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let session = context.session().await?;
    let mut client = session.client();
    let rollout = super::rollout::meant(&args.rollout, &context, &mut client).await?;
    let view = client.explain(&rollout).await?;
    if args.recompute {
        let again = windlass_core::view::recomputed(&view);
        printer.document(&again, |colour| table::recomputed(&again, colour));
        return Ok(if again.differing > 0 { Exit::Refused } else { Exit::Done });
    }
    printer.document(&view, |colour| table::explain(&view, clock::now(), colour));
    Ok(Exit::Done)
}
