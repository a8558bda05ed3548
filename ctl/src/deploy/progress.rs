//! Progress of a rollout: moving lines on a terminal, a line per change elsewhere, an object per change for programs.

mod bars;
pub(super) mod news;

use std::error::Error;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::time::Instant;
use windlass_core::view::RolloutView;

use crate::away::{self, Away};
use crate::printer::{Printer, safe};
use bars::Bars;
use news::News;

/// The destination of progress.
pub(crate) struct Progress {
    printer: Printer,
    bars: Option<Bars>,
    news: News,
    last: Option<Box<RolloutView>>,
    away: Away,
    /// The time that the rollout is followed.
    timeout: Duration,
}

impl Progress {
    /// Bars if stderr is a terminal and people read it.
    pub(crate) fn new(printer: &Printer, timeout: Duration) -> Self {
        let shows_bars = !printer.is_structured() && std::io::stderr().is_terminal();
        let bars = shows_bars.then(Bars::new);
        Self {
            printer: printer.clone(),
            bars,
            news: News::default(),
            last: None,
            away: Away::default(),
            timeout,
        }
    }

    /// Shows how far it is.
    pub(crate) fn show(&mut self, view: &RolloutView) {
        if self.away.is_back() {
            self.say("the coordinator is back");
        }
        if self.printer.is_structured() {
            // The last object is the outcome's.
            if view.outcome.is_none() && !self.last.as_ref().is_some_and(|last| is_same(last, view)) {
                self.printer.line(view);
            }
        } else {
            let now = Instant::now();
            let lines = self.news.of(view, now);
            match &mut self.bars {
                Some(bars) => {
                    bars.head(view, &self.news.waiting(now));
                    bars.pulls(view);
                }
                None => lines.iter().for_each(|line| self.printer.note(line)),
            }
        }
        self.last = Some(Box::new(view.clone()));
    }

    /// Time passed, and nothing was heard: says what is waited for, if it has come to last.
    pub(crate) fn tick(&mut self) {
        if self.printer.is_structured() || self.away.is_away() {
            return;
        }
        let now = Instant::now();
        match (&self.bars, &self.last) {
            (Some(bars), Some(last)) => bars.head(last, &self.news.waiting(now)),
            (Some(_), None) => {}
            (None, _) => self.news.waited(now).iter().for_each(|line| self.printer.note(line)),
        }
    }

    /// Says that the coordinator is away, now and then.
    pub(crate) fn lost(&mut self, error: &(dyn Error + 'static)) {
        let why = windlass_process::report::chain(error);
        let tail = away::until("the rollout may go on", self.timeout);
        if let Some(line) = self.away.failed(&why, &tail, Instant::now()) {
            self.say(&line);
        }
    }

    /// Above the bars, where there are some.
    fn say(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.say(text),
            None => self.printer.note(text),
        }
    }

    /// The newest view.
    pub(crate) fn last(&self) -> Option<Box<RolloutView>> {
        self.last.clone()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bars) = &self.bars {
            bars.clear();
        }
    }
}

/// Returns whether two views say the same. The time taken so far is no news.
pub(super) fn is_same(before: &RolloutView, now: &RolloutView) -> bool {
    let before = RolloutView { duration_ms: now.duration_ms, ..before.clone() };
    before == *now
}

/// Something that may take longer than a second. Shows on a terminal only.
pub(super) fn spinner(text: &str, printer: &Printer) -> ProgressBar {
    if printer.is_structured() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message(safe::line(text).into_owned());
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}
