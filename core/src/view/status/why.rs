//! The reason why a service is not as it is to be, in one line.

use super::StatusView;
use crate::rollout::{Rollout, State};
use crate::view::{Problem, Trouble};

impl StatusView {
    /// Says how its newest rollout ended, if nothing runs and nothing moves it.
    pub fn with_last(&mut self, last: Option<&Rollout>) {
        let is_idle = self.instances.is_empty() && self.rollout.is_none();
        let bad = [State::Failed, State::RolledBack, State::Aborted];
        self.ended = last.filter(|last| is_idle && bad.contains(&last.state)).map(|last| {
            let reason = last.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("{} {}{reason}", last.to.counter, last.state.as_str().replace('_', " "))
        });
    }

    /// Returns the first reason why it is not as it is to be, and how many others there are: the conditions, else the
    /// problems of its hosts, else what it waits for, else how its last rollout ended. A host that a person cordoned hinders
    /// nothing that runs.
    pub fn why(&self) -> Option<String> {
        let hinders = |problem: &&Problem| !matches!(problem.trouble, Trouble::Cordoned);
        let of_hosts = self.problems.iter().flat_map(|of| {
            of.problems.iter().filter(hinders).map(|problem| format!("host {}: {}", of.host, problem.text))
        });
        let conditions: Vec<String> = self.conditions.iter().map(|condition| condition.line()).collect();
        let ended = self.ended.iter().cloned().collect();
        let mut all = [conditions, of_hosts.collect(), self.waiting.clone(), ended].into_iter();
        let lines = all.find(|lines| !lines.is_empty())?;
        Some(match lines.as_slice() {
            [only] => only.clone(),
            [first, others @ ..] => format!("{first} (and {} more)", others.len()),
            [] => return None,
        })
    }
}
