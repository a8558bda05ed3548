//! `operator recover`: the way back for an operator whose certificate can be renewed no more, when nobody is left to
//! invite them. Offline: whoever has the CA's folder and a root key may make any certificate anyway; nothing is asked of
//! the coordinator, which takes what its CA signed.

use std::path::{Path, PathBuf};

use windlass_certs::ca::{CertificateAuthority, Leaf};
use windlass_certs::identity::{Grant, Identity};
use windlass_certs::keys::SigningKey;
use windlass_core::OperatorName;

use super::document::OperatorJoined;
use super::error::OperatorError;
use crate::args::Global;
use crate::clock;
use crate::commands::trust::ChangeError;
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;

pub(super) fn run(
    ca: &Path,
    key: Option<PathBuf>,
    name: Option<OperatorName>,
    global: &Global,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let (fleet, trust) = (&context.fleet, context.fleet.trust()?);
    let key = key.unwrap_or_else(|| fleet.root_key());
    if !key.exists() {
        return Err(ChangeError::NoRootKey(key).into());
    }
    let root = SigningKey::load(&key)?;
    if !trust.document().root.keys.contains(&root.public()) {
        return Err(ChangeError::NotRoot(root.id().clone()).into());
    }
    if !ca.is_dir() {
        return Err(CtlError::Usage {
            message: format!("there is no folder `{}` of the CA", ca.display()),
            hint: "it is `ca` in the coordinator's folder, like --ca server/ca; or in its backup".to_owned(),
        });
    }
    let authority = CertificateAuthority::load(ca)?;
    if !trust.document().ca.contains(&authority.fingerprint()) {
        return Err(OperatorError::OtherCa(ca.to_owned()).into());
    }
    let old = fleet
        .operator()
        .ok()
        .and_then(|old| Some((old.peer().identity.operator_name()?, old.peer().generation)));
    let name =
        name.or_else(|| old.as_ref().map(|(name, _)| name.clone())).ok_or_else(|| CtlError::Usage {
            message: "there was no operator here: say who".to_owned(),
            hint: "like `--name alice`".to_owned(),
        })?;
    // Above the last one, so that the coordinator sees the same operator go on.
    let generation = old.filter(|(known, _)| *known == name).map_or(1, |(_, last)| last.saturating_add(1));
    let leaf =
        Leaf::operator(Identity::operator(context.config.fleet.clone(), &name), Grant::admin(), generation);
    let identity = authority.issue_new(&leaf, clock::now())?;
    fleet.save_operator(&identity)?;
    let made = OperatorJoined {
        fleet: context.config.fleet.clone(),
        context: context.name.clone(),
        operator: name.to_string(),
        grant: Grant::admin().to_string(),
        expires_at: identity.peer().not_after,
        release_key: None,
        next: vec!["windlass host ls".to_owned()],
    };
    printer.document(&made, |_| {
        format!(
            "You are `{}` in fleet `{}` again: {}, until {} (renews by itself).\n\nNext:\n  windlass host ls\n",
            made.operator, made.fleet, made.grant, made.expires_at
        )
    });
    Ok(Exit::Done)
}
