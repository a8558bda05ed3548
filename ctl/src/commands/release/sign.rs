//! `release sign`: a signed release without a coordinator, or one signature more.

use std::path::Path;

use windlass_certs::trust::Acceptance;
use windlass_core::Counter;
use windlass_core::manifest::Rendered;
use windlass_core::release::Image;

use super::super::files::{read_file, write_file};
use super::document::ReleaseDocument;
use crate::args::SignArgs;
use crate::context::Context;
use crate::error::CtlError;
use crate::manifests::{self, Manifests};
use crate::printer::Printer;
use crate::{deploy, registry, signing};

pub(super) async fn run(args: &SignArgs, context: &Context, printer: &Printer) -> Result<(), CtlError> {
    match &args.envelope {
        Some(envelope) => add(envelope, args, context, printer),
        None => make(args, context, printer).await,
    }
}

/// Adds a signature to a release that others have signed.
fn add(path: &Path, args: &SignArgs, context: &Context, printer: &Printer) -> Result<(), CtlError> {
    let (mut envelope, release) = signing::read(path, &read_file(path)?)?;
    let fleet = &context.config.fleet;
    if release.fleet != *fleet {
        let (want, got) = (fleet.clone(), release.fleet);
        return Err(signing::SignError::OtherFleet { want, got }.into());
    }
    for key in signing::keys(&args.keys, context)? {
        envelope.add_signature(&key).map_err(signing::SignError::TooMany)?;
    }
    let out = args.out.as_deref().unwrap_or(path);
    write(out, &envelope, release, context, printer)
}

async fn make(args: &SignArgs, context: &Context, printer: &Printer) -> Result<(), CtlError> {
    let (Some(counter), Some(out)) = (args.counter, args.out.as_deref()) else {
        return Err(CtlError::Usage {
            message: "a new release needs --counter N and --out FILE".to_owned(),
            hint: "offline nobody can say the next number: it is the last one of the service plus one"
                .to_owned(),
        });
    };
    let (mut documents, folder) = Manifests::load(&args.manifest, &context.environment())?.into_parts();
    if documents.len() != 1 {
        return Err(CtlError::Usage {
            message: format!("one release is signed at a time, there are {} manifests", documents.len()),
            hint: "name a file with one document".to_owned(),
        });
    }
    let rendered = documents.remove(0);
    for warning in &rendered.warnings {
        printer.warn(&warning.to_string());
    }
    let image = image(&rendered, args, context, printer).await?;
    let service = rendered.service_id();
    let spec = manifests::into_spec(rendered, image, &folder)?;
    let author = author(context);
    let release = signing::release(context.config.fleet.clone(), service, Counter(counter), author, spec);
    let envelope = signing::sign(signing::payload(&release), &signing::keys(&args.keys, context)?);
    write(out, &envelope, release, context, printer)
}

/// An image that is pinned by digest needs no registry.
async fn image(
    rendered: &Rendered,
    args: &SignArgs,
    context: &Context,
    printer: &Printer,
) -> Result<Image, CtlError> {
    if rendered.image.digest.is_some() {
        return Ok(registry::offline(&rendered.image, &args.manifest.platform)?);
    }
    let (mut resolver, out) = (deploy::resolver(&args.manifest, context)?, printer.clone());
    resolver.tell_by(move |text| out.warn(text));
    Ok(resolver.resolve(&rendered.image).await?)
}

/// The author that the environment names; the signature says who answers for it.
fn author(context: &Context) -> String {
    match context.fleet.operator() {
        Ok(identity) => identity.peer().identity.name().to_owned(),
        Err(_) => std::env::var("USER").unwrap_or_else(|_| "offline".to_owned()),
    }
}

fn write(
    out: &Path,
    envelope: &windlass_certs::dsse::Envelope,
    release: windlass_core::release::Release,
    context: &Context,
    printer: &Printer,
) -> Result<(), CtlError> {
    let mut bytes = envelope.to_bytes();
    bytes.push(b'\n');
    write_file(out, &bytes)?;
    let trust = context.fleet.trust()?;
    let document = ReleaseDocument::of(envelope, release, trust.document(), Acceptance::New);
    if let Some(problem) = &document.problem {
        printer.warn(&format!("hosts would not take it yet: {problem}"));
    }
    printer.document(&document, |_| {
        format!(
            "wrote {} {} to {}\ndigest {}\n",
            document.release.service_id(),
            document.release.counter,
            out.display(),
            document.digest
        )
    });
    Ok(())
}
