//! The side of the endpoints: their state, their connections, and the choice among them.

mod balance;
mod connection;
mod endpoint;
mod pool;
mod probe;

pub(crate) use balance::{pick, pickable};
pub(crate) use connection::{SendFailure, Sent, Unsent, send};
pub(crate) use endpoint::{Endpoint, EndpointKey, InFlight};
pub(crate) use pool::Http1;
