//! From manifests to rollouts that are done: prepare, sign, submit, follow.
//!
//! ```text
//! manifest ─▶ resolve the image ─▶ next counter ─▶ sign ─▶ submit ──(race: next counter)──┐
//!                                       ▲                    │                             │
//!                                       └────────────────────┼─────────────────────────────┘
//!                                                            ▼
//!                                             follow until it ends, pauses, or time is up
//! ```

mod follow;
mod outcome;
mod progress;
#[cfg(test)]
mod tests;

use std::path::Path;

use windlass_certs::keys::SigningKey;
use windlass_certs::trust::Acceptance;
use windlass_core::manifest::Rendered;
use windlass_core::release::{Release, Spec};
use windlass_core::{Counter, Digest, ServiceId};

use crate::args::{ManifestArgs, SubmitArgs};
use crate::client::Submitted;
use crate::context::Context;
use crate::error::CtlError;
use crate::manifests;
use crate::printer::Printer;
use crate::registry::Resolver;
use crate::session::Session;
use crate::signing;

pub(crate) use follow::{End, follow};
pub(crate) use outcome::{Outcome, Skipped, ending};
pub(crate) use progress::Progress;

/// The number of new counters after others were faster.
const RACES: u32 = 8;

/// The hint when that did not help.
const LOST: &str = "somebody else deploys this service at the same time: run the command again, with --supersede if \
    their rollout is to be replaced";

/// A release, complete but for its number.
#[derive(Clone)]
pub(crate) struct PendingRelease {
    /// Of which service.
    pub(crate) service: ServiceId,
    /// The service.
    pub(crate) spec: Spec,
}

/// Something signed, on its way to the coordinator.
pub(crate) struct Signed {
    /// The envelope.
    pub(crate) envelope: Vec<u8>,
    /// Only if the preview is still this one.
    pub(crate) preview: Option<Digest>,
}

/// Resolves the image of a manifest and reads the files it names.
pub(crate) async fn pending_release(
    rendered: Rendered,
    folder: &Path,
    resolver: &mut Resolver,
    printer: &Printer,
) -> Result<PendingRelease, CtlError> {
    for warning in &rendered.warnings {
        printer.warn(&warning.to_string());
    }
    let spinner =
        progress::spinner(&format!("asking {} for {}", rendered.image.registry, rendered.image), printer);
    let (bar, out) = (spinner.clone(), printer.clone());
    resolver.tell_by(move |text| bar.suspend(|| out.warn(text)));
    let image = resolver.resolve(&rendered.image).await;
    spinner.finish_and_clear();
    let image = image?;
    if rendered.image.is_newest() {
        printer.warn(&format!(
            "`{}` names no fixed version: this release is pinned to {}, and a later deploy may get another image; name a tag",
            rendered.image, image.digest
        ));
    }
    let service = rendered.service_id();
    let spec = manifests::into_spec(rendered, image, folder)?;
    Ok(PendingRelease { service, spec })
}

/// The registries that may be plain HTTP, by flag or context.
pub(crate) fn resolver(args: &ManifestArgs, context: &Context) -> Result<Resolver, CtlError> {
    let insecure = args.insecure_registries.iter().chain(&context.config.insecure_registries).cloned();
    Ok(Resolver::new(insecure.collect(), &args.platform)?)
}

/// The release that a pending release becomes next.
pub(crate) async fn number(pending: &PendingRelease, session: &Session) -> Result<Release, CtlError> {
    let info = session.client().service(&pending.service).await?;
    let author = session.operator();
    let counter = Counter(info.last_counter.saturating_add(1));
    Ok(signing::release(info.fleet, pending.service.clone(), counter, author, pending.spec.clone()))
}

/// Signs and submits a pending release. The number is taken as compare-and-swap: whoever loses takes the next one.
pub(crate) async fn submit_pending(
    pending: &PendingRelease,
    keys: &[SigningKey],
    how: SubmitArgs,
    session: &Session,
) -> Result<Submitted, CtlError> {
    let mut races = 0;
    loop {
        let release = number(pending, session).await?;
        let signed = signed(&release, signing::payload(&release), keys, None, session)?;
        match submit(signed, how, session).await {
            Err(CtlError::Call(error)) if error.is_race() && races < RACES => races += 1,
            Err(CtlError::Call(error)) if error.is_taken() => return Err(error.with_hint(LOST).into()),
            other => return other,
        }
    }
}

/// Signs a release's bytes, and checks them as a host would: better here than after a pull on ten hosts.
pub(crate) fn signed(
    release: &Release,
    payload: Vec<u8>,
    keys: &[SigningKey],
    preview: Option<Digest>,
    session: &Session,
) -> Result<Signed, CtlError> {
    let envelope = signing::sign(payload, keys);
    signing::verify(&envelope, release, session.trust().document(), Acceptance::New)?;
    Ok(Signed { envelope: envelope.to_bytes(), preview })
}

/// Gives an envelope to the coordinator.
pub(crate) async fn submit(
    signed: Signed,
    how: SubmitArgs,
    session: &Session,
) -> Result<Submitted, CtlError> {
    let mut client = session.client();
    Ok(client.submit(signed.envelope, how.supersede, how.retry_quarantined, signed.preview).await?)
}
