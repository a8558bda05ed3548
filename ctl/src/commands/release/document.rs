//! A release as `show`, `sign` and `verify` print it.

use serde::Serialize;
use windlass_certs::dsse::Envelope;
use windlass_certs::trust::{Acceptance, TrustDocument};
use windlass_core::Digest;
use windlass_core::release::Release;

use crate::{signing, table};

/// The document of `release show`, `sign` and `verify`.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct ReleaseDocument {
    /// Digest of the payload.
    pub(crate) digest: Digest,
    /// Digest of the content: what quarantine and "unchanged" go by.
    pub(crate) content: Digest,
    /// Whether the signatures suffice, by the trust document in the home folder.
    pub(crate) trusted: bool,
    /// The reason, if they do not.
    pub(crate) problem: Option<String>,
    /// Ids of the keys whose signatures hold and count.
    pub(crate) signed_by: Vec<String>,
    /// The number of signatures that the trust document asks for.
    pub(crate) needed: usize,
    /// The payload.
    pub(crate) release: Release,
}

impl ReleaseDocument {
    pub(super) fn of(
        envelope: &Envelope,
        release: Release,
        trust: &TrustDocument,
        acceptance: Acceptance,
    ) -> Self {
        let verified = signing::verify(envelope, &release, trust, acceptance);
        let problem = verified.as_ref().err().map(|error| windlass_process::report::chain(error));
        let needed = trust.release_keys(&release.service_id(), acceptance).threshold();
        let signed_by = verified.unwrap_or_default().iter().map(ToString::to_string).collect();
        let (digest, content) = (envelope.digest(), release.content_digest());
        Self { digest, content, trusted: problem.is_none(), problem, signed_by, needed, release }
    }

    pub(super) fn table(&self) -> String {
        let verdict = match &self.problem {
            None => {
                let needed = self.needed.max(1);
                let counted = self.signed_by.len();
                format!("valid: {counted} of {needed} required release signatures")
            }
            Some(problem) => format!("NOT TRUSTED: {problem}"),
        };
        table::release(&self.release, &self.digest.to_string(), &self.signed_by, &verdict)
    }
}
