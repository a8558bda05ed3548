//! The news of a rollout for people. Pure: views and the time in, lines out.
//!
//! Many views differ in nothing but a byte counter, or in what is waited for between two heartbeats. A line is said
//! when the state or the available count changes, when an instance changes its state, and when the same thing has been
//! waited for longer than [`LASTING`]: once, and again where nothing else was said for [`AGAIN`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::SlotId;
use windlass_core::rollout::{Kind, State};
use windlass_core::traffic::Weight;
use windlass_core::view::{RolloutView, SlotView};

use crate::away::AGAIN;
use crate::table::{Wait, hook_words};

/// A wait of more than this is worth a line.
const LASTING: Duration = Duration::from_secs(3);
/// Things waited for that are named in one line.
const MAX_WAITS: usize = 3;

/// The lines so far, and the waits.
#[derive(Debug, Default)]
pub(in crate::deploy) struct News {
    headline: Option<String>,
    state: Option<State>,
    slots: BTreeMap<SlotId, String>,
    hooks: BTreeMap<String, String>,
    waits: BTreeMap<String, Waited>,
    said: BTreeSet<String>,
    /// When the last line was said.
    said_at: Option<Instant>,
}

/// Something waited for.
#[derive(Debug)]
struct Waited {
    wait: Wait,
    since: Instant,
    /// When `wait` was heard of last; a remaining time in it counts from here.
    seen_at: Instant,
}

impl News {
    /// Takes a view in; answers with what it changes.
    pub(in crate::deploy) fn of(&mut self, view: &RolloutView, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        let count = count(view);
        if self.headline.as_ref() != Some(&count) {
            lines.push(headline(view));
            self.headline = Some(count);
        }
        if self.state.replace(view.state) != Some(view.state) {
            self.said.clear();
        }
        for slot in &view.slots {
            let text = instance(slot);
            if !text.is_empty() && self.slots.get(&slot.slot) != Some(&text) {
                lines.push(format!("  {} slot {}: {text}", slot.host, slot.slot.index));
                self.slots.insert(slot.slot.clone(), text);
            }
        }
        for hook in &view.hooks {
            let place = format!("{} hook {}", hook.host, hook.hook);
            let text = hook_words(hook);
            if self.hooks.get(&place) != Some(&text) {
                lines.push(format!("  {place}: {text}"));
                self.hooks.insert(place, text);
            }
        }
        self.hear(view, now);
        if !lines.is_empty() {
            self.said_at = Some(now);
        }
        lines.extend(self.waited(now));
        lines
    }

    /// The waits that have come to last too long by now and were not said, or all of them where nothing was said for a while;
    /// none most of the time.
    pub(in crate::deploy) fn waited(&mut self, now: Instant) -> Option<String> {
        let lasting: Vec<String> = self.lasting(now).map(str::to_owned).collect();
        let due: Vec<String> = lasting.iter().filter(|what| !self.said.contains(*what)).cloned().collect();
        let is_silent = self.said_at.is_some_and(|at| now.duration_since(at) >= AGAIN);
        let (verb, shown) = match (due.is_empty(), is_silent && !lasting.is_empty()) {
            (false, _) => ("waiting", &due),
            (true, true) => ("still waiting", &lasting),
            (true, false) => return None,
        };
        let text = format!("  {verb}: {}", self.words(shown, now));
        self.said.extend(due);
        self.said_at = Some(now);
        Some(text)
    }

    /// Everything that has lasted too long, said or not: for a line that is drawn again and again.
    pub(in crate::deploy) fn waiting(&self, now: Instant) -> String {
        let lasting: Vec<String> = self.lasting(now).map(str::to_owned).collect();
        if lasting.is_empty() { String::new() } else { format!("; waiting: {}", self.words(&lasting, now)) }
    }

    fn hear(&mut self, view: &RolloutView, now: Instant) {
        let heard = view.waiting.iter().map(|text| Wait::read(text, view));
        let mut before = std::mem::take(&mut self.waits);
        for wait in heard {
            let since = before.remove(&wait.what).map_or(now, |waited| waited.since);
            self.waits.insert(wait.what.clone(), Waited { wait, since, seen_at: now });
        }
    }

    /// A wait with a known end is no question of patience: it counts at once.
    fn lasting(&self, now: Instant) -> impl Iterator<Item = &str> {
        let lasts = move |waited: &&Waited| {
            waited.wait.ends_after.is_some() || now.duration_since(waited.since) >= LASTING
        };
        self.waits.values().filter(lasts).map(|waited| waited.wait.what.as_str())
    }

    fn words(&self, what: &[String], now: Instant) -> String {
        let text = |what: &String| {
            self.waits.get(what).map(|waited| waited.wait.text(now.duration_since(waited.seen_at)))
        };
        let mut words = what.iter().take(MAX_WAITS).filter_map(text).collect::<Vec<_>>().join(", ");
        if what.len() > MAX_WAITS {
            words.push_str(&format!(" and {} more", what.len() - MAX_WAITS));
        }
        words
    }
}

/// The count, and as long as it is not complete what else serves: `… r2 available in 1 of 3 slots, r1 serves in 2`.
pub(super) fn headline(view: &RolloutView) -> String {
    let has_all = view.traffic.as_ref().is_none_or(|shares| shares.weight == Weight::ALL);
    let is_complete = view.state.is_final() || (view.total > 0 && view.available >= view.total && has_all);
    let others = view.serving.iter().filter(|(release, count)| **release != view.counted() && **count > 0);
    let others = others.filter(|_| !is_complete);
    let others = others.map(|(release, count)| format!(", {release} serves in {count}"));
    std::iter::once(count(view)).chain(others.rev()).collect()
}

/// `default/web r2: advancing, r2 available in 1 of 3 slots, r2 has 10% of the traffic (step 1 of 3)`.
fn count(view: &RolloutView) -> String {
    let share = view.traffic.as_ref().filter(|shares| shares.step > 0).map(|shares| {
        format!(
            ", {} has {} of the traffic (step {} of {})",
            shares.release, shares.weight, shares.step, shares.steps
        )
    });
    // Before it has a slot it counts none, whatever serves.
    let available = match view.total {
        0 => String::new(),
        total if view.kind == Kind::Restart && view.counted() == view.release => {
            format!(", restarted in {} of {total} slots", view.available)
        }
        total => format!(", {} available in {} of {total} slots", view.counted(), view.available),
    };
    format!(
        "{}/{} {}: {}{available}{}",
        view.environment,
        view.service,
        view.release,
        view.state.as_str().replace('_', " "),
        share.unwrap_or_default()
    )
}

/// The state of one slot's instance of its release.
fn instance(slot: &SlotView) -> String {
    match (&slot.refused, slot.state) {
        (Some(refusal), _) => format!("{} refused: {refusal}", slot.release),
        (None, Some(state)) => format!("{} {}", slot.release, state.as_str()),
        (None, None) if slot.pull.is_some() => format!("{} pulling", slot.release),
        (None, None) => String::new(),
    }
}
