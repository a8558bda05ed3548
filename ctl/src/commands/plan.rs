//! `plan`: what would happen, per host, with reasons.

use std::path::Path;

use serde::{Deserialize, Serialize};
use windlass_core::release::Release;
use windlass_core::view::PreviewView;
use windlass_core::{Digest, ServiceId};

use super::files::{self, DocumentError};
use crate::args::{Global, PlanArgs};
use crate::context::Context;
use crate::deploy;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::manifests::Manifests;
use crate::printer::Printer;
use crate::{signing, table};

/// Version of the file that `--save` writes.
const VERSION: u32 = 1;

/// The file that `--save` writes and `deploy --plan` reads.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedPlan {
    version: u32,
    /// Content that failed before may start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) retry_quarantined: bool,
    pub(super) releases: Vec<PlannedRelease>,
}

/// One release, not signed, and what it would do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlannedRelease {
    /// The digest of the preview that a person saw.
    pub(super) preview: Digest,
    /// The release that is signed once it is applied.
    pub(super) release: Release,
}

impl SavedPlan {
    pub(super) fn read(path: &Path) -> Result<Self, DocumentError> {
        let bytes = files::read_file(path)?;
        let not = |source| DocumentError::NotAPlan { path: path.to_owned(), source: Some(source) };
        let plan: Self = serde_json::from_slice(&bytes).map_err(not)?;
        if plan.version == VERSION {
            Ok(plan)
        } else {
            Err(DocumentError::NotAPlan { path: path.to_owned(), source: None })
        }
    }
}

pub(super) async fn run(args: &PlanArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let manifests = Manifests::load(&args.manifest, &context.environment())?;
    let mut resolver = deploy::resolver(&args.manifest, &context)?;
    let (documents, folder) = manifests.into_parts();
    let mut pending_releases = Vec::new();
    for document in documents {
        pending_releases.push(deploy::pending_release(document, &folder, &mut resolver, printer).await?);
    }
    let session = context.session().await?;
    let services: Vec<ServiceId> = pending_releases.iter().map(|pending| pending.service.clone()).collect();
    context.warn_of_new(&services, &mut session.client(), printer).await;
    let retry_quarantined = args.retry_quarantined;
    let mut views = Vec::new();
    let mut saved = SavedPlan { version: VERSION, retry_quarantined, releases: Vec::new() };
    for pending in &pending_releases {
        let release = deploy::number(pending, &session).await?;
        let view = session.client().preview(&signing::payload(&release), args.retry_quarantined).await?;
        saved.releases.push(PlannedRelease { preview: view.digest, release });
        views.push(view);
    }
    let about = context.destination(pending_releases.iter().map(|pending| &pending.service));
    let tables = |colour| {
        let tables: Vec<String> = views.iter().map(|view| table::plan(view, colour)).collect();
        format!("{about}\n{}", tables.join("\n"))
    };
    match &views[..] {
        [one] => printer.document(one, tables),
        several => printer.document(several, tables),
    }
    let exit = exit(&views);
    if let Some(path) = args.save.as_ref().filter(|_| exit == Exit::Changes) {
        // An unchanged service needs no release.
        let mut unchanged = views.iter().map(|view| view.unchanged);
        saved.releases.retain(|_| unchanged.next() == Some(false));
        files::write_json(path, &saved)?;
        printer.note(&format!("apply exactly this with `windlass deploy --plan {}`", path.display()));
    }
    Ok(exit)
}

fn exit(views: &[PreviewView]) -> Exit {
    if views.iter().any(|view| view.error.is_some()) {
        Exit::Refused
    } else if views.iter().all(|view| view.unchanged) {
        Exit::Done
    } else {
        Exit::Changes
    }
}
