//! A store that is older than its fleet: what hosts show, and what a person says about it.

use std::collections::BTreeSet;

use windlass_core::view::{RecoveringState, RecoveryView};
use windlass_core::{Digest, HostId};
use windlass_proto::pb;

use super::session::of_status;
use super::{Embedded, EmbeddedError, Session, refused};
use crate::recovery::{self, Answer, RecoveryError};

impl Embedded {
    /// A host says which releases it keeps. Answers with those to ask it for.
    ///
    /// # Errors
    /// It lists too many, or the store failed.
    pub async fn kept(&self, session: &Session, digests: &[Digest]) -> Result<Vec<Digest>, EmbeddedError> {
        let listed: Vec<String> = digests.iter().map(ToString::to_string).collect();
        let wanted = recovery::listed(&self.coordinator, &session.host, &listed)
            .map_err(|error| of_status(error.into()))?;
        self.adopt_unchanged(session).await?;
        Ok(wanted)
    }

    /// A host shows a release.
    ///
    /// # Errors
    /// The store failed.
    pub async fn shown(
        &self,
        session: &Session,
        digest: &Digest,
        envelope: Vec<u8>,
    ) -> Result<(), EmbeddedError> {
        let report = pb::ReleaseReport { digest: digest.to_string(), envelope: envelope.into() };
        recovery::shown(&self.coordinator, &session.host, &report);
        self.adopt_unchanged(session).await
    }

    async fn adopt_unchanged(&self, session: &Session) -> Result<(), EmbeddedError> {
        recovery::adopt_unchanged(&self.coordinator, &session.host)
            .await
            .map_err(|error| of_status(error.into()))
    }

    /// The changes of a recovery, as `windlass host recover` shows them.
    pub fn recovery(&self, keep_store: &BTreeSet<HostId>) -> RecoveryView {
        recovery::preview(&self.coordinator, keep_store.clone())
    }

    /// Looks at what would be taken over, and says that it counts: the plans that hosts hold, but for those of
    /// `overruled`.
    ///
    /// # Errors
    /// There is nothing to say about one of them, or the store failed.
    pub async fn recover(&self, overruled: &BTreeSet<HostId>) -> Result<RecoveryView, EmbeddedError> {
        let asked = |state| matches!(state, RecoveringState::KeepStore);
        let preview = self.recovery(overruled);
        let keep_store = preview.hosts.iter().filter(|host| asked(host.state)).map(|host| host.host.clone());
        let answer = Answer {
            keep_store: keep_store.collect(),
            preview: preview.digest,
            actor: "operator/sim".to_owned(),
        };
        recovery::go_on(&self.coordinator, answer).await.map_err(|error| match error {
            RecoveryError::Write(error) => error.into(),
            error => refused(error),
        })
    }
}
