//! Renewing: the same name, the same key, the next generation.
//!
//! | certificate shown | newest issued | seen in use | means |
//! |---|---|---|---|
//! | n | n | – | renew: n + 1 is issued |
//! | n | n + 1 | no | the answer was lost: the same one again |
//! | n | n + 1 | yes | two machines have one identity: a clone |
//! | n | above n + 1 | – | a clone, or an old copy of the disk |
//! | n | below n | – | the coordinator was restored from a backup: n + 1 is issued |

use windlass_certs::csr::{Csr, RenewalClaim, verify_proof};
use windlass_certs::identity::PeerIdentity;
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::verify_expired;
use windlass_core::{Digest, HostId};

use super::error::EnrolError;
use super::limiter::Limiter;
use super::operator;
use super::request::{Expired, RENEWABLE};
use crate::audit;
use crate::authority::Authority;
use crate::ledger::{Change, WriteBatch};
use crate::store::record::{CertificateRecord, HostRecord, Membership};

pub(super) fn renew(
    batch: &mut WriteBatch<'_>,
    authority: &Authority,
    limiter: &Limiter,
    peer: &PeerIdentity,
    csr: &Csr,
) -> Result<String, EnrolError> {
    if peer.spki != csr.spki() {
        return Err(EnrolError::OtherKey);
    }
    match (peer.identity.host(), &peer.grant) {
        (Some(host), _) => renew_host(batch, authority, limiter, &host, peer.generation, csr),
        (None, Some(grant)) => operator::certify(batch, authority, limiter, peer, grant, csr),
        (None, None) => Err(EnrolError::WrongRole),
    }
}

pub(super) fn renew_expired(
    batch: &mut WriteBatch<'_>,
    authority: &Authority,
    limiter: &Limiter,
    revocations: &Revocations,
    expired: &Expired,
    csr: &Csr,
) -> Result<String, EnrolError> {
    let peer = &expired.peer;
    let host = peer.identity.host().ok_or(EnrolError::WrongRole)?;
    let record = member(batch, &host)?;
    // The certificate itself is only a claim here; the enrolled key, proven, is what counts. But not for a generation
    // that we know nothing of: only our CA's signature tells a coordinator that was restored from a backup from a
    // host that makes one up.
    if peer.generation > record.certificate.generation && !is_ours(batch, authority, revocations, expired) {
        return Err(EnrolError::Unproven);
    }
    if record.key != Digest::of(&peer.spki) || peer.identity.fleet() != &batch.state.fleet {
        return Err(EnrolError::Unproven);
    }
    let claim = RenewalClaim {
        fleet: batch.state.fleet.clone(),
        host: host.clone(),
        generation: peer.generation,
        challenge: expired.challenge,
        csr: csr.digest(),
    };
    if !verify_proof(&peer.spki, &claim, &expired.proof) {
        return Err(EnrolError::Unproven);
    }
    if batch.now.since(record.certificate.not_after) > RENEWABLE {
        return Err(EnrolError::TooOld);
    }
    if peer.spki != csr.spki() {
        return Err(EnrolError::OtherKey);
    }
    renew_host(batch, authority, limiter, &host, peer.generation, csr)
}

fn renew_host(
    batch: &mut WriteBatch<'_>,
    authority: &Authority,
    limiter: &Limiter,
    host: &HostId,
    shown: u64,
    csr: &Csr,
) -> Result<String, EnrolError> {
    let record = member(batch, host)?.clone();
    if record.key != Digest::of(csr.spki()) {
        return Err(EnrolError::OtherKey);
    }
    let newest = &record.certificate;
    if shown.checked_add(1) == Some(newest.generation) && !newest.seen && batch.now < newest.not_after {
        return Ok(newest.chain.clone());
    }
    let lost_and_expired = shown.checked_add(1) == Some(newest.generation) && !newest.seen;
    if shown < newest.generation && !lost_and_expired {
        report_clone(batch, record, shown);
        return Err(EnrolError::Cloned(host.clone()));
    }
    limiter.agent(host.as_str(), batch.now)?;
    let generation = shown.max(newest.generation).checked_add(1).ok_or(EnrolError::Issue)?;
    let issued = authority
        .certify_agent(host.clone(), csr, generation, batch.now)
        .map_err(|error| EnrolError::issue(&error))?;
    let certificate = CertificateRecord {
        generation,
        serial: issued.peer.serial,
        not_after: issued.peer.not_after,
        chain: issued.chain_pem.clone(),
        seen: false,
    };
    batch.audit(audit::ok(&format!("agent/{host}"), "host.renew", &certificate.serial));
    batch.change(Change::Host(Box::new(HostRecord { certificate, ..record })));
    Ok(issued.chain_pem)
}

/// Whether our CA signed the certificate.
fn is_ours(
    batch: &WriteBatch<'_>,
    authority: &Authority,
    revocations: &Revocations,
    expired: &Expired,
) -> bool {
    let root = authority.ca().certificate().clone().into_owned();
    verify_expired(&batch.state.fleet, &[root], revocations, &expired.leaf).is_ok()
}

fn member<'a>(batch: &WriteBatch<'a>, host: &HostId) -> Result<&'a HostRecord, EnrolError> {
    let record = batch.state.hosts.get(host).ok_or_else(|| EnrolError::NotAMember(host.clone()))?;
    match record.standing {
        Membership::Member => Ok(record),
        Membership::Evicted => Err(EnrolError::NotAMember(host.clone())),
        Membership::Banned => Err(EnrolError::Banned(host.clone())),
        Membership::Cloned => Err(EnrolError::Cloned(host.clone())),
    }
}

fn report_clone(batch: &mut WriteBatch<'_>, record: HostRecord, shown: u64) {
    let newest = record.certificate.generation;
    let outcome = format!("refused: clone, generation {shown} renews after {newest} was in use");
    cut_off(batch, record, "host.renew", &outcome, "two machines renew from one certificate");
}

/// Cuts a host off that two machines claim to be: which of them is the right one, a person knows.
pub(super) fn cut_off(
    batch: &mut WriteBatch<'_>,
    record: HostRecord,
    verb: &'static str,
    outcome: &str,
    what: &str,
) {
    let host = record.name.clone();
    batch.audit(audit::fact(&format!("agent/{host}"), verb, &host, Some(record.key), outcome));
    let text = format!("{what}; both are cut off, what they run goes on");
    batch.event("host.cloned", host.as_str(), text);
    batch.change(Change::Host(Box::new(HostRecord { standing: Membership::Cloned, ..record })));
}
