//! Operators' certificates. The ledger keeps no record of operators: what counts is that our CA signed the
//! certificate, that nobody revoked it, and that whoever asks has its key.

use windlass_certs::csr::{Csr, RenewalClaim, verify_proof};
use windlass_certs::identity::{Grant, PeerIdentity};
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::verify_expired;

use super::renew::{RENEWABLE, issue_failed};
use super::{EnrolError, Expired};
use crate::audit;
use crate::authority::Authority;
use crate::ledger::Draft;

/// The next certificate for the same operator, with the same grant.
pub(super) fn certify(
    draft: &mut Draft<'_>,
    authority: &Authority,
    peer: &PeerIdentity,
    grant: &Grant,
    csr: &Csr,
) -> Result<String, EnrolError> {
    let identity = peer.identity.clone();
    let actor = format!("operator/{}", identity.name());
    let issued = authority
        .certify_operator(identity, grant.clone(), csr, peer.generation.saturating_add(1), draft.now)
        .map_err(|error| issue_failed(&error))?;
    draft.audit(audit::ok(&actor, "operator.renew", &issued.peer.serial));
    Ok(issued.chain_pem)
}

/// The same after it expired, with proof of its key.
pub(super) fn renew_expired(
    draft: &mut Draft<'_>,
    authority: &Authority,
    revocations: &Revocations,
    expired: &Expired,
    csr: &Csr,
) -> Result<String, EnrolError> {
    let root = authority.ca().certificate().clone().into_owned();
    let peer = verify_expired(&draft.state.fleet, &[root], revocations, &expired.leaf)
        .map_err(|_| EnrolError::Unproven)?;
    let grant = peer.grant.clone().ok_or(EnrolError::WrongRole)?;
    let claim = RenewalClaim {
        fleet: draft.state.fleet.clone(),
        host: peer.identity.name().parse().map_err(|_| EnrolError::WrongRole)?,
        generation: peer.generation,
        challenge: expired.challenge,
        csr: csr.digest(),
    };
    if !verify_proof(&peer.spki, &claim, &expired.proof) {
        return Err(EnrolError::Unproven);
    }
    if peer.spki != csr.spki() {
        return Err(EnrolError::OtherKey);
    }
    if draft.now.since(peer.not_after) > RENEWABLE {
        return Err(EnrolError::TooOld);
    }
    certify(draft, authority, &peer, &grant, csr)
}
