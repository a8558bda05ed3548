//! History of a host or a service, in columns.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::series::{Column, Pace, Rings, Shape};
use crate::time::Timestamp;

/// The figures that the coordinator keeps of one host or one service. They begin anew when it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HistoryView {
    /// The time of the last figure of each column, by the coordinator's clock.
    pub until: Timestamp,
    /// The last minutes.
    pub fine: ColumnsView,
    /// The last hours.
    pub coarse: ColumnsView,
}

/// Columns of figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ColumnsView {
    /// Seconds between two figures.
    pub every_seconds: u64,
    /// By name, oldest first; nothing where nothing was measured.
    pub columns: BTreeMap<String, Vec<Option<f32>>>,
}

/// Shows the figures until `now`.
pub fn history(rings: &Rings, shape: &Shape, now: Timestamp) -> HistoryView {
    let columns = |pace: Pace, columns: Vec<Column>| ColumnsView {
        every_seconds: seconds(pace.every),
        columns: columns.into_iter().map(|column| (column.name.to_owned(), column.figures)).collect(),
    };
    HistoryView {
        until: now,
        fine: columns(shape.fine, rings.fine(now)),
        coarse: columns(shape.coarse, rings.coarse(now)),
    }
}

fn seconds(every: Duration) -> u64 {
    every.as_secs()
}
