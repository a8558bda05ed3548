//! Contents that failed: which they are, and letting one start again.

use windlass_core::quarantine;
use windlass_core::service::{Mode, Service};
use windlass_core::view::{Action, PreviewView, QuarantineView};
use windlass_core::{Counter, ServiceId};

use crate::audit;
use crate::coordinator::Coordinator;
use crate::ledger::{Change, State, WriteBatch, WriteError};
use crate::words::first_of;

/// Hosts that a refusal names.
const NAMED: usize = 5;

/// The reason for which nothing was cleared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QuarantineError {
    /// Never heard of, or removed.
    #[error("there is no service `{0}`")]
    Unknown(ServiceId),
    /// Never heard of, or forgotten.
    #[error("there is no release {counter} of `{service}`")]
    UnknownRelease {
        /// The service.
        service: ServiceId,
        /// The number.
        counter: Counter,
    },
    /// The store is older than its fleet.
    #[error("the coordinator was restored from a backup; recovery is pending")]
    Recovering,
    /// Not stored.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl QuarantineError {
    /// The next thing that the user can do.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown(_) => Some("`windlass status` shows the services".to_owned()),
            Self::UnknownRelease { service, .. } => {
                Some(format!("`windlass quarantine ls {service}` shows what is quarantined"))
            }
            Self::Recovering => Some(crate::recovery::HINT.to_owned()),
            Self::Write(_) => None,
        }
    }
}

/// The quarantined contents of a service.
pub(crate) fn of_service(state: &State, service: &Service) -> Vec<QuarantineView> {
    quarantine::of(service, state.rollouts.values())
}

/// The quarantined contents of one service, or of all.
///
/// # Errors
/// There is no such service.
pub(crate) fn list(
    state: &State,
    wanted: Option<&ServiceId>,
) -> Result<Vec<QuarantineView>, QuarantineError> {
    // One that was removed has none, and is known.
    let of_one = |service: &Service| match service.mode {
        Mode::Removed => Vec::new(),
        _ => of_service(state, service),
    };
    match wanted {
        None => Ok(state.services.values().flat_map(of_one).collect()),
        Some(id) => state.services.get(id).map(of_one).ok_or_else(|| QuarantineError::Unknown(id.clone())),
    }
}

/// The reason for which hosts of `plan` would refuse the content; `None` if none of those that get it would.
pub(crate) fn refusal(failed: &QuarantineView, plan: &PreviewView) -> Option<String> {
    let mut hosts: Vec<&str> = plan
        .slots
        .iter()
        .filter(|slot| matches!(slot.action, Action::Create | Action::Replace))
        .filter(|slot| failed.hosts.contains(&slot.host))
        .map(|slot| slot.host.as_str())
        .collect();
    hosts.sort_unstable();
    hosts.dedup();
    if hosts.is_empty() {
        return None;
    }
    let hosts = first_of(&hosts, NAMED);
    Some(format!(
        "quarantined on {hosts}: the same content failed there as {} ({}), and starts there again only with \
         --retry-quarantined, or after `windlass quarantine clear {}/{}@{}`",
        failed.release, failed.reason, failed.environment, failed.service, failed.release
    ))
}

/// Lets quarantined contents of a service start again with their next rollout; all of them, or that of one release.
pub(crate) async fn clear(
    coordinator: &Coordinator,
    service: ServiceId,
    release: Option<Counter>,
    actor: String,
) -> Result<Vec<QuarantineView>, QuarantineError> {
    coordinator.ledger.write(move |batch| clear_now(batch, &service, release, &actor)).await?
}

fn clear_now(
    batch: &mut WriteBatch<'_>,
    id: &ServiceId,
    release: Option<Counter>,
    actor: &str,
) -> Result<Vec<QuarantineView>, QuarantineError> {
    if batch.state.is_recovering() {
        return Err(QuarantineError::Recovering);
    }
    let known = batch.state.services.get(id).filter(|service| service.mode != Mode::Removed);
    let known = known.ok_or_else(|| QuarantineError::Unknown(id.clone()))?;
    let mut cleared = of_service(batch.state, known);
    if let Some(counter) = release {
        // A later release with the same content is meant too.
        let named = batch.state.entries.values();
        let mut named = named.filter(|entry| &entry.service == id && entry.name.counter == counter);
        let content = named.next().map(|entry| entry.name.content);
        cleared.retain(|one| one.release == counter || Some(one.content) == content);
        if content.is_none() && cleared.is_empty() {
            return Err(QuarantineError::UnknownRelease { service: id.clone(), counter });
        }
    }
    if cleared.is_empty() {
        return Ok(cleared);
    }
    let mut service = known.clone();
    service.cleared.extend(cleared.iter().map(|one| one.content));
    for one in &cleared {
        let subject = format!("{id} {}", one.release);
        batch.audit(audit::fact(actor, "quarantine.clear", &subject, Some(one.content), "ok"));
    }
    batch.change(Change::Service(Box::new(service)));
    Ok(cleared)
}
