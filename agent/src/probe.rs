//! Probes: one light task per running instance asks its questions and says what changed.
//!
//! The first question comes at once. While an instance has never been ready, a refused connection is asked
//! about again within milliseconds: a service is seen healthy as soon as it listens, and waiting for it to
//! listen counts as no failure.

use std::sync::{Arc, PoisonError};

use tokio::sync::mpsc;
use tokio::time::Instant;
use windlass_core::Timestamp;
use windlass_core::observation::ProbeResult;
use windlass_core::release;

use crate::runtime::Runtime;

mod answers;
mod check;
mod pace;
mod state;
mod subject;

pub use answers::Answers;
use answers::Entry;
use state::State;
pub use subject::{History, Report, Subject};

/// Answers kept per instance.
const HISTORY: usize = 10;

/// Whether there are any questions at all.
pub const fn has_probes(probes: &release::Health) -> bool {
    probes.startup.is_some() || probes.readiness.is_some() || probes.liveness.is_some()
}

/// Asks until it is dropped, or nobody wants to know any more. Reports what changes, and the first answer.
pub async fn watch<R: Runtime>(
    runtime: Arc<R>,
    subject: Subject,
    reports: mpsc::Sender<Report>,
    now: fn() -> Timestamp,
) {
    let mut state = State::new(&subject, now());
    let mut entry = Entry::new(&subject.answers, &subject.container);
    loop {
        let Some((due, index)) = state.next() else { return };
        tokio::time::sleep_until(due).await;
        let schedule = &mut state.schedules[index];
        let began = Instant::now();
        let answer = check::ask(&*runtime, &subject, &schedule.probe, &mut schedule.hanging).await;
        let at = now();
        if schedule.counts && !answer.is_unasked {
            entry.note(answer.ok, answer.took.unwrap_or_else(|| began.elapsed()));
        }
        remember(
            &subject.history,
            ProbeResult {
                at,
                probe: schedule.kind.name().to_owned(),
                ok: answer.ok,
                detail: answer.detail.clone(),
            },
        );
        if let Some(health) = state.take(index, &answer, at) {
            let report = Report { container: subject.container.clone(), run: subject.run, health };
            if reports.send(report).await.is_err() {
                return;
            }
        }
    }
}

fn remember(history: &History, result: ProbeResult) {
    let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
    if history.len() >= HISTORY {
        history.remove(0);
    }
    history.push(result);
}

#[cfg(test)]
mod tests;
