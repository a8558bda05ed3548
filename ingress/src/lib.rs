//! The ingress: the reverse proxy beside an agent, which shares the requests of a service among its releases.
//!
//! It follows signed tables (`windlass_core::traffic`) and decides nothing by itself but which endpoint of a release
//! takes a request, whether a request may be tried on another one, and which endpoints are left out for a while.
//! Tables are data: a change of one touches no connection.
#![warn(missing_docs)]

mod access;
mod alarm;
mod answers;
mod budget;
mod certificates;
mod compact;
pub mod counters;
mod drain;
mod exchange;
pub mod handover;
mod held;
mod ingress;
mod inner;
mod limits;
mod linger;
mod listen;
mod origin;
mod proxy;
mod ready;
mod registry;
mod request;
mod table;
mod target;
mod traffic;
mod tunnel;
mod upstream;

pub use access::Access;
pub use certificates::{BadCertificates, Certificates};
pub use drain::DrainTimes;
pub use ingress::{Ingress, Settings};
pub use inner::MOST_INNER;
pub use limits::Limits;
pub use origin::{ProxyProtocol, TrustedProxies};
pub use ready::READY;
pub use registry::{CounterKey, NotTaken, Population};
pub use upstream::Doubt;
