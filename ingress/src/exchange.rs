//! One request and its response: what is counted, and the bodies that pass in both directions.

mod download;
mod guard;
mod upload;

pub(crate) use download::{Answer, Download};
pub(crate) use guard::{Exchange, Kind};
pub(crate) use upload::{Outgoing, Silent, Upload};
