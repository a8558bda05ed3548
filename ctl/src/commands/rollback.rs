//! `rollback`: to the last good release, or to a named one.

use super::deploy::finish;
use crate::args::{Global, RollbackArgs};
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;

pub(super) async fn run(args: &RollbackArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let mut session = context.session().await?;
    let mut client = session.client();
    let service = context.service(&args.service, &mut client).await?;
    let submitted = client.rollback(&service, args.to).await?;
    finish(&service, submitted, args.follow, &[], &mut session, printer).await
}
