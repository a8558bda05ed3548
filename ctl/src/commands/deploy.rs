//! `deploy`: sign, submit, follow until a final state.

use std::path::Path;

use windlass_core::ServiceId;

use super::plan::{self, SavedPlan};
use crate::args::{DeployArgs, FollowArgs, Global, PlanArgs};
use crate::client::Submitted;
use crate::context::Context;
use crate::deploy::{self, End, Outcome, Progress, Signed};
use crate::error::CtlError;
use crate::exit::Exit;
use crate::manifests::Manifests;
use crate::printer::Printer;
use crate::session::Session;
use crate::signing;

pub(super) async fn run(args: &DeployArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    if args.dry_run {
        if args.plan.is_some() || !args.releases.is_empty() {
            return Err(CtlError::Usage {
                message: "--dry-run previews manifests".to_owned(),
                hint: "name one with `-f`".to_owned(),
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
    let mut drafts = Vec::new();
    for document in documents {
        drafts.push(deploy::draft(document, &folder, &mut resolver, printer).await?);
    }
    let mut session = context.session().await?;
    session.fetch_trust().await?;
    for draft in drafts {
        let submitted = deploy::submit_draft(&draft, &keys, args.submit, &session).await?;
        let exit = finish(&draft.service, submitted, args.follow, &mut session, printer).await?;
        if exit != Exit::Done {
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
    for release in plan.releases {
        let payload = signing::payload(&release.release);
        let signed = deploy::signed(&release.release, payload, &keys, Some(release.preview), &session)?;
        let submitted = deploy::submit(signed, args.submit, &session).await?;
        let service = release.release.service_id();
        let exit = finish(&service, submitted, args.follow, &mut session, printer).await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

/// Submits what `release sign` wrote.
async fn signed(args: &DeployArgs, context: &Context, printer: &Printer) -> Result<Exit, CtlError> {
    let mut releases = Vec::new();
    for path in &args.releases {
        releases.push(signing::read(path, &super::release::read_file(path)?)?);
    }
    let mut session = context.session().await?;
    session.fetch_trust().await?;
    for (envelope, release) in releases {
        let trust = session.trust().document();
        signing::verify(&envelope, &release, trust, windlass_certs::trust::Acceptance::New)?;
        let signed = Signed { envelope: envelope.to_bytes(), preview: None };
        let submitted = deploy::submit(signed, args.submit, &session).await?;
        let exit = finish(&release.service_id(), submitted, args.follow, &mut session, printer).await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

/// Follows what was submitted, and says how it ended. Also for `rollback`.
pub(super) async fn finish(
    service: &ServiceId,
    submitted: Submitted,
    how: FollowArgs,
    session: &mut Session,
    printer: &Printer,
) -> Result<Exit, CtlError> {
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
    let mut progress = Progress::new(printer);
    let end = Box::pin(deploy::follow(&rollout, how.timeout.duration(), session, &mut progress)).await;
    drop(progress);
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
            printer.ending(&view, exit);
            exit
        }
        End::Timeout(view) => {
            goes_on(printer, "the timeout passed");
            let mut outcome = view.map_or(submitted.clone(), |view| Outcome::of(&view));
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
