//! Traffic: the table that the coordinator signs per environment, and the choices that an ingress makes by it.
//!
//! A table is complete, like a host plan: an ingress that gets only the last of ten ends in the same state. Who
//! serves which name stands in [`Routes::names`]; how the requests of a service are shared among its releases, and
//! where its instances answer, in [`Routes::services`].

mod bounds;
mod choose;
mod derive;
mod document;
mod holds;
mod names;
mod processes;
mod reach;
mod recent;
mod report;
mod split;
mod standing;
mod window;

#[cfg(test)]
mod tests;

pub(crate) use bounds::{is_host, is_path};
pub(crate) use derive::port_of;

pub use bounds::InvalidRoutes;
pub use choose::{Choice, Position, choose};
pub use derive::{Derived, HostSeen, ServiceSeen, TrafficInputs, derive};
pub use document::{
    Endpoint, Match, MatchOn, Name, PortSide, Protocol, ROUTES_VERSION, ROUTES_VERSIONS, ReleaseShare,
    RoutedPort, RoutedService, Routes, StandsBy, Weight,
};
pub use holds::{Hold, MAX_HOLDS, holds};
pub use names::taken;
pub use processes::{Processes, Reported};
pub use reach::{Reach, is_of_a_host};
pub use recent::{Rate, Rates, Recent};
pub use report::{
    BUCKETS, Counts, EndpointState, EndpointTraffic, IngressReport, InvalidReport, Listen, MAX_REPORT,
    REPORT_EVERY, REPORT_QUIET, ReleaseTraffic, ServiceTraffic, TableInForce,
};
pub(crate) use split::{MAX_RULES, is_host_name};
pub use split::{MatchRule, Split};
pub use standing::{Asked, Ingress, Left, MAX_LEFT, Routed, Silent, Table, Taken, Traffic, Weighed};
pub use window::{Fault, FaultKind, KEPT, Quantile, Ring, ServiceWindows, Tally, Wanted, Window, Windows};
