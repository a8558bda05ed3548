//! The two releases of a rollout: the one that it leaves and the one that it goes to.

use crate::id::Counter;
use crate::rollout::{Kind, State};

use super::{ExplainView, RolloutView};

impl RolloutView {
    /// Both releases: `r2 → r3`.
    pub fn course(&self) -> String {
        course(self.kind, self.from, self.left, self.release)
    }

    /// The release whose slots and available instances are counted: the one that it goes to, or goes back to.
    pub fn counted(&self) -> Counter {
        let back = matches!(self.state, State::RollingBack | State::RolledBack | State::Aborted);
        self.from.filter(|_| back).unwrap_or(self.release)
    }
}

impl ExplainView {
    /// Both releases: `r2 → r3`.
    pub fn course(&self) -> String {
        course(self.kind, self.from, self.left, self.release)
    }
}

/// A deploy leaves the last good release, to which it goes back if it fails; a rollback the one that the service was at, good or
/// not.
fn course(kind: Kind, from: Option<Counter>, left: Option<Counter>, to: Counter) -> String {
    let from = if kind == Kind::Rollback { left.or(from) } else { from };
    from.map_or_else(|| format!("- \u{2192} {to}"), |from| format!("{from} \u{2192} {to}"))
}
