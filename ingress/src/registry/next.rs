//! Tables on their way into force, and the endpoints that are closed once they are.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::table::Table;
use crate::upstream::{Endpoint, EndpointKey};

/// Tables that are compiled and not in force yet.
#[derive(Debug)]
#[must_use = "it is not in force"]
pub(crate) struct Next {
    pub(super) table: Table,
    pub(super) closes: Vec<Close>,
}

/// Endpoints of the targets of the next tables, and those that get no request there.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) endpoints: HashMap<EndpointKey, Arc<Endpoint>>,
    pub(super) closes: Vec<Close>,
}

/// An endpoint that gets no request by the next tables, and gets some by those before.
#[derive(Debug)]
pub(super) enum Close {
    /// It is about to stop.
    Drains(Arc<Endpoint>),
    /// It stands by for no other one.
    StandsByNoLonger(Arc<Endpoint>),
    /// No table has it.
    Leaves(Arc<Endpoint>),
}

impl Next {
    /// Lets requests go by these tables. Endpoints are closed only then: a request always finds those of the tables before, or
    /// those of these.
    pub(crate) fn put_in_force(self, in_force: &ArcSwap<Table>) {
        in_force.store(Arc::new(self.table));
        for close in self.closes {
            match close {
                Close::Drains(endpoint) => endpoint.set_draining(true),
                Close::StandsByNoLonger(endpoint) => endpoint.set_standby(None),
                Close::Leaves(endpoint) => {
                    endpoint.set_draining(true);
                    endpoint.set_standby(None);
                    endpoint.pool.clear();
                }
            }
        }
    }
}
