//! Progress of a rollout: moving lines on a terminal, a line per change elsewhere, an object per change for programs.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use windlass_core::observation::InstanceState;
use windlass_core::view::{RolloutView, SlotView};
use windlass_core::{SlotId, view};

use crate::printer::Printer;
use crate::table::bytes;

/// Things waited for that are named.
const MAX_WAITS: usize = 3;
/// Bars of pulls that are shown at once.
const MAX_BARS: usize = 12;

/// Where progress goes.
pub(crate) struct Progress {
    printer: Printer,
    bars: Option<Bars>,
    last: Option<Box<RolloutView>>,
    is_lost: bool,
}

impl Progress {
    /// Bars if stderr is a terminal and people read it.
    pub(crate) fn new(printer: &Printer) -> Self {
        let shows_bars = !printer.is_structured() && std::io::stderr().is_terminal();
        Self { printer: printer.clone(), bars: shows_bars.then(Bars::new), last: None, is_lost: false }
    }

    /// Shows how far it is.
    pub(crate) fn show(&mut self, view: &RolloutView) {
        if self.is_lost {
            self.say("the coordinator is back");
            self.is_lost = false;
        }
        if self.printer.is_structured() {
            // The last object is the outcome's.
            if view.outcome.is_none() {
                self.printer.line(view);
            }
        } else if let Some(bars) = &mut self.bars {
            bars.show(view);
        } else {
            lines(self.last.as_deref(), view).iter().for_each(|line| self.printer.note(line));
        }
        self.last = Some(Box::new(view.clone()));
    }

    /// Says once that the coordinator is away.
    pub(crate) fn lost(&mut self, error: &(dyn Error + 'static)) {
        if !self.is_lost {
            let why = windlass_process::report::chain(error);
            self.say(&format!("lost the coordinator ({why}); the rollout goes on, trying again"));
            self.is_lost = true;
        }
    }

    /// Above the bars, where there are some.
    fn say(&self, text: &str) {
        match &self.bars {
            Some(bars) => drop(bars.all.println(text)),
            None => self.printer.note(text),
        }
    }

    /// What was seen last.
    pub(crate) fn last(&self) -> Option<Box<RolloutView>> {
        self.last.clone()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bars) = &self.bars {
            drop(bars.all.clear());
        }
    }
}

/// Something that may take longer than a second. Shows on a terminal only.
pub(super) fn spinner(text: &str, printer: &Printer) -> ProgressBar {
    if printer.is_structured() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message(text.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// The lines that differ from what was said before.
pub(super) fn lines(before: Option<&RolloutView>, now: &view::RolloutView) -> Vec<String> {
    let mut lines = Vec::new();
    if before.map(headline) != Some(headline(now)) {
        lines.push(headline(now));
    }
    for slot in &now.slots {
        let was = before.and_then(|before| before.slots.iter().find(|other| other.slot == slot.slot));
        let text = instance(slot);
        if !text.is_empty() && was.map(instance).as_ref() != Some(&text) {
            lines.push(format!("  {} slot {}: {text}", slot.host, slot.slot.index));
        }
    }
    lines
}

/// `default/web r2: advancing, 1 of 3 available; waits for web-1 to be healthy`.
fn headline(view: &RolloutView) -> String {
    let mut text = format!(
        "{}/{} {}: {}, {} of {} available",
        view.environment,
        view.service,
        view.release,
        view.state.as_str().replace('_', " "),
        view.available,
        view.total
    );
    if !view.waiting.is_empty() {
        let shown: Vec<&str> = view.waiting.iter().take(MAX_WAITS).map(|wait| steady(wait)).collect();
        text.push_str("; waits for ");
        text.push_str(&shown.join(", "));
        if view.waiting.len() > MAX_WAITS {
            text.push_str(&format!(" and {} more", view.waiting.len() - MAX_WAITS));
        }
    }
    text
}

/// What is waited for, without the counter or time at its end: those move all the time, and are no news.
fn steady(wait: &str) -> &str {
    let end = wait.find(" (").or_else(|| wait.find(" at 2")).unwrap_or(wait.len());
    &wait[..end]
}

/// What one slot's instance of the release it is to have does.
fn instance(slot: &SlotView) -> String {
    match (&slot.refused, slot.state) {
        (Some(refusal), _) => format!("{} refused: {refusal}", slot.release),
        (None, Some(state)) => format!("{} {}", slot.release, state.as_str()),
        (None, None) if slot.pull.is_some() => format!("{} pulling", slot.release),
        (None, None) => String::new(),
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

struct Bars {
    all: MultiProgress,
    head: ProgressBar,
    pulls: BTreeMap<SlotId, ProgressBar>,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let head = all.add(ProgressBar::new_spinner());
        head.enable_steady_tick(Duration::from_millis(120));
        Self { all, head, pulls: BTreeMap::new() }
    }

    fn show(&mut self, view: &RolloutView) {
        let states = by_state(view);
        let states = if states.is_empty() { states } else { format!("  [{states}]") };
        self.head.set_message(headline(view) + &states);
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
