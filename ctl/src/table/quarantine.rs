//! `quarantine ls`.

use comfy_table::Cell;
use windlass_core::Timestamp;
use windlass_core::view::QuarantineView;

use super::{ago, grid, printable};
use crate::printer::Colour;

/// Contents that failed.
pub(crate) fn quarantine(found: &[QuarantineView], now: Timestamp, colour: Colour) -> String {
    if found.is_empty() {
        return "nothing is quarantined\n".to_owned();
    }
    let row = |one: &QuarantineView| {
        let hosts: Vec<&str> = one.hosts.iter().map(|host| host.as_str()).collect();
        vec![
            Cell::new(format!("{}/{}", one.environment, one.service)),
            Cell::new(one.release),
            Cell::new(ago(one.since, now)),
            Cell::new(hosts.join(",")),
            Cell::new(&one.rollout),
            Cell::new(printable(&one.reason)),
        ]
    };
    let headers = ["SERVICE", "RELEASE", "FAILED", "HOSTS", "ROLLOUT", "REASON"];
    grid(&headers, found.iter().map(row).collect(), colour)
}
