//! Changes of the trust document in one command: the newest version, edited, signed with the root keys at hand, and given
//! to the coordinator, or written down for whoever signs next.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::keys::{KeyId, SigningKey};
use windlass_certs::trust::{TrustDocument, TrustError, TrustStore};
use windlass_core::{Digest, Span, Timestamp};

use super::super::files::write_file;
use crate::amendment::{Amendment, Missing, missing};
use crate::args::ChangeArgs;
use crate::clock;
use crate::context::Context;
use crate::error::{CtlError, Failure};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::shell::quote;
use crate::signing::RENEW;

/// `trust renew` without `--expires`.
const RENEWED: Span = Span::from_secs(365 * 24 * 3600);

/// The reason why the trust document was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error("there is no root key here: `{0}` does not exist")]
    NoRootKey(PathBuf),
    #[error("the key {0} is no root key, of this version or the next")]
    NotRoot(KeyId),
    #[error("the trust document has expired, and so would its next version")]
    Expired,
    #[error("`{0}` is not signed")]
    NotSigned(String),
    #[error("`{0}` is neither a trust document nor a revocation list")]
    NotTrust(String),
}

impl Failure for ChangeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoRootKey(_) => Some("name it with --key FILE, or run this where it is".to_owned()),
            Self::NotRoot(_) => Some("see who is with `windlass trust show`".to_owned()),
            Self::Expired => Some(format!("say until when it is to count, like `--expires 365d`; or {RENEW}")),
            Self::NotTrust(_) => Some(
                "name the file that `windlass trust sign`, or `add-key`, `renew` or `revoke` with --out has written".to_owned(),
            ),
            Self::NotSigned(file) => {
                let out = Path::new(file).with_extension("trust.json");
                Some(format!(
                    "run: windlass trust sign {} --out {}",
                    quote(file),
                    quote(&out.display().to_string())
                ))
            }
        }
    }
}

/// The document of `trust add-key`, `remove-key` and `rotate`.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct ChangeView {
    /// `unchanged`, `published`, `signed` (written down, complete) or `needs_signatures`.
    pub(crate) state: &'static str,
    /// The version: in force, or to be.
    pub(crate) version: u64,
    /// Digest of its payload.
    pub(crate) digest: Digest,
    /// The end of its time, if that has passed: no new release is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expired: Option<Timestamp>,
    /// The changes against the version before, in words.
    pub(crate) changes: Vec<String>,
    /// The file, unless it was published.
    pub(crate) file: Option<String>,
    /// The number of missing signatures.
    pub(crate) missing: usize,
    /// Ids of the root keys that can give them.
    pub(crate) signers: Vec<String>,
    /// The commands that come next.
    pub(crate) next: Vec<String>,
}

/// Changes the newest trust document. `after` are the commands that make sense once it is in force.
pub(super) async fn change(
    amendment: &Amendment,
    how: &ChangeArgs,
    after: Vec<String>,
    context: &Context,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    let mut session = match how.out {
        Some(_) => None,
        None => Some(context.session().await?),
    };
    let in_force = match &mut session {
        Some(session) => {
            session.fetch_trust().await?;
            session.trust().clone()
        }
        None => context.fleet.trust()?,
    };
    let (document, changes) = amended(&in_force, amendment, how)?;
    let mut view = ChangeView {
        state: "unchanged",
        version: in_force.version(),
        digest: in_force.digest(),
        expired: lapsed(in_force.document()),
        changes,
        file: None,
        missing: 0,
        signers: Vec::new(),
        next: after,
    };
    let Some(document) = document else {
        printer.document(&view, |_| text(&view));
        return Ok(Exit::Done);
    };
    view.expired = None;
    let keys = root_keys(how, context, &in_force, &document)?;
    let payload = serde_json::to_vec(&document).expect("a trust document has string keys, so it is JSON");
    let envelope = Envelope::sign(PayloadType::Trust, payload, &keys.iter().collect::<Vec<_>>());
    let signed: BTreeSet<KeyId> = keys.iter().map(|key| key.id().clone()).collect();
    let Missing { count, signers } = missing(in_force.document(), &document, &signed);
    (view.version, view.digest, view.missing) = (document.version, envelope.digest(), count);
    view.signers = signers.iter().map(ToString::to_string).collect();
    let bytes = envelope.to_bytes();
    if count == 0 {
        // Checked here first: what does not follow from the version in force must not leave this machine.
        in_force.clone().advance(&bytes)?;
    }
    match (&mut session, count) {
        (Some(session), 0) => {
            session.client().publish_trust(bytes).await?;
            session.fetch_trust().await?;
            view.state = "published";
        }
        (_, count) => {
            let file = how.out.clone().unwrap_or_else(|| format!("trust-{}.json", document.version).into());
            write_file(&file, &bytes)?;
            let name = file.display().to_string();
            let publish = format!("windlass trust publish {}", quote(&name));
            let sign = format!("windlass trust sign {} --key ROOT_KEY_FILE", quote(&name));
            view.state = if count == 0 { "signed" } else { "needs_signatures" };
            view.next = if count == 0 { vec![publish] } else { vec![sign, publish] };
            view.file = Some(name);
        }
    }
    printer.document(&view, |_| text(&view));
    Ok(Exit::Done)
}

/// The next version, and what is different. None if nothing is.
fn amended(
    in_force: &TrustStore,
    amendment: &Amendment,
    how: &ChangeArgs,
) -> Result<(Option<TrustDocument>, Vec<String>), CtlError> {
    let mut next = in_force.document().clone();
    let mut changes = amendment.apply(&mut next)?;
    let now = clock::now();
    let renewed = matches!(amendment, Amendment::Renew).then_some(RENEWED);
    if let Some(span) = how.expires.or(renewed) {
        next.expires_at = now + span.duration();
        changes.push(format!("new releases are taken until {}", next.expires_at));
    }
    if changes.is_empty() {
        return Ok((None, changes));
    }
    next.version += 1;
    next.created_at = now.max(in_force.document().created_at);
    if next.expires_at <= next.created_at {
        return Err(ChangeError::Expired.into());
    }
    next.validate().map_err(|source| TrustError::Invalid { version: next.version, source })?;
    Ok((Some(next), changes))
}

/// The root keys that are named, else the home folder's.
fn root_keys(
    how: &ChangeArgs,
    context: &Context,
    in_force: &TrustStore,
    next: &TrustDocument,
) -> Result<Vec<SigningKey>, CtlError> {
    let own = [context.fleet.root_key()];
    let files = if how.keys.is_empty() { &own[..] } else { &how.keys };
    let mut keys = Vec::new();
    for file in files {
        if !file.exists() {
            return Err(ChangeError::NoRootKey(file.clone()).into());
        }
        let key = SigningKey::load(file)?;
        let is_root =
            [in_force.document(), next].iter().any(|document| document.root.keys.contains(&key.public()));
        if !is_root {
            return Err(ChangeError::NotRoot(key.id().clone()).into());
        }
        keys.push(key);
    }
    Ok(keys)
}

/// The end of the document's time, if that has passed.
pub(super) fn lapsed(document: &TrustDocument) -> Option<Timestamp> {
    (!document.accepts_new_releases(clock::now())).then_some(document.expires_at)
}

/// A warning of a document that has expired.
pub(super) fn expired(at: Timestamp) -> String {
    format!("warning: it expired at {at}: no new release is taken\nhint: {RENEW}\n")
}

fn text(view: &ChangeView) -> String {
    let mut text = match view.state {
        "unchanged" => {
            format!("nothing to change: version {} of the trust document says so already\n", view.version)
                + &view.expired.map_or_else(String::new, expired)
        }
        "published" => format!("version {} of the trust document is in force\n", view.version),
        "signed" => {
            format!("wrote version {} to {}, signed\n", view.version, view.file.as_deref().unwrap_or("-"))
        }
        _ => format!(
            "wrote version {} to {}: {} more signature{} needed, of the root keys {}\n",
            view.version,
            view.file.as_deref().unwrap_or("-"),
            view.missing,
            if view.missing == 1 { " is" } else { "s are" },
            view.signers.join(", "),
        ),
    };
    view.changes.iter().for_each(|change| text.push_str(&format!("  {change}\n")));
    match (view.state, view.next.as_slice()) {
        (_, []) => {}
        ("needs_signatures", [sign, publish]) => text.push_str(&format!(
            "\nNext, whoever holds one of these keys runs\n  {sign}\nand, once it is complete, an admin\n  {publish}\n"
        )),
        (_, next) => {
            text.push_str("\nNext:\n");
            next.iter().for_each(|command| text.push_str(&format!("  {command}\n")));
        }
    }
    text
}
