//! `events`: what happened in the fleet. A followed stream that breaks is taken up again where it ended, by the
//! number of the last event: nothing is lost or said twice, as long as the coordinator still keeps it.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use windlass_core::view::EventView;
use windlass_core::{HostId, ServiceId};
use windlass_process::{Backoff, backoff, report};

use super::near;
use crate::args::{EventsArgs, Global};
use crate::client::{CallError, Client, EventItem, EventQuery, EventStream};
use crate::clock;
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::session::Session;
use crate::table::printable;
use crate::unknown::Unknown;

/// The interval of looks at the certificate's age.
const FRESH: Duration = Duration::from_secs(1);

pub(super) async fn run(args: &EventsArgs, global: &Global, printer: &Printer) -> Result<Exit, CtlError> {
    let context = Context::load(global)?;
    let mut session = context.session().await?;
    let service = match &args.service {
        Some(name) => Some(context.service(name, &mut session.client()).await?),
        None => None,
    };
    if args.follow {
        note_unknown(&context, service.as_ref(), args.host.as_ref(), &mut session.client(), printer).await;
    }
    let service = service.map(|id| id.to_string()).unwrap_or_default();
    let query = EventQuery {
        tail: args.tail.min(1000),
        follow: args.follow,
        from: None,
        since: args.since.map(|since| since.at(clock::now())),
        service,
        host: args.host.as_ref().map(ToString::to_string).unwrap_or_default(),
        kind: args.kind.clone().unwrap_or_default(),
    };
    let mut followed = Followed::new(query);
    loop {
        // Each branch only waits. Opening a stream is not cut short by the look at the certificate.
        let pause = if followed.stream.is_some() { FRESH } else { Duration::MAX };
        let next = tokio::select! {
            next = followed.next(&session) => next,
            () = sleep(pause) => {
                followed.note(session.keep_fresh().await.err().as_ref().map(|e| report::chain(e)), printer);
                continue;
            }
        };
        match next {
            Ok(Some(item)) => followed.take(item, printer),
            Ok(None) if !args.follow => {
                if !followed.has_shown {
                    printer.note("no events match; the coordinator keeps the newest 2000");
                }
                return Ok(Exit::Done);
            }
            Ok(None) => followed.lost(),
            Err(error) if args.follow && error.is_temporary() => {
                followed.note(Some(report::chain(&error)), printer);
                followed.lost();
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Notes that a name is waited for: a service or host that is followed may still come, or its name is wrong.
async fn note_unknown(
    context: &Context,
    service: Option<&ServiceId>,
    host: Option<&HostId>,
    client: &mut Client,
    printer: &Printer,
) {
    let service = service.cloned().map(Unknown::Service);
    for wanted in service.into_iter().chain(host.cloned().map(Unknown::Host)) {
        if let Some(note) = near::awaited(&wanted, client, context.config.environment.as_ref()).await {
            printer.note(&note);
        }
    }
}

/// The stream, or the wait for the next one.
struct Followed {
    query: EventQuery,
    stream: Option<EventStream>,
    backoff: Backoff,
    not_before: Instant,
    away: bool,
    has_shown: bool,
}

impl Followed {
    fn new(query: EventQuery) -> Self {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(3));
        Self { query, stream: None, backoff, not_before: Instant::now(), away: false, has_shown: false }
    }

    async fn next(&mut self, session: &Session) -> Result<Option<EventItem>, CallError> {
        if self.stream.is_none() {
            sleep_until(self.not_before).await;
            self.stream = Some(session.client().events(&self.query).await?);
        }
        let Some(stream) = self.stream.as_mut() else { return Ok(None) };
        stream.next().await
    }

    fn take(&mut self, item: EventItem, printer: &Printer) {
        self.backoff.reset();
        if self.away {
            self.away = false;
            printer.note("the coordinator is back");
        }
        if item.missed > 0 {
            printer.warn(&format!("up to {} events in between are kept no more", item.missed));
        }
        if self.query.from.is_some_and(|from| item.next < from) {
            printer.warn("the coordinator knows fewer events than before: was a backup restored? Going on from its newest");
        }
        self.query.from = Some(item.next);
        if let Some(event) = &item.event {
            show(event, printer);
            self.has_shown = true;
        }
    }

    fn note(&mut self, problem: Option<String>, printer: &Printer) {
        if let Some(problem) = problem.filter(|_| !self.away) {
            self.away = true;
            printer.note(&format!("lost the coordinator ({problem}); trying again"));
        }
    }

    fn lost(&mut self) {
        self.stream = None;
        self.not_before = Instant::now() + self.backoff.next(backoff::random());
    }
}

fn show(event: &EventView, printer: &Printer) {
    if printer.is_structured() {
        printer.line(event);
    } else {
        let message = printable(&event.message);
        printer.text(&format!("{}  {:<22} {:<28} {message}", event.at, event.kind, event.subject));
    }
}
