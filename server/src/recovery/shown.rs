//! A host that is held lists the releases that it keeps, and shows those that it is asked for.

use std::collections::BTreeSet;

use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::trust::Acceptance;
use windlass_core::release::{RELEASE_VERSIONS, Release};
use windlass_core::{Digest, HostId};
use windlass_proto::pb;

use super::error::RecoveryError;
use super::memory::unless_taken;
use crate::coordinator::Coordinator;
use crate::ledger::State;

/// Digests that a host may list.
const MOST_KEPT: usize = 4096;
/// Releases that one host is asked for.
const MOST_ASKED: usize = 1024;

/// A host says which releases it keeps. Answers with those to ask it for.
pub(crate) fn listed(
    coordinator: &Coordinator,
    host: &HostId,
    digests: &[String],
) -> Result<Vec<Digest>, RecoveryError> {
    if digests.len() > MOST_KEPT {
        return Err(RecoveryError::TooMany { found: digests.len(), most: MOST_KEPT });
    }
    let parsed = digests.iter().map(|text| text.parse()).collect::<Result<BTreeSet<Digest>, _>>();
    let kept = parsed.map_err(RecoveryError::Digest)?;
    // Nobody asked: nobody listens. The lock is never held while the ledger is read, see `look`.
    let Some((wanted, known)) = coordinator.recoveries.may_list(host) else { return Ok(Vec::new()) };
    let unknown: Vec<Digest> = coordinator.ledger.read(|state| {
        let unknown = |digest: &&Digest| !state.entries.contains_key(digest) && !known.contains(digest);
        let (first, rest): (Vec<_>, Vec<_>) =
            kept.iter().filter(unknown).copied().partition(|digest| wanted.contains(digest));
        first.into_iter().chain(rest).take(MOST_ASKED).collect()
    });
    coordinator.recoveries.ask(host, &unknown);
    Ok(unknown)
}

/// A host shows a release. What nobody asked for is nothing.
pub(crate) fn shown(coordinator: &Coordinator, host: &HostId, report: &pb::ReleaseReport) {
    let Ok(digest) = report.digest.parse::<Digest>() else { return };
    if !coordinator.recoveries.answers(host, &digest) {
        return;
    }
    let believed = coordinator.ledger.read(|state| believe(state, &digest, &report.envelope));
    let Some(why) = coordinator.recoveries.keep(host, digest, believed, &report.envelope) else { return };
    coordinator.peers.log_limited(&format!("agent/{host}"), || {
        let why = windlass_core::quota::printable(&why, 80);
        tracing::warn!(%host, digest = %digest.short(), why, "a release that a host has shown is not believed");
    });
}

/// The agent's checks before it keeps a release, here once more: whatever a host says, operators have signed it.
fn believe(state: &State, digest: &Digest, bytes: &[u8]) -> Result<Release, String> {
    if bytes.is_empty() {
        return Err("the host does not keep it".to_owned());
    }
    let max = PayloadType::Release.max_len();
    let envelope = Envelope::parse(bytes, max).map_err(|error| error.code().to_string())?;
    if &envelope.digest() != digest {
        return Err("another one was shown".to_owned());
    }
    let claimed: Release = windlass_certs::json::decode_bounded(envelope.payload_bytes(), max)
        .map_err(|_| "it cannot be decoded".to_owned())?;
    // An earlier life of this coordinator has taken it, so that retired keys count.
    let keys = state.trust.document().release_keys(&claimed.service_id(), Acceptance::Accepted);
    let verified = envelope.verify(PayloadType::Release, &keys);
    let release: Release =
        verified.and_then(|verified| verified.decode()).map_err(|error| error.code().to_string())?;
    if release.fleet != state.fleet || !RELEASE_VERSIONS.contains(&release.version) {
        return Err("it is of another fleet or format".to_owned());
    }
    let stored = state.entries.values().filter(|entry| entry.service == release.service_id());
    unless_taken(stored.map(|entry| entry.name), &release, digest)?;
    Ok(release)
}
