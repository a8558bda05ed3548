//! `trust`: who may do what.

use std::path::{Path, PathBuf};

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::json;
use windlass_certs::keys::SigningKey;
use windlass_certs::trust::{self, TrustDocument};

use super::release::{read_file, write_file};
use crate::args::{Global, TrustCommand};
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::{signing, table};

pub(super) async fn run(command: TrustCommand, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    match command {
        TrustCommand::Show { offline } => {
            let store = if offline {
                context.fleet.trust()?
            } else {
                let mut session = context.session().await?;
                session.fetch_trust().await?;
                session.trust().clone()
            };
            let document = store.document();
            printer.document(document, |_| table::trust(document, &store.digest().to_string()));
        }
        TrustCommand::Sign { file, out, keys } => sign(&file, out, &keys, &context, printer)?,
        TrustCommand::Publish { file } => {
            let bytes = read_file(&file)?;
            let mut session = context.session().await?;
            session.fetch_trust().await?;
            // Checked here first: what does not follow from the version in force must not leave this machine.
            let mut next = session.trust().clone();
            next.advance(&bytes)?;
            let version = session.client().publish_trust(bytes).await?;
            session.fetch_trust().await?;
            let message = format!("version {version} of the trust document is in force");
            let document = serde_json::json!({ "version": version, "digest": next.digest() });
            printer.document(&document, |_| message);
        }
        TrustCommand::Verify { file } => {
            let mut store = context.fleet.trust()?;
            if let Some(file) = file {
                store.advance(&read_file(&file)?)?;
            }
            let message = format!("OK: version {} of fleet `{}`", store.version(), store.document().fleet);
            let document =
                serde_json::json!({ "ok": true, "version": store.version(), "digest": store.digest() });
            printer.document(&document, |_| message);
        }
    }
    Ok(Exit::Done)
}

/// Signs a document, or adds a signature to an envelope.
fn sign(
    file: &Path,
    out: Option<PathBuf>,
    keys: &[PathBuf],
    context: &Context,
    printer: &Printer,
) -> Result<(), CtlError> {
    let bytes = read_file(file)?;
    let keys = match keys {
        [] => vec![SigningKey::load(&context.fleet.root_key())?],
        given => given.iter().map(|path| SigningKey::load(path)).collect::<Result<_, _>>()?,
    };
    let (envelope, out) = match Envelope::parse(&bytes, trust::MAX_LEN) {
        Ok(mut envelope) => {
            for key in &keys {
                envelope.add_signature(key).map_err(signing::SignError::TooMany)?;
            }
            (envelope, out.unwrap_or_else(|| file.to_owned()))
        }
        Err(_) => {
            let out = out.ok_or_else(|| CtlError::Usage {
                message: format!("`{}` is not an envelope: a new one needs --out FILE", file.display()),
                hint: "like --out next.trust.json".to_owned(),
            })?;
            // The document is written anew, so that what people edited becomes what is signed, in one spelling.
            let document = read_document(file, &bytes)?;
            let payload =
                serde_json::to_vec(&document).expect("a trust document has string keys, so it is JSON");
            (Envelope::sign(PayloadType::Trust, payload, &keys.iter().collect::<Vec<_>>()), out)
        }
    };
    let document = read_document(file, envelope.payload_bytes())?;
    write_file(&out, &envelope.to_bytes())?;
    // Whether it can be published, by what is known here; more signatures may be on their way.
    let mut in_force = context.fleet.trust()?;
    let ready = in_force.advance(&envelope.to_bytes());
    let status = match &ready {
        Ok(_) => "complete: publish it with `windlass trust publish`".to_owned(),
        Err(error) => format!("not complete yet: {}", windlass_process::report::chain(error)),
    };
    let view = serde_json::json!({
        "version": document.version, "digest": envelope.digest(), "signatures": envelope.signatures().len(),
        "complete": ready.is_ok(),
    });
    printer.document(&view, |_| format!("wrote version {} to {}; {status}", document.version, out.display()));
    Ok(())
}

fn read_document(file: &Path, bytes: &[u8]) -> Result<TrustDocument, CtlError> {
    let document: TrustDocument = json::decode_bounded(bytes, trust::MAX_LEN)
        .map_err(|source| signing::SignError::Unreadable { file: file.display().to_string(), source })?;
    document.validate().map_err(|source| trust::TrustError::Invalid { version: document.version, source })?;
    Ok(document)
}
