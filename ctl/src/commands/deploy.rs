//! `deploy`: sign, submit, follow until a final state.

mod series;

use std::path::Path;

use windlass_core::ServiceId;

use super::plan::{self, SavedPlan};
use crate::args::{DeployArgs, FollowArgs, Global, PlanArgs, SubmitArgs};
use crate::client::Submitted;
use crate::context::Context;
use crate::deploy::{self, End, Outcome, Progress, Signed, Skipped, ending};
use crate::error::CtlError;
use crate::exit::Exit;
use crate::manifests::Manifests;
use crate::printer::Printer;
use crate::session::Session;
use crate::signing;

use series::Series;

/// The hint for a stale plan.
const STALE: &str =
    "the state changed since the plan was made: plan again with `windlass plan -f FILE --save PLAN`";

pub(super) async fn run(args: &DeployArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    if args.dry_run {
        if args.plan.is_some() || !args.releases.is_empty() {
            return Err(CtlError::Usage {
                message: "--dry-run previews manifests".to_owned(),
                hint: "name one with `-f`; a saved plan was looked at when it was made, and `windlass release show FILE` \
                       shows a signed release"
                    .to_owned(),
            });
        }
        let retry_quarantined = args.submit.retry_quarantined;
        let plan = PlanArgs { manifest: args.manifest.clone(), retry_quarantined, save: None };
        return Box::pin(plan::run(&plan, global, printer)).await;
    }
    let context = Context::load(global)?;
    if let Some(path) = &args.plan {
        return Box::pin(planned(path, args, &context, printer)).await;
    }
    if !args.releases.is_empty() {
        return Box::pin(signed(args, &context, printer)).await;
    }
    let manifests = Manifests::load(&args.manifest, &context.environment())?;
    let keys = signing::keys(&args.keys, &context)?;
    let mut resolver = deploy::resolver(&args.manifest, &context)?;
    let (documents, folder) = manifests.into_parts();
    // Every image and file first: a typo in the last manifest must not leave the first one deployed.
    let mut pending_releases = Vec::new();
    for document in documents {
        pending_releases.push(deploy::pending_release(document, &folder, &mut resolver, printer).await?);
    }
    let mut session = context.session().await?;
    session.fetch_trust().await?;
    let services: Vec<ServiceId> = pending_releases.iter().map(|pending| pending.service.clone()).collect();
    printer.note(&context.destination(&services));
    context.warn_of_new(&services, &mut session.client(), printer).await;
    let mut series = Series::new(&services, args.follow.detach);
    for (pending, rest) in pending_releases.iter().zip(rests(&services)) {
        let submitted = deploy::submit_pending(pending, &keys, args.submit, &session).await;
        let submitted = submitted.inspect_err(|_| skip(rest, &pending.service, printer))?;
        let exit = finish(&pending.service, submitted, args.follow, rest, &mut session, printer).await?;
        if !series.goes_on(&pending.service, exit, printer) {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

/// Applies what `plan --save` wrote, exactly.
async fn planned(
    path: &Path,
    args: &DeployArgs,
    context: &Context,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    let plan = SavedPlan::read(path)?;
    let keys = signing::keys(&args.keys, context)?;
    let mut session = context.session().await?;
    session.fetch_trust().await?;
    let services: Vec<ServiceId> = plan.releases.iter().map(|release| release.release.service_id()).collect();
    printer.note(&context.destination(&services));
    let mut series = Series::new(&services, args.follow.detach);
    for ((release, service), rest) in plan.releases.iter().zip(&services).zip(rests(&services)) {
        let payload = signing::payload(&release.release);
        let submitted = async {
            let signed = deploy::signed(&release.release, payload, &keys, Some(release.preview), &session)?;
            let retry_quarantined = args.submit.retry_quarantined || plan.retry_quarantined;
            deploy::submit(signed, SubmitArgs { retry_quarantined, ..args.submit }, &session).await
        };
        let submitted = submitted.await.map_err(|error| match error {
            CtlError::Call(error) if error.is_taken() || error.is_stale() => error.with_hint(STALE).into(),
            other => other,
        });
        let submitted = submitted.inspect_err(|_| skip(rest, service, printer))?;
        let exit = finish(service, submitted, args.follow, rest, &mut session, printer).await?;
        if !series.goes_on(service, exit, printer) {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

/// Submits what `release sign` wrote.
async fn signed(args: &DeployArgs, context: &Context, printer: &Printer) -> Result<Exit, CtlError> {
    let mut releases = Vec::new();
    for path in &args.releases {
        releases.push(signing::read(path, &super::files::read_file(path)?)?);
    }
    let mut session = context.session().await?;
    session.fetch_trust().await?;
    let services: Vec<ServiceId> = releases.iter().map(|(_, release)| release.service_id()).collect();
    printer.note(&context.destination(&services));
    let mut series = Series::new(&services, args.follow.detach);
    for (((envelope, release), service), rest) in releases.iter().zip(&services).zip(rests(&services)) {
        let submitted = async {
            let trust = session.trust().document();
            signing::verify(envelope, release, trust, windlass_certs::trust::Acceptance::New)?;
            let signed = Signed { envelope: envelope.to_bytes(), preview: None };
            deploy::submit(signed, args.submit, &session).await
        };
        let submitted = match submitted.await {
            Err(CtlError::Call(error)) if error.is_taken() => {
                Err(error.with_hint(&number_again(service, &session).await).into())
            }
            other => other,
        };
        let submitted = submitted.inspect_err(|_| skip(rest, service, printer))?;
        let exit = finish(service, submitted, args.follow, rest, &mut session, printer).await?;
        if !series.goes_on(service, exit, printer) {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

/// The hint for a release whose number is not the next one.
async fn number_again(service: &ServiceId, session: &Session) -> String {
    let info = session.client().service(service).await;
    let next = info.map_or_else(|_| "N".to_owned(), |info| info.last_counter.saturating_add(1).to_string());
    format!("its number is not the next one of `{service}`: sign it again with --counter {next}")
}

/// Of every service, those that come after it.
fn rests(services: &[ServiceId]) -> impl Iterator<Item = &[ServiceId]> {
    (1..=services.len()).map(|next| services.get(next..).unwrap_or_default())
}

/// Says which services are not submitted, because this one did not end well.
fn skip(rest: &[ServiceId], because: &ServiceId, printer: &Printer) {
    if rest.is_empty() {
        return;
    }
    let skipped: Vec<String> = rest.iter().map(ToString::to_string).collect();
    printer.note(&format!("not submitted, because of {because}: {}", skipped.join(", ")));
    printer.line(&Skipped { skipped, because: because.to_string() });
}

/// Follows what was submitted, and says how it ended, and that the `rest` is not submitted if it did not end well.
/// Also for `rollback`.
pub(super) async fn finish(
    service: &ServiceId,
    submitted: Submitted,
    how: FollowArgs,
    rest: &[ServiceId],
    session: &mut Session,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    submitted.warnings.iter().for_each(|warning| printer.warn(warning));
    let Some(rollout) = submitted.rollout.clone().filter(|_| !how.detach) else {
        let outcome = Outcome::submitted(service, &submitted);
        match &submitted.rollout {
            None => printer.result(&format!("{service}: nothing to change, it is at {}", submitted.release)),
            Some(rollout) => printer.result(&format!(
                "{service}: rollout {rollout} to {} goes on; follow it with `windlass rollout watch {rollout}`",
                submitted.release
            )),
        }
        printer.line(&outcome);
        return Ok(Exit::Done);
    };
    let mut progress = Progress::new(printer, how.timeout.duration());
    let end = Box::pin(deploy::follow(&rollout, how.timeout.duration(), session, &mut progress)).await;
    drop(progress);
    if !matches!(end, Ok(End::Final(Exit::Done, _))) {
        skip(rest, service, printer);
    }
    Ok(ended(end?, Outcome::submitted(service, &submitted), printer))
}

/// Says how following ended.
pub(super) fn ended(end: End, submitted: Outcome, printer: &Printer) -> Exit {
    let goes_on = |printer: &Printer, why: &str| {
        let rollout = submitted.rollout.as_ref().map(ToString::to_string).unwrap_or_default();
        printer.note(&format!("{why}; the rollout goes on: `windlass rollout watch {rollout}`"));
    };
    match end {
        End::Final(exit, view) => {
            printer.ending(&Outcome::of(&view), exit, |colour| ending(&view, exit, colour));
            exit
        }
        End::Timeout(view) => {
            goes_on(printer, "the timeout passed");
            let mut outcome = view.map_or(submitted.clone(), |view| Outcome::of(&view));
            outcome.outcome = Some("timeout".to_owned());
            outcome.reason = Some("the timeout passed; the rollout goes on".to_owned());
            printer.line(&outcome);
            Exit::Timeout
        }
        End::Interrupted => {
            goes_on(printer, "interrupted");
            Exit::Interrupted
        }
    }
}
