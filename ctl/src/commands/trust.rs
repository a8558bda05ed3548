//! `trust`: who may do what.

mod change;
mod revoke;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::json;
use windlass_certs::keys::{InvalidKey, KeyId, PublicKey, SigningKey};
use windlass_certs::trust::{self, EnvironmentScope, TrustDocument};
use windlass_core::EnvironmentId;

use super::files::{read_file, write_file};
use crate::amendment::{self, Amendment, KeyRole};
use crate::args::{Global, TrustCommand};
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::shell::quote;
use crate::{signing, table};

pub(crate) use change::{ChangeError, ChangeView};
pub(crate) use revoke::RevocationsView;

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
            let revoked = RevocationsView::of(context.fleet.revocation_list(document).as_ref());
            printer.document(document, |_| {
                table::trust(document, &store.digest().to_string()) + &revoke::lines(&revoked)
            });
        }
        TrustCommand::Revoke(args) => {
            return Box::pin(revoke::revoke(args, &context, global, printer)).await;
        }
        TrustCommand::Revoked { offline } => Box::pin(revoke::revoked(offline, &context, printer)).await?,
        TrustCommand::AddKey { key, role, scope, everywhere, how } => {
            let scopes = scopes(role, scope, everywhere, global)?;
            let after = match role {
                KeyRole::Release => vec![deploy(&scopes)],
                _ => Vec::new(),
            };
            let amendment = Amendment::Add { key: public(&key)?, role, scopes };
            return Box::pin(change::change(&amendment, &how, after, &context, printer)).await;
        }
        TrustCommand::RemoveKey { key, role, revoke, how } => {
            let amendment = Amendment::Remove { key: known(&key, &context)?, role, revoke };
            return Box::pin(change::change(&amendment, &how, Vec::new(), &context, printer)).await;
        }
        TrustCommand::Rotate { old, new, how } => {
            let amendment = Amendment::Rotate { old: known(&old, &context)?, new: public(&new)? };
            return Box::pin(change::change(&amendment, &how, Vec::new(), &context, printer)).await;
        }
        TrustCommand::Renew { how } => {
            return Box::pin(change::change(&Amendment::Renew, &how, Vec::new(), &context, printer)).await;
        }
        TrustCommand::Sign { file, out, keys } => sign(&file, out, &keys, &context, printer)?,
        TrustCommand::Publish { file } => {
            let bytes = envelope(&file)?;
            let mut session = context.session().await?;
            session.fetch_trust().await?;
            if is_list(&bytes) {
                let version = revoke::publish(&mut session, bytes).await?;
                let message = format!("revocation list {version} is in force");
                printer.document(&serde_json::json!({ "version": version }), |_| message);
                return Ok(Exit::Done);
            }
            // Checked here first: what does not follow from the version in force must not leave this machine.
            let mut next = session.trust().clone();
            let is_same = next.advance(&bytes)? == trust::Advance::Unchanged;
            let expired = change::lapsed(next.document());
            if is_same {
                let version = next.version();
                let document = serde_json::json!({
                    "state": "unchanged", "version": version, "digest": next.digest(), "expired": expired,
                });
                printer.document(&document, |_| {
                    format!("unchanged: version {version} of the trust document is in force already")
                });
                expired.iter().for_each(|at| printer.note(change::expired(*at).trim_end()));
                return Ok(if expired.is_some() { Exit::Refused } else { Exit::Done });
            }
            let version = session.client().publish_trust(bytes).await?;
            session.fetch_trust().await?;
            let message = format!("version {version} of the trust document is in force");
            let document =
                serde_json::json!({ "state": "published", "version": version, "digest": next.digest() });
            printer.document(&document, |_| message);
        }
        TrustCommand::Verify { file } => {
            let mut store = context.fleet.trust()?;
            if let Some(file) = file {
                store.advance(&envelope(&file)?)?;
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
    let max_len = PayloadType::Revocation.max_len();
    if let Some(list) = Envelope::parse(&bytes, max_len).ok().filter(|_| is_list(&bytes)) {
        let out = out.unwrap_or_else(|| file.to_owned());
        return revoke::sign(list, &out, keys, context, printer);
    }
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
        Ok(_) => {
            format!(
                "complete: publish it with `windlass trust publish {}`",
                quote(&out.display().to_string())
            )
        }
        Err(error) => {
            let signed: BTreeSet<KeyId> =
                envelope.signatures().iter().filter_map(|s| s.keyid.as_deref()?.parse().ok()).collect();
            let lacks = amendment::missing(in_force.document(), &document, &signed);
            let mut text = format!("not complete yet: {}", windlass_process::report::chain(error));
            if lacks.count > 0 {
                let ids: Vec<&str> = lacks.signers.iter().map(KeyId::as_str).collect();
                text.push_str(&format!(
                    "\nNext, whoever holds one of {} runs\n  windlass trust sign {} --key ROOT_KEY_FILE",
                    ids.join(", "),
                    quote(&out.display().to_string())
                ));
            }
            text
        }
    };
    let view = serde_json::json!({
        "version": document.version, "digest": envelope.digest(), "signatures": envelope.signatures().len(),
        "complete": ready.is_ok(),
    });
    printer.document(&view, |_| format!("wrote version {} to {}; {status}", document.version, out.display()));
    Ok(())
}

/// Whether it is the envelope of a revocation list.
fn is_list(bytes: &[u8]) -> bool {
    Envelope::parse(bytes, PayloadType::Revocation.max_len())
        .is_ok_and(|envelope| envelope.payload_type() == PayloadType::Revocation)
}

/// Reads a signed trust document or list; one that nobody has signed is told apart from one that is damaged.
fn envelope(file: &Path) -> Result<Vec<u8>, CtlError> {
    let bytes = read_file(file)?;
    let most = trust::MAX_LEN.max(PayloadType::Revocation.max_len());
    if Envelope::parse(&bytes, most).is_ok() {
        return Ok(bytes);
    }
    let name = file.display().to_string();
    // A damaged envelope is reported in the words of the parser.
    let looks_signed = bytes.windows(b"\"signatures\"".len()).any(|part| part == b"\"signatures\"");
    match json::decode_bounded::<TrustDocument>(&bytes, trust::MAX_LEN) {
        Ok(_) => Err(ChangeError::NotSigned(name).into()),
        Err(_) if looks_signed => Ok(bytes),
        Err(_) => Err(ChangeError::NotTrust(name).into()),
    }
}

/// Of which environments a release key is. That it counts everywhere must be said.
fn scopes(
    role: KeyRole,
    scope: Vec<EnvironmentId>,
    everywhere: bool,
    global: &Global,
) -> Result<Vec<EnvironmentScope>, CtlError> {
    let mut environments: BTreeSet<EnvironmentId> = scope.into_iter().collect();
    let usage =
        |message: &str, hint: &str| CtlError::Usage { message: message.to_owned(), hint: hint.to_owned() };
    if role != KeyRole::Release {
        let none = environments.is_empty() && !everywhere;
        let refused = usage("only release keys are of environments", "leave --scope and --everywhere out");
        return if none { Ok(Vec::new()) } else { Err(refused) };
    }
    environments.extend(global.environment.clone().filter(|_| !everywhere));
    match (environments.is_empty(), everywhere) {
        (true, true) => Ok(vec![EnvironmentScope::Any]),
        (false, _) => Ok(environments.into_iter().map(EnvironmentScope::Only).collect()),
        (true, false) => Err(usage(
            "say of which environments it may sign releases",
            "`--env NAME`, `--scope NAME,NAME`, or `--everywhere`",
        )),
    }
}

/// The next step of the owner of a new release key.
fn deploy(scopes: &[EnvironmentScope]) -> String {
    match scopes.first() {
        Some(EnvironmentScope::Only(environment)) => format!("windlass deploy -f FILE -e {environment}"),
        Some(EnvironmentScope::Any) | None => "windlass deploy -f FILE".to_owned(),
    }
}

/// A public key as people give it: on one line, or in a file, of which a private key gives its public half.
fn public(text: &str) -> Result<PublicKey, CtlError> {
    if text.starts_with("ed25519:") {
        return PublicKey::from_line(text).map_err(|source| no_key(text, source));
    }
    let bytes = read_file(Path::new(text))?;
    let pem = std::str::from_utf8(&bytes).map_err(|_| no_key(text, InvalidKey::Malformed))?;
    if pem.contains("PRIVATE KEY") {
        return Ok(SigningKey::load(Path::new(text))?.public());
    }
    PublicKey::from_line(pem).or_else(|_| PublicKey::from_pem(pem)).map_err(|source| no_key(text, source))
}

fn no_key(text: &str, source: InvalidKey) -> CtlError {
    let text: String = text.chars().take(80).collect();
    CtlError::Usage {
        message: format!("`{text}` is not a public key: {source}"),
        hint: "`ed25519:…` as `windlass operator join` prints it, or a PEM file".to_owned(),
    }
}

/// A key of the trust document: by its id, the first digits of that, or the key itself.
fn known(text: &str, context: &Context) -> Result<KeyId, CtlError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let is_start = (8..64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_start || Path::new(text).exists() {
        return Ok(public(text)?.id().clone());
    }
    let trust = context.fleet.trust()?;
    let document = trust.document();
    let ids = amendment::all(document).map(PublicKey::id).chain(&document.revoked.keys);
    let found: BTreeSet<&KeyId> = ids.filter(|id| id.as_str().starts_with(text)).collect();
    match found.into_iter().collect::<Vec<_>>().as_slice() {
        [id] => Ok((*id).clone()),
        found => Err(CtlError::Usage {
            message: format!("{} keys of the trust document begin with `{text}`", found.len()),
            hint: "see them with `windlass trust show`".to_owned(),
        }),
    }
}

fn read_document(file: &Path, bytes: &[u8]) -> Result<TrustDocument, CtlError> {
    let document: TrustDocument =
        json::decode_bounded(bytes, trust::MAX_LEN).map_err(|source| CtlError::Usage {
            message: format!(
                "`{}` holds no trust document that this program reads: {source}",
                file.display()
            ),
            hint: "begin with the one in force: `windlass trust show -o json > next.json`".to_owned(),
        })?;
    document.validate().map_err(|source| trust::TrustError::Invalid { version: document.version, source })?;
    Ok(document)
}
