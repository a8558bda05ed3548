//! The results of steps that ended, as the next decision gets them.

use crate::digest::Digest;
use crate::id::SlotId;
use crate::units::Span;

/// The outcome of a step that ended. Steps that only change a container are not listed: the container is.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// An image is here.
    Pulled {
        /// Which.
        image: Digest,
        /// The engine's id of it.
        id: String,
    },
    /// An image could not be pulled.
    PullFailed {
        /// Which.
        image: Digest,
        /// Why.
        failure: PullFailure,
    },
    /// A container was created.
    Launched {
        /// Its slot.
        slot: SlotId,
        /// Its name.
        instance: String,
        /// The engine's id of it.
        container: String,
    },
    /// A container was not created, or not started; there is none now if it was to be created.
    StartFailed {
        /// Its slot.
        slot: SlotId,
        /// Its name.
        instance: String,
        /// Its release.
        release: Digest,
        /// Why.
        failure: StartFailure,
    },
    /// The last lines that an instance wrote.
    Log {
        /// Its slot.
        slot: SlotId,
        /// Its name.
        instance: String,
        /// The lines, the oldest first.
        lines: Vec<String>,
    },
    /// A step of a hook ended.
    Task {
        /// Rollout and name of the hook.
        key: String,
        /// The outcome of the step.
        outcome: Box<Outcome>,
    },
    /// Another step failed: stop, remove, restart policy. It is tried again later.
    StepFailed {
        /// The slot.
        slot: SlotId,
        /// The engine's message.
        message: String,
    },
}

impl Outcome {
    /// Returns whether the outcome is a failure.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Pulled { .. } | Self::Launched { .. } | Self::Log { .. } => false,
            Self::PullFailed { .. } | Self::StartFailed { .. } | Self::StepFailed { .. } => true,
            Self::Task { outcome, .. } => outcome.is_failure(),
        }
    }
}

/// The reason for which an image could not be pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullFailure {
    /// The message of the engine or the registry.
    Failed(String),
    /// The registry could not answer just now. It is asked again before the pull counts as failed.
    Transient {
        /// The message of the engine or the registry.
        message: String,
        /// When the registry wants to be asked again, if it says so.
        retry_after: Option<Span>,
    },
    /// No byte came for so long.
    Stalled(Span),
    /// Another image came than the release names.
    WrongImage(String),
}

/// The reason for which a container could not be created or started: it tells whose fault it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFailure {
    /// The engine's message.
    Failed(String),
    /// A port of the host is taken.
    PortTaken(u16),
    /// A disk of the host is full, as the engine said.
    NoRoom(String),
    /// A device that it is to get does not work, or cannot be given, as the engine said.
    Device(String),
    /// The engine or the host failed, whatever was to be started.
    Host(String),
    /// The engine cannot start this container any more, whatever its release: a new one is made in its place.
    Stuck(String),
    /// The image has gone from the host.
    ImageMissing,
    /// A container that is none of ours has its name.
    NameTaken(String),
    /// The host's policy does not let it start as things are, in words. It is tried again.
    Forbidden(String),
}
