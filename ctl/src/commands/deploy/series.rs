//! Several services, one after the other: how each of them ended, in one summary.

use windlass_core::ServiceId;

use crate::exit::Exit;
use crate::printer::Printer;

/// The services of one command.
pub(super) struct Series<'a> {
    services: &'a [ServiceId],
    is_detached: bool,
    done: usize,
}

impl<'a> Series<'a> {
    /// None of them has begun.
    pub(super) const fn new(services: &'a [ServiceId], is_detached: bool) -> Self {
        Self { services, is_detached, done: 0 }
    }

    /// Notes how one ended, and prints the summary after the last one. Returns whether the next one begins.
    pub(super) fn goes_on(&mut self, service: &ServiceId, exit: Exit, printer: &Printer) -> bool {
        let is_good = exit == Exit::Done;
        self.done += usize::from(is_good);
        let is_last = !is_good || self.done == self.services.len();
        if is_last && self.services.len() > 1 {
            let text = self.summary(service, exit);
            if is_good { printer.result(&text) } else { printer.note(&text) }
        }
        is_good
    }

    fn summary(&self, last: &ServiceId, exit: Exit) -> String {
        let width = self.services.iter().map(|service| service.to_string().len()).max().unwrap_or(0) + 2;
        let mut text = format!("{} of {} services {}", self.done, self.services.len(), self.word(Exit::Done));
        for (n, service) in self.services.iter().enumerate() {
            let how = match n < self.done {
                true => self.word(Exit::Done),
                false if service == last => self.word(exit),
                false => "not submitted",
            };
            text.push_str(&format!("\n  {:width$}{how}", service.to_string()));
        }
        text
    }

    const fn word(&self, exit: Exit) -> &'static str {
        match exit {
            Exit::Done if self.is_detached => "submitted",
            Exit::Done | Exit::Changes => "done",
            Exit::Refused | Exit::Usage => "failed, nothing changed",
            Exit::Back => "back at the release before",
            Exit::Stopped => "stopped; manual action required",
            Exit::Timeout | Exit::Interrupted => "goes on",
            Exit::Superseded => "superseded",
        }
    }
}
