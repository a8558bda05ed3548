//! `host drain`: no new slots, and following until those that are there have left.

use std::time::Duration;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use windlass_core::HostId;
use windlass_core::fleet::Scheduling;
use windlass_core::time::display_measured;
use windlass_core::view::HostView;

use crate::args::AttendArgs;
use crate::away::{self, Away};
use crate::client::HostAction;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::session::Session;

/// The interval of looks.
const PAUSE: Duration = Duration::from_millis(500);

/// The outcome of a drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub(super) struct DrainOutcome {
    /// The host.
    pub(super) host: HostId,
    /// `succeeded | stuck | superseded`; null while it goes on, which is how a timeout and `--detach` end.
    pub(super) outcome: Option<&'static str>,
    /// Slots that are left.
    pub(super) slots: u32,
    /// Those of them that cannot leave: their named volumes are there, or their last rollout did not succeed.
    pub(super) pinned: u32,
    /// The reasons for which the others wait.
    pub(super) waiting: Vec<String>,
    /// The time for which it was followed, in milliseconds.
    pub(super) duration_ms: u64,
}

pub(super) async fn run(
    host: &HostId,
    how: AttendArgs,
    mut session: Session,
    printer: &Printer,
) -> Result<Exit, CtlError> {
    let begun_at = Instant::now();
    let mut view = session.client().steer_host(host, HostAction::Drain).await?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CtlError::Runtime)?;
    let deadline = begun_at + how.timeout.duration();
    let (mut said, mut away) = (String::new(), Away::default());
    let exit = loop {
        if let Some(exit) = reached(&view).or(how.detach.then_some(Exit::Done)) {
            break exit;
        }
        show(&view, &mut said, printer);
        tokio::select! {
            biased;
            _ = interrupt.recv() => break Exit::Interrupted,
            () = sleep_until(deadline) => break Exit::Timeout,
            () = sleep(PAUSE) => {}
        }
        match session.client().host(host).await {
            Ok(seen) => {
                if away.is_back() {
                    printer.note("the coordinator is back");
                }
                view = seen;
            }
            Err(error) if error.is_temporary() => {
                let why = windlass_process::report::chain(&error);
                let tail = away::until("it goes on", how.timeout.duration());
                if let Some(line) = away.failed(&why, &tail, Instant::now()) {
                    printer.note(&line);
                }
                drop(timeout_at(deadline, session.keep_fresh()).await);
            }
            Err(error) => return Err(error.into()),
        }
    };
    let outcome = outcome(&view, exit, begun_at.elapsed());
    if exit == Exit::Done {
        printer.result(&sentence(&outcome));
    } else {
        printer.note(&sentence(&outcome));
    }
    printer.line(&outcome);
    Ok(exit)
}

/// Returns whether the drain is at its end.
fn reached(view: &HostView) -> Option<Exit> {
    if view.scheduling != Scheduling::Draining {
        Some(Exit::Superseded)
    } else if view.slots == 0 {
        Some(Exit::Done)
    } else {
        (view.slots == view.pinned).then_some(Exit::Stopped)
    }
}

fn outcome(view: &HostView, exit: Exit, took: Duration) -> DrainOutcome {
    let ended = reached(view).filter(|reached| *reached == exit);
    DrainOutcome {
        host: view.name.clone(),
        outcome: ended.map(|exit| match exit {
            Exit::Done => "succeeded",
            Exit::Superseded => "superseded",
            _ => "stuck",
        }),
        slots: view.slots,
        pinned: view.pinned,
        waiting: view.waiting.clone(),
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}

fn sentence(outcome: &DrainOutcome) -> String {
    let DrainOutcome { host, slots, pinned, .. } = outcome;
    let counted = |count: u32| format!("{count} {}", if count == 1 { "slot" } else { "slots" });
    let are = |count: u32| if count == 1 { "is" } else { "are" };
    let took = display_measured(Duration::from_millis(outcome.duration_ms));
    let mut text = match outcome.outcome {
        Some("succeeded") => {
            format!("{host}: empty after {took}; `windlass host uncordon {host}` uses it again")
        }
        Some("superseded") => {
            format!("{host}: somebody uncordoned it, {} {} left", counted(*slots), are(*slots))
        }
        Some(_) => format!("{host}: {} cannot leave it, the others have", counted(*pinned)),
        None => format!(
            "{host}: {} {} left; the drain goes on: `windlass host show {host}`",
            counted(*slots),
            are(*slots)
        ),
    };
    for wait in outcome.waiting.iter().filter(|_| outcome.outcome != Some("succeeded")) {
        text.push_str(&format!("\n  waiting: {wait}"));
    }
    text
}

/// Says what has changed: an object for programs, a line for people.
fn show(view: &HostView, said: &mut String, printer: &Printer) {
    let slots = if view.slots == 1 { "slot" } else { "slots" };
    let mut text = format!("{}: {} {slots} left", view.name, view.slots);
    for wait in view.waiting.iter().take(3) {
        text.push_str(&format!("\n  waiting: {wait}"));
    }
    if text != *said {
        printer.note(&text);
        printer.line(view);
        *said = text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(scheduling: &str, slots: u32, pinned: u32) -> HostView {
        let json = serde_json::json!({
            "name": "web-1", "state": "connected", "scheduling": scheduling, "labels": {}, "address": "", "last_seen": null,
            "agent_version": "", "engine_version": "", "engine": "available", "os": "", "kernel": "", "platform": "",
            "cpu_millis": 0, "memory": 0, "memory_reserved": 0, "gpus": [], "slots": slots, "pinned": pinned,
            "issued_seq": 0, "seq": 0, "plan_refusal": null, "stats": null, "waiting": ["default/db: a place"],
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_look_tells_empty_from_stuck_and_from_going_on() {
        #[rustfmt::skip]
        let table = [
            ("empty",                       view("draining", 0, 0), Some(0), "web-1: empty after 1s; `windlass host uncordon web-1` uses it again"),
            ("only volumes are left",       view("draining", 2, 2), Some(4), "web-1: 2 slots cannot leave it, the others have\n  waiting: default/db: a place"),
            ("one may still leave",         view("draining", 3, 2), None,    "web-1: 3 slots are left; the drain goes on: `windlass host show web-1`\n  waiting: default/db: a place"),
            ("one is left",                 view("draining", 1, 0), None,    "web-1: 1 slot is left; the drain goes on: `windlass host show web-1`\n  waiting: default/db: a place"),
            ("somebody uncordoned it",      view("ready", 3, 0),    Some(6), "web-1: somebody uncordoned it, 3 slots are left\n  waiting: default/db: a place"),
        ];
        for (case, view, code, said) in table {
            assert_eq!(reached(&view).map(Exit::code), code, "{case}");
            let exit = reached(&view).unwrap_or(Exit::Timeout);
            assert_eq!(sentence(&outcome(&view, exit, Duration::from_millis(1040))), said, "{case}");
        }
    }
}
