//! Agent and coordinator die, as by `kill -9`, before and after every step that leaves something behind, and are started
//! again. On a real engine, with the programs that are shipped and one feature more (`process/src/crash.rs`).
//!
//! Each scenario has a table of points and dies at every one of them; [`every_point_has_a_scenario`] compares the tables
//! with those of the programs, so that a point which nobody dies at is seen.
#![expect(clippy::unwrap_used, reason = "a scenario may")]

mod agent;
mod coordinator;
mod joining;
mod stalls;

use std::collections::BTreeSet;

use windlass_tests::crash;

#[test]
fn every_point_has_a_scenario() {
    let tables = [agent::POINTS, agent::BAD_RELEASE, agent::COLLECTION, joining::JOIN, joining::RENEWAL]
        .into_iter()
        .chain([joining::TRUST, coordinator::ROLLOUT, coordinator::FIRST_START, coordinator::HOUSEKEEPING])
        .chain([coordinator::COPIES, coordinator::ARROWS]);
    let died: BTreeSet<&str> = tables.flatten().map(|point| crash::name(point)).collect();
    let all: BTreeSet<&str> =
        windlass_agent::crash::points().chain(windlass_server::crash::points()).collect();
    let never: Vec<_> = all.difference(&died).collect();
    let unknown: Vec<_> = died.difference(&all).collect();
    assert!(never.is_empty(), "nobody dies at {never:?}");
    assert!(unknown.is_empty(), "no program has {unknown:?}");
}
