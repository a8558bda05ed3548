//! The goal of a command to a service, and the end of following it.

use windlass_core::host::Liveness;
use windlass_core::view::StatusView;

/// The goal of a command to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// So many instances are available, and there are no others.
    Count(u32),
    /// Nothing of it runs.
    Stopped,
    /// Nothing of it is left.
    Gone,
}

/// The end of following.
#[derive(Debug)]
pub(crate) enum Done {
    /// It is so. What was seen last, if the service still shows.
    Reached(Option<Box<StatusView>>),
    /// Somebody told it something else.
    Overtaken(Box<StatusView>),
    /// Time is up.
    Timeout(Option<Box<StatusView>>),
    /// Ctrl-C.
    Interrupted(Option<Box<StatusView>>),
    /// Nobody looked.
    Detached,
}

/// The result of one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Reached,
    GoesOn,
    Overtaken,
}

impl Goal {
    /// Compares. A removed service shows until every host has said so.
    pub(super) fn look(self, status: Option<&StatusView>) -> Look {
        let Some(status) = status else {
            return if self == Self::Gone { Look::Reached } else { Look::Overtaken };
        };
        let when = |reached: bool| if reached { Look::Reached } else { Look::GoesOn };
        match (self, status.state.as_str()) {
            (Self::Count(count), "steady" | "degraded") if status.replicas == Some(count) => {
                when(status.desired == count && status.available == count && status.state == "steady")
            }
            (Self::Stopped, "stopping" | "stopped") => when(status.state == "stopped"),
            // Hosts that are lost get it when they return; nobody knows when that is.
            (Self::Gone, "removing") => {
                when(status.instances.is_empty() && status.terminating.values().all(|l| *l == Liveness::Lost))
            }
            _ => Look::Overtaken,
        }
    }
}
