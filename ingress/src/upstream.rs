//! The side of the endpoints: their state, their connections, and the choice among them.

mod balance;
mod connection;
mod driver;
mod endpoint;
mod flow;
mod pool;
mod probe;

pub(crate) use balance::{pick, pickable};
pub(crate) use connection::{Line, SendFailure, Sending, Sent, Unsent, send};
pub(crate) use driver::{Wire, poll_with};
pub use endpoint::Doubt;
pub(crate) use endpoint::{Due, Endpoint, EndpointKey, InFlight, Patience};
pub(crate) use flow::{End, Flow};
