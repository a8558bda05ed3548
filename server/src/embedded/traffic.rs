//! Traffic without sockets: reports of ingresses, answers to the questions of gates, and what people say about both.

use windlass_core::gate::{Answer, QuestionKey};
use windlass_core::rollout::{Approved, Question};
use windlass_core::{HostId, RolloutId};

use super::session::{Session, of_status};
use super::{Embedded, EmbeddedError, refused};
use crate::gates;
use crate::hosts::HostError;
use crate::rollouts::{self, RolloutError};
use crate::routes;

impl Embedded {
    /// An ingress reports, on the stream of its host's agent, as the report travels.
    ///
    /// # Errors
    /// It cannot be read, or the store failed.
    pub async fn ingress_reported(&self, session: &Session, report: &[u8]) -> Result<(), EmbeddedError> {
        routes::reported(&self.coordinator, &session.host, report).await.map_err(of_status)
    }

    /// Forgets the ingress of a host, as `windlass routes forget` does.
    ///
    /// # Errors
    /// There is no such host, or the store failed.
    pub async fn forget_ingress(&self, host: &HostId) -> Result<(), EmbeddedError> {
        let forgotten = routes::forget(&self.coordinator, host.clone(), "operator/sim".to_owned());
        forgotten.await.map_err(|error| match error {
            HostError::Write(error) => error.into(),
            error => refused(error),
        })
    }

    /// Approves the step that a rollout is at, as somebody who has not asked for it.
    ///
    /// # Errors
    /// The step wants no approval, or the store failed.
    pub async fn approve(&self, rollout: &RolloutId, approved: Approved) -> Result<(), EmbeddedError> {
        let actor = "operator/approver".to_owned();
        let done = rollouts::approve(&self.coordinator, rollout.clone(), approved, actor);
        done.await.map_err(|error| match error {
            RolloutError::Write(error) => error.into(),
            error => refused(error),
        })
    }

    /// The questions of gates to providers that nobody has answered yet. Answers to others are forgotten.
    pub fn questions(&self) -> Vec<Question> {
        let coordinator = &self.coordinator;
        let open = coordinator.ledger.read(|state| gates::open(state, coordinator.ledger.now()));
        coordinator.registry.keep_answers(&open.keys().cloned().collect());
        open.into_values().filter(|question| coordinator.registry.answer(&question.key).is_none()).collect()
    }

    /// A provider has answered.
    pub fn answered(&self, key: QuestionKey, answer: Answer) {
        gates::take(&self.coordinator, key, answer);
    }
}
