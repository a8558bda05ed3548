//! Publishing a newer trust document. Its signatures are what counts: the coordinator can only pass it on.

use windlass_certs::trust::{Advance, TrustError};

use crate::audit;
use crate::coordinator::Coordinator;
use crate::ledger::{Change, WriteError};

/// The reason for which it was not published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// It does not follow the one in force.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Not stored.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Stores the next version and tells every host. Answers with the version in force.
pub(crate) async fn publish(
    coordinator: &Coordinator,
    envelope: Vec<u8>,
    actor: String,
) -> Result<u64, PublishError> {
    coordinator
        .ledger
        .write(move |batch| {
            let mut trust = batch.state.trust.clone();
            let advanced = trust.advance(&envelope);
            let outcome = advanced
                .as_ref()
                .map_or_else(|error| format!("refused: {}", error.code()), |_| "ok".to_owned());
            let subject = format!("version {}", trust.version());
            batch.audit(audit::fact(&actor, "trust.publish", &subject, Some(trust.digest()), &outcome));
            if let Advance::Taken { version, .. } = advanced? {
                batch.event_by(
                    &actor,
                    "trust.published",
                    "fleet",
                    format!("version {version} of the trust document by {actor}"),
                );
                batch.change(Change::Trust(version, envelope));
            }
            Ok(trust.version())
        })
        .await?
}
