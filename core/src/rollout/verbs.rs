//! The commands of a person to a service without a new release: another count, to stop, to go away.
//!
//! Each of them only changes the service's record; the care of the service (`maintain`) brings its slots there. So
//! they survive a crash at any point, and saying one twice is saying it once.
//!
//! | verb | the service is | while a rollout is active |
//! |---|---|---|
//! | scale | at `n`, and runs | refused: the rollout has placed another count |
//! | stop | `stopped`: slots, ports and images stay | refused, or with `supersede` the rollout ends where it is |
//! | remove | `removed`: slots go; its counter and slot numbers are never used again | as stop |
//!
//! Deploy, rollback, restart and scale make a stopped service run again.

use std::collections::BTreeSet;

use crate::id::{Counter, ServiceId};
use crate::release::{Release, Scale};
use crate::service::{Mode, Service};
use crate::time::Timestamp;

use super::{Reason, Rollout, StartError};

/// A command of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceCommand {
    /// So many instances.
    Scale(u32),
    /// No instance, for now.
    Stop,
    /// Nothing of it, any more.
    Remove,
}

impl ServiceCommand {
    /// The verb, for audit log and errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scale(_) => "scale",
            Self::Stop => "stop",
            Self::Remove => "remove",
        }
    }
}

/// The reason for which it is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceCommandError {
    /// A rollout moves it.
    #[error(transparent)]
    Active(StartError),
    /// It never had a release, or was removed.
    #[error("`{0}` has no release that could run")]
    Nothing(ServiceId),
    /// Its last rollout left it between two releases.
    #[error("the last rollout of `{service}` to {release} did not succeed, so it has no count to keep")]
    Unsettled {
        /// The service.
        service: ServiceId,
        /// The release that it is at.
        release: Counter,
    },
    /// One per host.
    #[error("`{0}` runs once on every host that its placement allows, so it has no count")]
    PerHost(ServiceId),
    /// The release says how many.
    #[error("{release} of `{service}` has exactly {count} replica{}", if *count == 1 { "" } else { "s" })]
    Fixed {
        /// The service.
        service: ServiceId,
        /// The release that it is at.
        release: Counter,
        /// The number of instances.
        count: u32,
    },
    /// Outside of what was signed.
    #[error("{release} of `{service}` may have from {min} to {max} replicas, not {asked}")]
    OutOfRange {
        /// The service.
        service: ServiceId,
        /// The release that it is at.
        release: Counter,
        /// The least it allows.
        min: u32,
        /// The most it allows.
        max: u32,
        /// The number that was asked for.
        asked: u32,
    },
}

/// The changes to store.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandOutcome {
    /// The service; as it was if there is nothing to do.
    pub service: Service,
    /// The rollout that ends for it.
    pub ended: Option<Rollout>,
}

/// Applies what `actor` says. `release` is the one the service is at.
///
/// # Errors
/// The release does not allow it, or a rollout is active and `supersede` does not say that it ends.
pub fn apply_command(
    service: &Service,
    active: Option<&Rollout>,
    release: Option<&Release>,
    verb: ServiceCommand,
    supersede: bool,
    actor: &str,
    now: Timestamp,
) -> Result<CommandOutcome, ServiceCommandError> {
    let active = active.filter(|rollout| !rollout.state.is_final());
    let ends = supersede && !matches!(verb, ServiceCommand::Scale(_));
    if let Some(rollout) = active.filter(|_| !ends) {
        return Err(ServiceCommandError::Active(StartError::active(rollout)));
    }
    let mut next = service.clone();
    match verb {
        ServiceCommand::Scale(count) => {
            next.replicas = allowed(service, release, count)?;
            next.given_up = 0;
            next.mode = Mode::Running;
        }
        ServiceCommand::Stop if service.current.is_none() => {
            return Err(ServiceCommandError::Nothing(service.id.clone()));
        }
        ServiceCommand::Stop => next.mode = Mode::Stopped,
        ServiceCommand::Remove if service.mode != Mode::Removed => {
            next.mode = Mode::Removed;
            next.current = None;
            next.good.clear();
            next.held.clear();
            next.replicas = 0;
            next.given_up = 0;
            next.leaving = BTreeSet::new();
            next.watch = None;
        }
        ServiceCommand::Remove => {}
    }
    let ended = active.map(|rollout| {
        next.rollout = None;
        if verb == ServiceCommand::Stop {
            next.replicas = rollout.replicas_before;
        }
        rollout.superseded(Reason::Asked(actor.to_owned()), now)
    });
    Ok(CommandOutcome { service: next, ended })
}

/// The count, if what was signed allows it.
fn allowed(service: &Service, release: Option<&Release>, asked: u32) -> Result<u32, ServiceCommandError> {
    let id = || service.id.clone();
    let (Some(current), Some(release)) = (service.current, release) else {
        return Err(ServiceCommandError::Nothing(id()));
    };
    if service.last_good() != Some(current) {
        return Err(ServiceCommandError::Unsettled { service: id(), release: current.counter });
    }
    let release_at = current.counter;
    match release.spec.scale {
        Scale::PerHost => Err(ServiceCommandError::PerHost(id())),
        Scale::Replicas { min, max } if (min..=max).contains(&asked) => Ok(asked),
        Scale::Replicas { min, max } if min == max => {
            Err(ServiceCommandError::Fixed { service: id(), release: release_at, count: min })
        }
        Scale::Replicas { min, max } => {
            Err(ServiceCommandError::OutOfRange { service: id(), release: release_at, min, max, asked })
        }
    }
}
