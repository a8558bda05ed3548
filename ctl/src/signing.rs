//! From a checked manifest to a signed release. Release keys are read here and nowhere else.

use std::path::{Path, PathBuf};

use windlass_certs::dsse::{Envelope, PayloadType, TooManySignatures, VerifyError};
use windlass_certs::json::{self, DecodeError};
use windlass_certs::keys::{KeyError, KeyId, SigningKey};
use windlass_certs::trust::{Acceptance, TrustDocument};
use windlass_core::release::{Release, Spec};
use windlass_core::{Counter, FleetId, ServiceId};

use crate::clock;
use crate::context::Context;
use crate::error::Failure;

/// The way on from a trust document that has expired.
pub(crate) const RENEW: &str = "whoever has the root key renews it: `windlass trust renew --expires 365d`";

/// The reason why a release was not signed, or is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    #[error("failed to load the release key")]
    Key(#[source] KeyError),
    #[error(transparent)]
    TooMany(#[from] TooManySignatures),
    #[error("`{file}` is not a signed release")]
    NotARelease {
        file: String,
        #[source]
        source: VerifyError,
    },
    #[error("`{file}` does not hold a release that this program reads")]
    Unreadable {
        file: String,
        #[source]
        source: DecodeError,
    },
    #[error("the trust document does not let these keys sign releases of `{service}`")]
    Refused {
        service: ServiceId,
        #[source]
        source: VerifyError,
    },
    #[error("the release is of fleet `{got}`, the context is of fleet `{want}`")]
    OtherFleet { want: FleetId, got: FleetId },
    #[error("the trust document has expired: no new release is taken")]
    TrustExpired,
}

impl Failure for SignError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Key(error) => error.hint().or_else(|| Some("name one with --key".to_owned())),
            Self::Refused { source: VerifyError::BelowThreshold { .. }, .. } => Some(
                "get the missing signatures: `release sign -f … --out FILE`, then the others `release sign \
                 --envelope FILE`, then `deploy --release FILE`"
                    .to_owned(),
            ),
            Self::Refused { service, .. } => Some(format!(
                "sign with a key that `windlass trust show` lists for this environment, or have yours added by whoever has the \
                 root key: `windlass trust add-key PUBLIC_KEY --scope {}`",
                service.environment
            )),
            Self::TrustExpired => Some(RENEW.to_owned()),
            Self::OtherFleet { .. } => Some("choose the context with --context".to_owned()),
            Self::NotARelease { file, .. } => Some(format!(
                "a manifest is deployed with `windlass deploy -f {}`; a signed release is made with `windlass release sign`",
                crate::shell::quote(file)
            )),
            Self::TooMany(_) | Self::Unreadable { .. } => None,
        }
    }
}

/// Loads the keys that sign: those named on the command line, else the context's, else the fleet folder's.
pub(crate) fn keys(given: &[PathBuf], context: &Context) -> Result<Vec<SigningKey>, SignError> {
    let own = [context.fleet.release_key()];
    let paths = [given, &context.config.release_keys, &own].into_iter().find(|list| !list.is_empty());
    paths.unwrap_or_default().iter().map(|path| SigningKey::load(path).map_err(SignError::Key)).collect()
}

/// Puts a release together.
pub(crate) fn release(
    fleet: FleetId,
    service: ServiceId,
    counter: Counter,
    author: String,
    spec: Spec,
) -> Release {
    Release {
        version: spec.version(),
        fleet,
        environment: service.environment,
        service: service.name,
        counter,
        created_at: clock::now(),
        author,
        spec,
    }
}

/// The bytes of a release that are signed.
pub(crate) fn payload(release: &Release) -> Vec<u8> {
    serde_json::to_vec(release).expect("a release has only string keys, so it is JSON")
}

/// Signs a release's bytes.
pub(crate) fn sign(payload: Vec<u8>, keys: &[SigningKey]) -> Envelope {
    Envelope::sign(PayloadType::Release, payload, &keys.iter().collect::<Vec<_>>())
}

/// Reads an envelope and the release in it, neither verified.
pub(crate) fn read(file: &Path, bytes: &[u8]) -> Result<(Envelope, Release), SignError> {
    let file = || file.display().to_string();
    let not = |source| SignError::NotARelease { file: file(), source };
    let envelope = Envelope::parse(bytes, PayloadType::Release.max_len()).map_err(not)?;
    if envelope.payload_type() != PayloadType::Release {
        let got = envelope.payload_type().to_string();
        return Err(not(VerifyError::WrongType { got, want: Some(PayloadType::Release) }));
    }
    let release =
        decode(envelope.payload_bytes()).map_err(|source| SignError::Unreadable { file: file(), source })?;
    Ok((envelope, release))
}

/// Reads a release's bytes.
pub(crate) fn decode(payload: &[u8]) -> Result<Release, DecodeError> {
    json::decode_bounded(payload, PayloadType::Release.max_len())
}

/// Checks a release as a host would: signatures, threshold, fleet. Answers with the keys that signed.
pub(crate) fn verify(
    envelope: &Envelope,
    release: &Release,
    trust: &TrustDocument,
    acceptance: Acceptance,
) -> Result<Vec<KeyId>, SignError> {
    if release.fleet != trust.fleet {
        return Err(SignError::OtherFleet { want: trust.fleet.clone(), got: release.fleet.clone() });
    }
    if acceptance == Acceptance::New && !trust.accepts_new_releases(clock::now()) {
        return Err(SignError::TrustExpired);
    }
    let service = release.service_id();
    let keys = trust.release_keys(&service, acceptance);
    let verified = envelope
        .verify(PayloadType::Release, &keys)
        .map_err(|source| SignError::Refused { service, source })?;
    Ok(verified.signers().iter().cloned().collect())
}
