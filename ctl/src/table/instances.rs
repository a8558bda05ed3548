//! `ps`.

use comfy_table::Cell;
use windlass_core::Timestamp;

use super::services::standing_of;
use super::{ago, grid, or_dash, usage};
use crate::commands::PsView;
use crate::printer::Colour;

/// Instances, one per line.
pub(crate) fn instances(views: &[PsView], now: Timestamp, colour: Colour) -> String {
    if views.is_empty() {
        return "no instances\n".to_owned();
    }
    let row = |view: &PsView| {
        let instance = &view.instance;
        let endpoints: Vec<String> =
            instance.endpoints.iter().map(|(name, address)| format!("{name}={address}")).collect();
        vec![
            Cell::new(if instance.instance.is_empty() { "-" } else { &instance.instance }),
            Cell::new(format!("{}/{}", view.environment, view.service)),
            Cell::new(instance.slot.index),
            Cell::new(&instance.host),
            Cell::new(instance.release),
            standing_of(instance, now),
            Cell::new(usage::of_probe(instance.probe.as_ref())),
            Cell::new(or_dash(instance.since.map(|at| ago(at, now)))),
            Cell::new(instance.restarts),
            Cell::new(if endpoints.is_empty() { "-".to_owned() } else { endpoints.join(" ") }),
        ]
    };
    let headers = [
        "INSTANCE",
        "SERVICE",
        "SLOT",
        "HOST",
        "RELEASE",
        "STATE",
        "PROBE",
        "SINCE",
        "RESTARTS",
        "ENDPOINTS",
    ];
    grid(&headers, views.iter().map(row).collect(), colour)
}
