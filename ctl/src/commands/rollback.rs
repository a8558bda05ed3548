//! `rollback`: to the last good release, or to a named one.

use super::deploy::finish;
use crate::args::{Global, RollbackArgs};
use crate::client::{CallError, Submitted};
use crate::context::{Context, at_release};
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{clock, table};

pub(super) async fn run(args: &RollbackArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let mut session = context.session().await?;
    let mut client = session.client();
    let (name, at) = match at_release(&args.service) {
        Some((name, release)) => (name, Some(release)),
        None => (args.service.as_str(), None),
    };
    if at.is_some() && args.to.is_some() && at != args.to {
        return Err(CtlError::Usage {
            message: format!("`{}` and --to name two releases", args.service),
            hint: "leave one of them away".to_owned(),
        });
    }
    let service = context.service(name, &mut client).await?;
    // Only for the words; a coordinator that does not say leaves them out.
    let known = match printer.is_structured() {
        true => Vec::new(),
        false => client.releases(&service).await.unwrap_or_default(),
    };
    let to = at.or(args.to);
    // A script goes back at once, and is warned.
    let ask = printer.is_attended() && !printer.is_structured() && !global.yes;
    let answer = client.rollback(&service, to, ask).await;
    let submitted = match answer.as_ref().err().and_then(CallError::question) {
        Some((question, release)) => {
            printer.confirm(&format!("{question}. Roll back?"), false)?;
            // It was said in the question.
            Submitted { warnings: Vec::new(), ..client.rollback(&service, Some(release), false).await? }
        }
        None => answer?,
    };
    if submitted.rollout.is_some()
        && let Some(line) = table::going_back(&known, submitted.release, clock::now())
    {
        printer.note(&format!("{service}: {line}"));
    }
    finish(&service, submitted, args.follow, &[], &mut session, printer).await
}
