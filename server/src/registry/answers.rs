//! Answers of providers to the questions of gates, until their windows are judged. In memory only: what is judged is stored.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use windlass_core::gate::{Answer, QuestionKey};

use super::Registry;

impl Registry {
    /// A provider has answered.
    pub(crate) fn answered(&self, key: QuestionKey, answer: Answer) {
        self.answers.write().unwrap_or_else(PoisonError::into_inner).insert(key, answer);
    }

    /// The answer to a question, if there is one.
    pub(crate) fn answer(&self, key: &QuestionKey) -> Option<Answer> {
        self.answers.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Forgets every answer but those to questions that are still open.
    pub(crate) fn keep_answers(&self, open: &BTreeSet<QuestionKey>) {
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|key, _| open.contains(key));
    }
}
