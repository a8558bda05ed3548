//! `trust revoke`: the next revocation list, of the newest one and what is named. `trust revoked` shows it.

mod view;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use windlass_certs::dsse::{Envelope, PayloadType, VerifyError};
use windlass_certs::identity::{Identity, InvalidPeer, PeerIdentity, Serial};
use windlass_certs::keys::{KeyId, SigningKey};
use windlass_certs::revocation::{ListError, RevocationList, RevokedSet};
use windlass_certs::trust::TrustDocument;
use windlass_core::FleetId;

use super::super::files::{read_file, write_file};
use crate::args::{Global, RevokeArgs};
use crate::clock;
use crate::context::Context;
use crate::error::{CtlError, Failure};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::session::Session;
use crate::shell::quote;

pub(crate) use view::RevocationsView;
pub(super) use view::lines;
use view::{steps, text};

/// The reason why nothing was revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevokeError {
    #[error("`{0}` names no certificate and no member")]
    Unknown(String),
    #[error("`{file}` holds no certificate of a member")]
    NoMember {
        file: String,
        #[source]
        source: InvalidPeer,
    },
    #[error("the certificate is one of fleet `{0}`")]
    OtherFleet(FleetId),
    #[error("a coordinator is not revoked by its name: no other one could ever have it")]
    Coordinator,
    #[error("there is no revoke key here: `{0}` does not exist")]
    NoKey(PathBuf),
    #[error("the trust document does not let the key {0} sign revocation lists")]
    NotRevoker(KeyId),
    #[error("the list is not one that the fleet takes")]
    List(#[from] ListError),
    #[error("no newer revocation list can be counted: the last number is used up")]
    UsedUp,
}

impl Failure for RevokeError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown(_) | Self::NoMember { .. } => {
                "a serial number (hex), a file with the certificate, `operator/NAME` or `host/NAME`"
                    .to_owned()
            }
            Self::Coordinator => "by the serial number of the certificate, or the file with it".to_owned(),
            Self::OtherFleet(_) => "choose the context with --context".to_owned(),
            Self::NoKey(_) => "name it with --key FILE, or run this where it is".to_owned(),
            Self::NotRevoker(_) => {
                "see who may, `revoke` (or else `root`), with `windlass trust show`".to_owned()
            }
            Self::List(ListError::Stale { .. }) => {
                "fetch the newest with `windlass trust revoked`, and try again".to_owned()
            }
            Self::List(_) => return None,
            Self::UsedUp => "replace the revoke key and raise the epoch of the trust document".to_owned(),
        })
    }
}

/// Adds what is named to the newest list.
pub(super) async fn revoke(
    args: RevokeArgs,
    context: &Context,
    global: &Global,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    let mut session = match args.out {
        Some(_) => None,
        None => Some(context.session().await?),
    };
    if let Some(session) = &mut session {
        session.fetch_trust().await?;
    }
    let trust = context.fleet.trust()?;
    let trust = trust.document();
    let named = named(&args, &trust.fleet)?;
    let last = context.fleet.last_revocation_list(trust);
    let Some(list) = next(last.as_ref(), named, trust)? else {
        let view = RevocationsView { state: "unchanged", ..RevocationsView::of(last.as_ref()) };
        printer.document(&view, |_| text(&view));
        return Ok(Exit::Done);
    };
    let keys = keys(&args.keys, context, trust)?;
    let question = format!("Revoke {}? That is for good.", args.what.join(", "));
    printer.confirm(&question, global.yes)?;
    let payload = serde_json::to_vec(&list).expect("only string keys, so it is JSON");
    let envelope = Envelope::sign(PayloadType::Revocation, payload, &keys.iter().collect::<Vec<_>>());
    let have = last.map(|last| last.version);
    let is_complete = complete(RevocationList::open(&envelope.to_bytes(), trust, have))?;
    let mut view = RevocationsView { digest: Some(envelope.digest()), ..RevocationsView::of(Some(&list)) };
    let file =
        args.out.or_else(|| (!is_complete).then(|| format!("revocations-{}.json", list.version).into()));
    match (file, session) {
        (None, Some(mut session)) => {
            publish(&mut session, envelope.to_bytes()).await.map(|_| view.state = "published")?
        }
        (file, _) => {
            let file = file.unwrap_or_else(|| format!("revocations-{}.json", list.version).into());
            write_file(&file, &envelope.to_bytes())?;
            (view.state, view.next) = following(&file, is_complete);
            view.file = Some(file.display().to_string());
        }
    }
    printer.document(&view, |_| text(&view));
    Ok(Exit::Done)
}

/// Shows the newest list that counts.
pub(super) async fn revoked(offline: bool, context: &Context, printer: &Printer) -> Result<(), CtlError> {
    if !offline {
        context.session().await?.fetch_trust().await?;
    }
    let trust = context.fleet.trust()?;
    let view = RevocationsView::of(context.fleet.revocation_list(trust.document()).as_ref());
    printer.document(&view, |_| text(&view));
    Ok(())
}

/// Gives a list to the coordinator, and keeps it here too.
pub(super) async fn publish(session: &mut Session, envelope: Vec<u8>) -> Result<u64, CtlError> {
    let version = session.client().publish_trust(envelope).await?;
    session.fetch_trust().await?;
    Ok(version)
}

/// Adds signatures to a list that others have signed.
pub(super) fn sign(
    mut envelope: Envelope,
    out: &Path,
    given: &[PathBuf],
    context: &Context,
    printer: &Printer,
) -> Result<(), CtlError> {
    let trust = context.fleet.trust()?;
    for key in keys(given, context, trust.document())? {
        envelope.add_signature(&key).map_err(crate::signing::SignError::TooMany)?;
    }
    let bytes = envelope.to_bytes();
    let is_complete = complete(RevocationList::open(&bytes, trust.document(), None))?;
    write_file(out, &bytes)?;
    let (state, next) = following(out, is_complete);
    let view = serde_json::json!({ "state": state, "digest": envelope.digest(), "next": next });
    printer.document(&view, |_| {
        format!("wrote {}, {}\n{}", out.display(), state.replace('_', " "), steps(&next))
    });
    Ok(())
}

/// Whether enough keys have signed; other faults are errors.
fn complete(opened: Result<RevocationList, ListError>) -> Result<bool, RevokeError> {
    match opened {
        Ok(_) => Ok(true),
        Err(ListError::Verify(VerifyError::BelowThreshold { .. })) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn following(file: &Path, is_complete: bool) -> (&'static str, Vec<String>) {
    let name = file.display().to_string();
    let name = quote(&name);
    let publish = format!("windlass trust publish {name}");
    match is_complete {
        true => ("signed", vec![publish]),
        false => {
            ("needs_signatures", vec![format!("windlass trust sign {name} --key REVOKE_KEY_FILE"), publish])
        }
    }
}

/// The certificates that the command line names.
fn named(args: &RevokeArgs, fleet: &FleetId) -> Result<RevokedSet, CtlError> {
    let mut set = RevokedSet::default();
    let up_to = args.up_to.unwrap_or(u64::MAX);
    for what in &args.what {
        let unknown = || RevokeError::Unknown(what.chars().take(80).collect());
        if let Some((role, name)) = what.split_once('/').filter(|(role, _)| !Path::new(role).exists()) {
            let who = match role {
                "operator" => Identity::operator(fleet.clone(), &name.parse().map_err(|_| unknown())?),
                "host" => Identity::agent(fleet.clone(), name.parse().map_err(|_| unknown())?),
                "coordinator" => return Err(RevokeError::Coordinator.into()),
                _ if Path::new(what).exists() => {
                    set.serials.insert(of_file(what, fleet)?);
                    continue;
                }
                _ => return Err(unknown().into()),
            };
            set.identities.insert(who, up_to);
        } else if Path::new(what).exists() {
            set.serials.insert(of_file(what, fleet)?);
        } else {
            let digits = what.replace(':', "").to_lowercase();
            set.serials.insert(digits.parse().map_err(|_| unknown())?);
        }
    }
    Ok(set)
}

fn of_file(file: &str, fleet: &FleetId) -> Result<Serial, CtlError> {
    let bytes = read_file(Path::new(file))?;
    let peer = PeerIdentity::from_pem(&String::from_utf8_lossy(&bytes))
        .map_err(|source| RevokeError::NoMember { file: file.to_owned(), source })?;
    if peer.identity.fleet() != fleet {
        return Err(RevokeError::OtherFleet(peer.identity.fleet().clone()).into());
    }
    Ok(peer.serial)
}

/// The list after `last`, with what is named. None if that is revoked already.
fn next(
    last: Option<&RevocationList>,
    named: RevokedSet,
    trust: &TrustDocument,
) -> Result<Option<RevocationList>, RevokeError> {
    let before = last.map(|list| list.revoked.clone()).unwrap_or_default();
    let mut revoked = before.clone();
    revoked.serials.extend(named.serials);
    for (who, up_to) in named.identities {
        let known = revoked.identities.entry(who).or_default();
        *known = up_to.max(*known);
    }
    if revoked == before {
        return Ok(None);
    }
    let version = last.map_or(0, |list| list.version).checked_add(1).ok_or(RevokeError::UsedUp)?;
    Ok(Some(RevocationList { fleet: trust.fleet.clone(), version, issued_at: clock::now(), revoked }))
}

/// The keys that are named, else the home folder's; each of them may sign lists.
fn keys(given: &[PathBuf], context: &Context, trust: &TrustDocument) -> Result<Vec<SigningKey>, CtlError> {
    let own = match trust.roles.revoke {
        Some(_) => [context.fleet.revoke_key()],
        None => [context.fleet.root_key()],
    };
    let files = if given.is_empty() { &own[..] } else { given };
    let allowed = trust.revoke_keys();
    let mut keys = BTreeMap::new();
    for file in files {
        if !file.exists() {
            return Err(RevokeError::NoKey(file.clone()).into());
        }
        let key = SigningKey::load(file)?;
        if !allowed.contains(key.id()) {
            return Err(RevokeError::NotRevoker(key.id().clone()).into());
        }
        keys.insert(key.id().clone(), key);
    }
    Ok(keys.into_values().collect())
}
