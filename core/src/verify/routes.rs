//! Steps 6 to 9 for a traffic table, after its signature held: agents and ingresses ask the same.

use crate::digest::Digest;
use crate::id::FleetId;
use crate::observation::{Refusal, RefusalCode};
use crate::time::Timestamp;
use crate::traffic::Routes;

use super::{Committed, MAX_TABLE_STEP, PlanOrder, not_from_the_future, numbered, refusal, release_fleet};

/// The newest table of an environment that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedRoutes {
    /// Its epoch.
    pub epoch: u64,
    /// Its number in that epoch, and the digest of its payload.
    pub committed: Committed,
}

/// Step 6: every bound and every reference of the table, and seq and epoch are numbers that are given.
pub fn check_routes(routes: &Routes) -> Result<(), Refusal> {
    routes.check().map_err(|error| refusal(RefusalCode::Malformed, error.to_string()))?;
    if routes.seq == 0 || routes.epoch == 0 {
        return Err(refusal(RefusalCode::Malformed, "routes: `seq` and `epoch` begin at 1"));
    }
    Ok(())
}

/// Step 7: the table is of this fleet, and has only names that its environment may have. `allows` asks the trust document.
pub fn routes_audience(
    routes: &Routes,
    fleet: &FleetId,
    allows: impl Fn(&str) -> bool,
) -> Result<(), Refusal> {
    release_fleet(&routes.fleet, fleet)?;
    match routes.names.iter().find(|name| !allows(&name.host)) {
        None => Ok(()),
        Some(name) => {
            let environment = &routes.environment;
            let detail = format!(
                "`{}` is no name that the trust document allows environment `{environment}`",
                name.host
            );
            Err(refusal(RefusalCode::Policy, detail))
        }
    }
}

/// Step 8: tables do not expire, but none comes from the future.
pub fn routes_time(routes: &Routes, now: Timestamp) -> Result<(), Refusal> {
    not_from_the_future(routes.issued_at, now)
}

/// Step 9: epoch and order. `digest` is the table's own, `last` the newest accepted one of its environment. One of an
/// older epoch is in force until the first of the new one comes, whatever its number is.
pub fn routes_order(
    routes: &Routes,
    digest: Digest,
    trust_epoch: u64,
    last: Option<AcceptedRoutes>,
) -> Result<PlanOrder, Refusal> {
    if routes.epoch != trust_epoch {
        let detail = format!("epoch {}, the trust document has {trust_epoch}", routes.epoch);
        return Err(refusal(RefusalCode::WrongEpoch, detail));
    }
    let last = last.filter(|last| last.epoch == trust_epoch).map(|last| last.committed);
    let last = last.filter(|_| !std::env::var("PLANT").is_ok_and(|p| p == "order"));
    numbered("tables", MAX_TABLE_STEP, routes.seq, digest, last)
}

#[cfg(test)]
mod tests;
