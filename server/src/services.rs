//! The commands of a person to a service without a new release: scale, stop, remove. The engine brings its slots there.

use windlass_core::plan::PLAN_OF_GENERATIONS;
use windlass_core::rollout::{
    self, CommandOutcome, RestartError, ServiceCommand, ServiceCommandError, StartError,
};
use windlass_core::service::{Mode, Service};
use windlass_core::view::VolumeView;
use windlass_core::{Counter, HostId, ServiceId};

use crate::audit;
use crate::coordinator::Coordinator;
use crate::engine;
use crate::ledger::{Change, State, WriteBatch, WriteError};
use crate::registry::Registry;
use crate::releases::{self, Started};
use crate::routes;
use crate::words::first_of;

/// Names that a refusal gives.
const NAMED: usize = 3;

/// The permissions of a command to do more than its verb says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct How {
    /// End an active rollout where it is.
    pub supersede: bool,
    /// Leave requests without an answer.
    pub force: bool,
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    /// It was so already.
    pub unchanged: bool,
    /// The release that the service is at, or was at.
    pub release: Option<Counter>,
    /// Named volumes that stay where they are; only of a service that goes.
    pub volumes: Vec<VolumeView>,
}

/// The reason for which it was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ServiceError {
    /// Never heard of, or removed.
    #[error("there is no service `{0}`")]
    Unknown(ServiceId),
    /// Requests are routed to it, which nothing would answer.
    #[error("`{service}` serves {names}, and nothing would answer there any more")]
    Routed {
        /// The service.
        service: ServiceId,
        /// The names, in words.
        names: String,
    },
    /// Other services call it by name.
    #[error("`{service}` is called by {callers} (`uses`), whose calls would fail")]
    Called {
        /// The service.
        service: ServiceId,
        /// The callers, in words.
        callers: String,
    },
    /// Its state or its release does not allow it.
    #[error(transparent)]
    ServiceCommand(#[from] ServiceCommandError),
    /// There is nothing to restart, or not now.
    #[error(transparent)]
    Restart(#[from] RestartError),
    /// Agents of a version that does not support the command.
    #[error("the agents of {} do not support this", .0.iter().map(HostId::as_str).collect::<Vec<_>>().join(", "))]
    AgentTooOld(Vec<HostId>),
    /// The store is older than its fleet.
    #[error("the coordinator was restored from a backup; recovery is pending")]
    Recovering,
    /// Not stored.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The way on where the newest release is not good. Whether an earlier one was, only the list says.
fn unsettled(service: &ServiceId) -> String {
    format!(
        "deploy a release that works; if `windlass release ls {service}` shows an earlier good one, `windlass rollback {service}` \
         goes back to it"
    )
}

impl ServiceError {
    /// The next step of the user.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown(_) => Some("`windlass status` shows the services".to_owned()),
            Self::Routed { .. } | Self::Called { .. } => Some("--force does it all the same".to_owned()),
            Self::ServiceCommand(error) => Some(match error {
                ServiceCommandError::Active(StartError::Active { id, .. }) => format!(
                    "wait for it (`windlass rollout watch {id}`) or abort it; `stop` and `rm` end it with --supersede"
                ),
                ServiceCommandError::Nothing(_) => "`windlass deploy` gives it one".to_owned(),
                ServiceCommandError::Unsettled { service, .. } => unsettled(service),
                ServiceCommandError::PerHost(_) => {
                    "a new release may say `replicas` instead of `per_host`".to_owned()
                }
                ServiceCommandError::Fixed { .. } | ServiceCommandError::OutOfRange { .. } => {
                    "a new release may have another range: `replicas: { min: 2, max: 10 }`".to_owned()
                }
            }),
            Self::Restart(error) => Some(match error {
                RestartError::Nothing(_) => "`windlass deploy` gives it one".to_owned(),
                RestartError::Unsettled { service, .. } => unsettled(service),
                RestartError::Start(StartError::Active { id, .. }) => {
                    format!("wait for it (`windlass rollout watch {id}`) or abort it")
                }
            }),
            Self::AgentTooOld(_) => Some("upgrade windlass-agent there; running instances go on".to_owned()),
            Self::Recovering => Some(crate::recovery::HINT.to_owned()),
            Self::Write(_) => None,
        }
    }
}

/// Starts a rollout to new instances of the release that a service is at.
pub(crate) async fn restart(
    coordinator: &Coordinator,
    service: ServiceId,
    actor: String,
) -> Result<Started, ServiceError> {
    let registry = coordinator.registry.clone();
    coordinator.ledger.write(move |batch| begin_restart(batch, &registry, &service, actor)).await?
}

fn begin_restart(
    batch: &mut WriteBatch<'_>,
    registry: &Registry,
    id: &ServiceId,
    actor: String,
) -> Result<Started, ServiceError> {
    let state = batch.state;
    if state.is_recovering() {
        return Err(ServiceError::Recovering);
    }
    let known = state.services.get(id).filter(|service| service.mode != Mode::Removed);
    let known = known.ok_or_else(|| ServiceError::Unknown(id.clone()))?;
    let fleet = registry.fleet(state, Some(id), batch.now);
    let hosts = state.slots.get(id).into_iter().flat_map(|slots| slots.values()).map(|a| a.host());
    let reads = |host: &HostId| {
        fleet.members.get(host).is_none_or(|member| member.facts.plan_versions.contains(&PLAN_OF_GENERATIONS))
    };
    let mut too_old: Vec<HostId> = hosts.filter(|host| !reads(host)).cloned().collect();
    too_old.sort();
    too_old.dedup();
    if !too_old.is_empty() {
        return Err(ServiceError::AgentTooOld(too_old));
    }
    let reported = fleet.members.values().filter_map(|member| member.observation.as_deref());
    let reported = reported.flat_map(|seen| &seen.slots).filter(|seen| &seen.slot.service == id);
    let seen = reported.flat_map(|seen| &seen.instances).map(|instance| instance.generation).max();
    let rollout = releases::next_ids(state, batch.now)();
    let active = state.active_rollout(id);
    let (service, rollout) =
        rollout::restart(known, active, seen.unwrap_or(0), actor.clone(), rollout, batch.now)?;
    let subject = format!("{id} {}", rollout.to.counter);
    batch.audit(audit::fact(&actor, "service.restart", &subject, Some(rollout.to.digest), "ok"));
    engine::record_state(batch, None, &rollout, Some(&actor));
    let (id, release) = (rollout.id.clone(), rollout.to.counter);
    let started = Started { rollout: Some(id), release, warnings: Vec::new() };
    releases::forget(batch, &service);
    batch.change(Change::Service(Box::new(service)));
    batch.change(Change::Rollout(Box::new(rollout)));
    Ok(started)
}

/// Stores what `actor` says of a service.
pub(crate) async fn command(
    coordinator: &Coordinator,
    service: ServiceId,
    verb: ServiceCommand,
    how: How,
    actor: String,
) -> Result<Heard, ServiceError> {
    coordinator.ledger.write(move |batch| decide(batch, &service, verb, how, &actor)).await?
}

fn decide(
    batch: &mut WriteBatch<'_>,
    id: &ServiceId,
    verb: ServiceCommand,
    how: How,
    actor: &str,
) -> Result<Heard, ServiceError> {
    let state = batch.state;
    if state.is_recovering() {
        return Err(ServiceError::Recovering);
    }
    let known = state
        .services
        .get(id)
        .filter(|service| service.mode != Mode::Removed || verb == ServiceCommand::Remove);
    let known = known.ok_or_else(|| ServiceError::Unknown(id.clone()))?;
    let active = state.active_rollout(id);
    let release = known.current.and_then(|current| state.releases.get(&current.digest));
    let heard = Heard {
        unchanged: false,
        release: known.current.map(|current| current.counter),
        volumes: if verb == ServiceCommand::Remove { volumes(state, known) } else { Vec::new() },
    };
    let serves_nothing =
        matches!(verb, ServiceCommand::Stop | ServiceCommand::Remove | ServiceCommand::Scale(0));
    if serves_nothing && !how.force {
        answered(batch, known, verb, actor)?;
    }
    let told = rollout::apply_command(known, active, release, verb, how.supersede, actor, batch.now);
    let CommandOutcome { service, ended } = match told {
        Ok(told) => told,
        Err(error) => {
            let outcome = format!("refused: {error}");
            batch.audit(audit::fact(actor, name(verb), id, None, &outcome));
            return Err(error.into());
        }
    };
    if &service == known {
        return Ok(Heard { unchanged: true, ..heard });
    }
    let outcome = match verb {
        ServiceCommand::Scale(count) => format!("ok: from {} to {count}", known.replicas),
        ServiceCommand::Stop | ServiceCommand::Remove => "ok".to_owned(),
    };
    batch.audit(audit::fact(actor, name(verb), id, None, &outcome));
    let words = match verb {
        ServiceCommand::Scale(count) => format!("from {} to {count} instances, by {actor}", known.replicas),
        ServiceCommand::Stop | ServiceCommand::Remove => format!("by {actor}"),
    };
    batch.event_by(actor, name(verb), id.to_string(), words);
    if let Some(ended) = ended {
        engine::record_state(batch, active, &ended, Some(actor));
        batch.change(Change::Rollout(Box::new(ended)));
    }
    batch.change(Change::Service(Box::new(service)));
    Ok(heard)
}

/// Refuses what would leave names without an answer that have one now.
fn answered(
    batch: &mut WriteBatch<'_>,
    known: &Service,
    verb: ServiceCommand,
    actor: &str,
) -> Result<(), ServiceError> {
    let (names, callers) = (routes::serving(batch.state, &known.id), callers(batch.state, known));
    let service = known.id.clone();
    let error = match (names.as_slice(), callers.as_slice()) {
        ([], []) => return Ok(()),
        ([], callers) => ServiceError::Called { service, callers: first_of(callers, NAMED) },
        (names, _) => ServiceError::Routed { service, names: first_of(names, NAMED) },
    };
    batch.audit(audit::fact(actor, name(verb), &known.id, None, &format!("refused: {error}")));
    Err(error)
}

/// The services that call this one by name, if instances of both are to run.
fn callers(state: &State, called: &Service) -> Vec<String> {
    let runs = |service: &&Service| {
        let slots = state.slots.get(&service.id).into_iter().flat_map(|slots| slots.values());
        service.mode == Mode::Running && slots.into_iter().any(|slot| slot.run().runs())
    };
    if !runs(&called) {
        return Vec::new();
    }
    let near = |service: &&Service| {
        service.id.environment == called.id.environment && service.id.name != called.id.name
    };
    let calls = |service: &&Service| {
        let release = service.current.and_then(|current| state.releases.get(&current.digest));
        release.is_some_and(|release| release.spec.uses.contains(&called.id.name))
    };
    let callers = state.services.values().filter(runs).filter(near).filter(calls);
    callers.map(|service| format!("`{}`", service.id)).collect()
}

const fn name(verb: ServiceCommand) -> &'static str {
    match verb {
        ServiceCommand::Scale(_) => "service.scale",
        ServiceCommand::Stop => "service.stop",
        ServiceCommand::Remove => "service.remove",
    }
}

/// The named volumes of everything that its slots may have run.
fn volumes(state: &State, service: &Service) -> Vec<VolumeView> {
    let mut volumes = Vec::new();
    for assignment in state.slots.get(&service.id).into_iter().flat_map(|slots| slots.values()) {
        let releases = assignment.named().filter_map(|digest| state.releases.get(&digest));
        for name in releases.flat_map(|release| release.named_volumes()) {
            volumes.push(VolumeView { host: assignment.host().clone(), volume: name });
        }
    }
    volumes.sort();
    volumes.dedup();
    volumes
}
