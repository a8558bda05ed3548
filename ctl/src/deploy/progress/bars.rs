//! Moving lines on a terminal, which are drawn beside the printer, of texts that went through it: how far the rollout is, and a bar for each pull.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use windlass_core::SlotId;
use windlass_core::observation::InstanceState;
use windlass_core::view::RolloutView;

use super::news::headline;
use crate::printer::safe;
use crate::table::bytes;

/// Bars of pulls that are shown at once.
const MAX_BARS: usize = 12;

/// The bars on the screen.
pub(super) struct Bars {
    all: MultiProgress,
    head: ProgressBar,
    pulls: BTreeMap<SlotId, ProgressBar>,
}

impl Bars {
    pub(super) fn new() -> Self {
        let all = MultiProgress::new();
        let head = all.add(ProgressBar::new_spinner());
        head.enable_steady_tick(Duration::from_millis(120));
        Self { all, head, pulls: BTreeMap::new() }
    }

    /// Says something above the bars.
    pub(super) fn say(&self, text: &str) {
        drop(self.all.println(safe::safe(text)));
    }

    pub(super) fn clear(&self) {
        drop(self.all.clear());
    }

    /// The line at the top; `waiting` is what has been waited for too long.
    pub(super) fn head(&self, view: &RolloutView, waiting: &str) {
        let states = by_state(view);
        let states = if states.is_empty() { states } else { format!("  [{states}]") };
        self.head.set_message(safe::line(&(headline(view) + waiting + &states)).into_owned());
    }

    /// A bar for each pull whose size is known.
    pub(super) fn pulls(&mut self, view: &RolloutView) {
        for slot in &view.slots {
            match slot.pull.filter(|pull| pull.done < pull.total) {
                Some(pull) if self.pulls.len() < MAX_BARS || self.pulls.contains_key(&slot.slot) => {
                    let all = &self.all;
                    let bar = self.pulls.entry(slot.slot.clone()).or_insert_with(|| {
                        let bar = all.add(ProgressBar::new(pull.total));
                        let style = ProgressStyle::with_template(
                            "  {msg:20} {wide_bar} {binary_bytes}/{binary_total_bytes}",
                        );
                        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                        bar.set_message(slot.host.to_string());
                        bar
                    });
                    bar.set_length(pull.total);
                    bar.set_position(pull.done);
                }
                Some(pull) => tracing::debug!(host = %slot.host, done = bytes(pull.done), "pulling"),
                None => {
                    if let Some(bar) = self.pulls.remove(&slot.slot) {
                        bar.finish_and_clear();
                    }
                }
            }
        }
    }
}

/// `3 healthy, 1 starting`.
fn by_state(view: &RolloutView) -> String {
    let mut counts: BTreeMap<InstanceState, u32> = BTreeMap::new();
    for slot in &view.slots {
        if let Some(state) = slot.state {
            *counts.entry(state).or_default() += 1;
        }
    }
    counts.iter().map(|(state, count)| format!("{count} {}", state.as_str())).collect::<Vec<_>>().join(", ")
}
