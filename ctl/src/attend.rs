//! Looking at a service until it is as it was told. A coordinator that restarts meanwhile is waited for: what it was
//! told is stored.

mod goal;
mod outcome;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use windlass_core::ServiceId;
use windlass_core::view::StatusView;

use crate::away::{self, Away};
use crate::client::CallError;
use crate::error::CtlError;
use crate::printer::Printer;
use crate::session::Session;

use goal::Look;
pub(crate) use goal::{Done, Goal};
pub(crate) use outcome::ServiceOutcome;

/// The interval of looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Looks until it is so, or time is up.
pub(crate) async fn follow(
    service: &ServiceId,
    goal: Goal,
    timeout: Duration,
    session: &mut Session,
    printer: &Printer,
) -> Result<Done, CtlError> {
    let deadline = Instant::now() + timeout;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CtlError::Runtime)?;
    let mut last: Option<Box<StatusView>> = None;
    let (mut said, mut away) = (String::new(), Away::default());
    loop {
        let looked = tokio::select! {
            biased;
            _ = interrupt.recv() => return Ok(Done::Interrupted(last)),
            () = sleep_until(deadline) => return Ok(Done::Timeout(last)),
            looked = look(service, session) => looked,
        };
        match looked {
            Ok(status) => {
                if away.is_back() {
                    printer.note("the coordinator is back");
                }
                let status = status.map(Box::new);
                match goal.look(status.as_deref()) {
                    Look::Reached => return Ok(Done::Reached(status)),
                    Look::Overtaken => {
                        return Ok(match status.or(last) {
                            Some(status) => Done::Overtaken(status),
                            None => Done::Reached(None),
                        });
                    }
                    Look::GoesOn => show(status.as_deref(), &mut said, printer),
                }
                last = status.or(last);
            }
            Err(error) if error.is_temporary() => {
                let why = windlass_process::report::chain(&error);
                let tail = away::until("it goes on", timeout);
                if let Some(line) = away.failed(&why, &tail, Instant::now()) {
                    printer.note(&line);
                }
                // A renewal that fails while the coordinator is away is tried again, until time is up.
                drop(timeout_at(deadline, session.keep_fresh()).await);
            }
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            biased;
            _ = interrupt.recv() => return Ok(Done::Interrupted(last)),
            () = sleep(PAUSE) => {}
        }
    }
}

/// The service; none if it is not there any more.
async fn look(service: &ServiceId, session: &Session) -> Result<Option<StatusView>, CallError> {
    match session.client().status(&service.to_string()).await {
        Ok(found) => Ok(found.into_iter().next()),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Says what has changed: an object for programs, a line for people.
fn show(status: Option<&StatusView>, said: &mut String, printer: &Printer) {
    let Some(status) = status else { return };
    let text = if printer.is_structured() {
        serde_json::to_string(status).unwrap_or_default()
    } else {
        outcome::line(status)
    };
    if text == *said {
        return;
    }
    printer.line(status);
    printer.note(&text);
    *said = text;
}
