//! Names that the fleet does not have: errors say them, and the nearest one is looked for.

use windlass_core::{HostId, ServiceId};

/// A name that the fleet does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Of a service.
    Service(ServiceId),
    /// Of a host.
    Host(HostId),
}
