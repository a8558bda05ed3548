//! `operator`: who may do what in the fleet. Keys are made where they are used: what passes between two people is
//! a token that works once.

mod document;
mod error;
mod recover;

use std::io::Read as _;
use std::time::Duration;

use windlass_certs::csr::{Asked, CertifiedIdentity, TlsKey};
use windlass_certs::identity::{Grant, Identity, OperatorRole};
use windlass_certs::join::{MAX_LEN, OperatorToken, Terms};
use windlass_certs::keys::{PublicKey, SigningKey};
use windlass_certs::trust::{EnvironmentScope, TrustDocument, TrustError, TrustStore};
use windlass_core::{EnvironmentId, OperatorName};

use crate::amendment::{Amendment, KeyRole};
use crate::args::{Global, OperatorCommand, OperatorJoinArgs};
use crate::client;
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::home::{ContextConfig, FleetHome, Home};
use crate::invitation::Wanted;
use crate::printer::Printer;
use crate::shell::quote;
use crate::{clock, table};

pub(crate) use document::{OperatorJoined, OperatorTokenView};
use error::OperatorError;

/// By how much the clock of this machine may be ahead of the admin's.
const SKEW: Duration = Duration::from_secs(5 * 60);

pub(super) async fn run(
    command: OperatorCommand,
    global: &Global,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    match command {
        OperatorCommand::Join(args) => join(&args, global, printer).await,
        OperatorCommand::Invite { name, role, scope, everywhere } => {
            let grant = grant(role, scope, everywhere, global)?;
            add(name, grant, global, printer).await
        }
        OperatorCommand::Recover { ca, key, name } => recover::run(&ca, key, name, global, printer),
        OperatorCommand::Ls => {
            let session = Context::load(global)?.session().await?;
            let operators = session.client().operators().await?;
            printer.document(&operators, |colour| table::operators(&operators, clock::now(), colour));
            Ok(Exit::Done)
        }
        OperatorCommand::Revoke { name, unknown } => {
            let context = Context::load(global)?;
            let question = format!(
                "Revoke operator `{name}`? All certificates and tokens are revoked, and connections \
                 are cut."
            );
            printer.confirm(&question, global.yes)?;
            let session = context.session().await?;
            let view = session.client().revoke_operator(&name, unknown).await?;
            let views = [view];
            printer.document(&views[0], |colour| table::operators(&views, clock::now(), colour));
            printer.note(
                "A release key of theirs is another thing: `windlass trust show` lists the keys, `windlass trust remove-key \
                 KEY` takes one out.",
            );
            Ok(Exit::Done)
        }
    }
}

/// A role and where it counts. That it counts everywhere must be said.
fn grant(
    role: OperatorRole,
    scope: Vec<EnvironmentId>,
    everywhere: bool,
    global: &Global,
) -> Result<Grant, CtlError> {
    let mut environments: std::collections::BTreeSet<EnvironmentId> = scope.into_iter().collect();
    environments.extend(global.environment.clone().filter(|_| !everywhere));
    match (environments.is_empty(), everywhere) {
        (true, true) => Ok(Grant { role, environments: None }),
        (false, false) => Ok(Grant { role, environments: Some(environments) }),
        (false, true) | (true, false) => Err(CtlError::Usage {
            message: format!("say where `{role}` counts"),
            hint: "`--env NAME`, `--scope NAME,NAME`, or `--everywhere`; admins who are to change hosts, operators or \
                   trust need --everywhere"
                .to_owned(),
        }),
    }
}

async fn add(name: OperatorName, grant: Grant, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let mut session = context.session().await?;
    let (answer, expires_at) = session.client().add_operator(&name, &grant.to_string()).await?;
    let terms = Terms { grant: Some(grant.clone()), ..Terms::default() };
    let wanted = Wanted { name: name.clone(), terms };
    let token = session.invite(&answer, expires_at, wanted, &context.config.server).await?;
    let made = OperatorTokenView {
        operator: name,
        grant: grant.to_string(),
        next: format!("windlass operator join {token}"),
        token: token.to_string(),
        expires_at,
    };
    printer.document(&made, |_| made.token.clone());
    printer.note(&format!(
        "`{}` becomes {} with it, once, until {}, at {}.\nNext, on their machine:\n  {}",
        made.operator,
        made.grant,
        made.expires_at,
        token.terms().server.as_deref().unwrap_or(&context.config.server),
        made.next
    ));
    Ok(Exit::Done)
}

async fn join(args: &OperatorJoinArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let given = args.given.as_ref().or(args.token.as_ref()).map_or("-", String::as_str);
    let token = OperatorToken::parse(&read_token(given)?).map_err(OperatorError::from)?;
    let server = global.server.clone().or_else(|| token.terms().server.clone());
    let server = server.ok_or_else(|| CtlError::Usage {
        message: "the token does not say where the coordinator is".to_owned(),
        hint: "name it with --server HOST:PORT; the admin who made the token knows it".to_owned(),
    })?;
    if let Some(until) = token.terms().expires_at.filter(|until| clock::now() > *until + SKEW) {
        return Err(OperatorError::Over(until).into());
    }
    let home = Home::find()?;
    let fleet = home.fleet(token.fleet());
    if let Ok(identity) = fleet.operator()
        && !args.replace
    {
        let name = identity.peer().identity.name().to_owned();
        return Err(OperatorError::Exists { fleet: token.fleet().clone(), name }.into());
    }
    let context = global.context.clone().unwrap_or_else(|| token.fleet().to_string());
    let mut config = home.config()?;
    if let Some(known) = config.contexts.get(&context).filter(|known| &known.fleet != token.fleet()) {
        let fleet = known.fleet.clone();
        return Err(OperatorError::ContextExists { name: context, fleet }.into());
    }
    // On disk before it is used: a join whose answer was lost is tried again with the same key.
    let key = fleet.joining_key()?;
    let (identity, trust) = enrol(&token, key, &server, &fleet).await?;
    fleet.save_operator(&identity)?;
    fleet.joined();
    let known = config.contexts.remove(&context);
    let settings = ContextConfig {
        fleet: token.fleet().clone(),
        server,
        environment: global
            .environment
            .clone()
            .or_else(|| known.as_ref().and_then(|k| k.environment.clone())),
        insecure_registries: known.as_ref().map(|k| k.insecure_registries.clone()).unwrap_or_default(),
        release_keys: known.map(|k| k.release_keys).unwrap_or_default(),
    };
    config.contexts.insert(context.clone(), settings);
    let previous = config.current.replace(context.clone()).filter(|previous| *previous != context);
    home.save(&config)?;
    let peer = identity.peer();
    let key = release_key(&fleet, peer.grant.as_ref())?;
    let made = OperatorJoined {
        fleet: token.fleet().clone(),
        context,
        operator: peer.identity.name().to_owned(),
        grant: peer.grant.as_ref().map(Grant::to_string).unwrap_or_default(),
        expires_at: peer.not_after,
        release_key: key.as_ref().map(PublicKey::to_pem),
        next: next(key.as_ref(), peer.grant.as_ref(), trust.document()),
    };
    printer.document(&made, |_| summary(&made, &fleet));
    if let Some(previous) = previous {
        printer.note(&format!(
            "The context was `{previous}`; back with `windlass context use {}`.",
            quote(&previous)
        ));
    }
    Ok(Exit::Done)
}

async fn enrol(
    token: &OperatorToken,
    key: TlsKey,
    server: &str,
    fleet: &FleetHome,
) -> Result<(CertifiedIdentity, TrustStore), CtlError> {
    let answer = client::join_operator(token, &key, server).await?;
    let trust = believe(token, &answer.trust)?;
    let mine = Identity::operator(token.fleet().clone(), token.name());
    let asked = Asked { identity: &mine, grant: token.terms().grant.as_ref(), ca_pins: &trust.document().ca };
    let identity =
        CertifiedIdentity::issued(key, &answer.chain, asked).map_err(OperatorError::Certificate)?;
    for (version, envelope) in (1..=trust.version()).zip(&answer.trust) {
        fleet.save_trust(version, envelope)?;
    }
    Ok((identity, trust))
}

/// Walks from the version that the token pins to the newest; the token's CA must be among those it names.
fn believe(token: &OperatorToken, envelopes: &[Vec<u8>]) -> Result<TrustStore, OperatorError> {
    let (first, rest) =
        envelopes.split_first().ok_or(OperatorError::Trust(TrustError::Gap { have: 0, got: 0 }))?;
    let mut trust =
        TrustStore::pinned(token.fleet(), token.trust_pin(), first).map_err(OperatorError::Trust)?;
    trust.walk(rest.iter().map(Vec::as_slice)).map_err(OperatorError::Trust)?;
    if trust.document().ca.contains(&token.ca_pin()) { Ok(trust) } else { Err(OperatorError::WrongCa) }
}

/// An operator who may deploy needs a key to sign with. It is made here, and only its public half leaves.
fn release_key(fleet: &FleetHome, grant: Option<&Grant>) -> Result<Option<PublicKey>, CtlError> {
    let path = fleet.release_key();
    if !path.exists() {
        if grant.is_none_or(|grant| grant.role < OperatorRole::Deployer) {
            return Ok(None);
        }
        SigningKey::generate()?.save(&path)?;
    }
    Ok(Some(SigningKey::load(&path)?.public()))
}

/// The commands that come next: one that makes the key trusted, unless it is, and one that uses it.
fn next(key: Option<&PublicKey>, grant: Option<&Grant>, trust: &TrustDocument) -> Vec<String> {
    let (Some(key), Some(grant)) = (key, grant) else { return vec!["windlass status".to_owned()] };
    let names =
        grant.environments.as_ref().map(|list| list.iter().map(EnvironmentId::as_str).collect::<Vec<_>>());
    let (scope, environment) = match &names {
        None => ("--everywhere".to_owned(), String::new()),
        Some(names) => (
            format!("--scope {}", names.join(",")),
            format!(" -e {}", names.first().copied().unwrap_or("default")),
        ),
    };
    let scopes = match &grant.environments {
        None => vec![EnvironmentScope::Any],
        Some(list) => list.iter().cloned().map(EnvironmentScope::Only).collect(),
    };
    let add = Amendment::Add { key: key.clone(), role: KeyRole::Release, scopes };
    let is_trusted = add.apply(&mut trust.clone()).is_ok_and(|changes| changes.is_empty());
    let add = format!("windlass trust add-key {} {scope}", key.to_line());
    let deploy = format!("windlass deploy -f FILE{environment}");
    if is_trusted { vec![deploy] } else { vec![add, deploy] }
}

fn read_token(given: &str) -> Result<String, CtlError> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    std::io::stdin().take(MAX_LEN as u64).read_to_string(&mut text).map_err(OperatorError::Stdin)?;
    Ok(text)
}

fn summary(made: &OperatorJoined, fleet: &FleetHome) -> String {
    let mut text = format!(
        "You are `{}` in fleet `{}`: {}, until {} (renews by itself). Context `{}` is the current one.\n",
        made.operator, made.fleet, made.grant, made.expires_at, made.context
    );
    match made.next.as_slice() {
        [add, deploy] => text.push_str(&format!(
            "\nYour releases are signed with {}; hosts take them once its public half is trusted.\n\
             Next, whoever holds the root keys runs\n  {add}\nand then you\n  {deploy}\n",
            fleet.release_key().display()
        )),
        next => next.iter().for_each(|command| text.push_str(&format!("\nNext:\n  {command}\n"))),
    }
    text
}
