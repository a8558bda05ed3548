//! `init`: makes a fleet, offline.
//!
//! Everything is made in two temporary folders beside their places and then renamed, so that a run that was cut off
//! leaves nothing that looks like a fleet.

mod layout;
mod wanted;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use windlass_certs::ca::{CertificateAuthority, Leaf};
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::identity::{Grant, Identity};
use windlass_certs::keys::SigningKey;
use windlass_certs::trust::{EnvironmentScope, ReleaseRole, RoleKeys, Roles, TrustDocument};
use windlass_core::{Digest, FleetId, OperatorName, Timestamp};

use crate::args::{Global, InitArgs};
use crate::clock;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::home::{ContextConfig, Home};
use crate::printer::Printer;
use crate::shell::quote;

use wanted::Keys;
pub(crate) use wanted::{InitError, Wanted};

/// The lifetime of the first trust document, for new releases.
const TRUST_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);

/// The result of `init`.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct Made {
    /// The fleet.
    pub(crate) fleet: FleetId,
    /// The context that was made, and is the current one now.
    pub(crate) context: String,
    /// The context that was the current one before, if that is another.
    pub(crate) previous_context: Option<String>,
    /// The address of the coordinator.
    pub(crate) server: String,
    /// The operator's folder.
    pub(crate) home: PathBuf,
    /// The coordinator's folder.
    pub(crate) server_dir: PathBuf,
    /// Name in the operator certificate.
    pub(crate) operator: OperatorName,
    /// Until when that counts.
    pub(crate) operator_expires_at: Timestamp,
    /// Until when new releases are taken under the trust document.
    pub(crate) trust_expires_at: Timestamp,
    /// SHA-256 of the CA certificate.
    pub(crate) ca_fingerprint: Digest,
}

pub(super) fn run(args: &InitArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let server = global.server.clone().ok_or_else(|| CtlError::Usage {
        message: "`init` needs --server HOST:PORT".to_owned(),
        hint: "it is where agents and operators will reach the coordinator, like 127.0.0.1:7443".to_owned(),
    })?;
    let context = global.context.clone().unwrap_or_else(|| args.fleet.to_string());
    let wanted = Wanted { args, server, context, environment: global.environment.clone() };
    let made = make(&Home::find()?, &wanted)?;
    printer.document(&made, |_| summary(&made));
    if let Some(previous) = &made.previous_context {
        printer.note(&format!(
            "\nThe current context is `{}` now; it was `{previous}`. Back with: windlass context use {}",
            made.context,
            quote(previous)
        ));
    }
    Ok(Exit::Done)
}

/// Makes a fleet.
pub(crate) fn make(home: &Home, wanted: &Wanted<'_>) -> Result<Made, CtlError> {
    let args = wanted.args;
    check_server(&wanted.server)?;
    let mut config = home.config()?;
    if let Some(known) = config.contexts.get(&wanted.context) {
        let (name, fleet) = (wanted.context.clone(), known.fleet.clone());
        return Err(InitError::ContextExists { name, fleet }.into());
    }
    let fleet_home = home.fleet(&args.fleet);
    layout::refuse_existing(fleet_home.path())?;
    layout::refuse_existing(&args.server_dir)?;

    let now = clock::now();
    let keys = Keys::generate()?;
    let ca = CertificateAuthority::generate(args.fleet.clone(), now)?;
    let document = trust(wanted, &keys, &ca, now);
    document.validate().map_err(InitError::Trust)?;
    let payload = serde_json::to_vec(&document).expect("a trust document has string keys, so it is JSON");
    let trust = Envelope::sign(PayloadType::Trust, payload, &[&keys.root]).to_bytes();
    let name = args.operator.clone().unwrap_or_else(login_name);
    let mut leaf = Leaf::operator(Identity::operator(args.fleet.clone(), &name), Grant::admin(), 1);
    if let Some(lifetime) = args.lifetimes.iter().find(|lifetime| lifetime.role == "operator") {
        leaf.validity = lifetime.span.duration();
    }
    let operator = ca.issue_new(&leaf, now)?;
    let operator_expires_at = operator.peer().not_after;

    let parts = layout::Parts { keys: &keys, ca: &ca, trust: &trust, operator: &operator };
    layout::write(fleet_home.path(), &args.server_dir, wanted, &parts)?;
    let context = ContextConfig {
        fleet: args.fleet.clone(),
        server: wanted.server.clone(),
        environment: wanted.environment.clone(),
        insecure_registries: args.insecure_registries.clone(),
        release_keys: Vec::new(),
    };
    config.contexts.insert(wanted.context.clone(), context);
    let previous_context = config.current.replace(wanted.context.clone());
    home.save(&config)?;
    Ok(Made {
        previous_context,
        fleet: args.fleet.clone(),
        context: wanted.context.clone(),
        server: wanted.server.clone(),
        home: home.path().to_owned(),
        server_dir: args.server_dir.clone(),
        operator: name,
        operator_expires_at,
        trust_expires_at: document.expires_at,
        ca_fingerprint: ca.fingerprint(),
    })
}

fn trust(wanted: &Wanted<'_>, keys: &Keys, ca: &CertificateAuthority, now: Timestamp) -> TrustDocument {
    let one = |key: &SigningKey| RoleKeys { keys: vec![key.public()], threshold: 1 };
    let release = ReleaseRole {
        environment: EnvironmentScope::Any,
        services: None,
        keys: vec![keys.release.public()],
        threshold: 1,
        retired: Vec::new(),
    };
    TrustDocument {
        fleet: wanted.args.fleet.clone(),
        version: 1,
        epoch: 1,
        created_at: now,
        expires_at: now + TRUST_VALIDITY,
        root: one(&keys.root),
        roles: Roles {
            release: vec![release],
            dispatch: one(&keys.dispatch),
            audit: one(&keys.audit),
            revoke: Some(one(&keys.revoke)),
        },
        hosts: Default::default(),
        ca: vec![ca.fingerprint()],
        coordinators: vec![wanted.server.clone()],
        floors: Default::default(),
        revoked: Default::default(),
    }
}

fn check_server(server: &str) -> Result<(), CtlError> {
    let port = server.rsplit_once(':').map(|(host, port)| (!host.is_empty(), port.parse::<u16>()));
    match port {
        Some((true, Ok(port))) if port > 0 => Ok(()),
        _ => Err(CtlError::Usage {
            message: format!("`{}` is not `host:port`", server.chars().take(80).collect::<String>()),
            hint: "like --server 127.0.0.1:7443".to_owned(),
        }),
    }
}

/// The login name, where it is a name of ours.
fn login_name() -> OperatorName {
    let from = |name: &str| std::env::var(name).ok().and_then(|name| name.to_lowercase().parse().ok());
    from("USER").or_else(|| from("LOGNAME")).unwrap_or_else(|| "admin".parse().expect("a name"))
}

fn summary(made: &Made) -> String {
    let home = made.home.display();
    let server_dir = made.server_dir.display().to_string();
    let (folder, server_dir) = (server_dir.clone(), quote(&server_dir));
    let listen = layout::listen(&made.server);
    format!(
        "Made fleet `{fleet}`.\n\n  \
         keys and contexts   {home}\n                      \
         root.key, release.key and revoke.key stay here; take root.key offline for production\n  \
         coordinator         {folder}\n                      \
         CA, dispatch and audit keys, the trust document; never a root, release or revoke key\n  \
         operator            {operator}, until {until} (renews by itself)\n  \
         trust document      version 1, until {trust}\n\n\
         Next:\n  \
         windlass-server --data {server_dir} --listen {listen}\n  \
         windlass host token HOST --label role=app",
        fleet = made.fleet,
        operator = made.operator,
        until = made.operator_expires_at.to_the_second(),
        trust = made.trust_expires_at.to_the_second(),
    )
}
