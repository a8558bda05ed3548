//! Joining: a token and a key become a host.

use std::net::IpAddr;
use std::sync::Arc;

use windlass_core::host::HostFacts;
use windlass_core::traffic::is_of_a_host;
use windlass_core::{Digest, HostId, Timestamp};

use super::error::EnrolError;
use super::request::{Join, Joined};
use crate::audit;
use crate::authority::Authority;
use crate::ledger::{Change, State, WriteBatch};
use crate::plans;
use crate::store::record::{CertificateRecord, HostRecord, Membership, TokenRecord};

pub(super) fn join(
    batch: &mut WriteBatch<'_>,
    authority: &Authority,
    join: &Join,
) -> Result<Joined, EnrolError> {
    check_address(&join.address)?;
    let hash = join.secret.hash();
    let known = batch.state.hosts.get(&join.host);
    if let Some(banned) = known.filter(|record| record.standing == Membership::Banned) {
        // Written for the machine that was banned, not for whoever knows its name.
        if banned.token == hash {
            refuse(batch, join, "banned");
        }
        return Err(EnrolError::Banned(join.host.clone()));
    }
    let token = batch.state.tokens.get(&hash);
    if let Some(token) = token.filter(|token| token.host == join.host && batch.now < token.expires_at) {
        return enrol(batch, authority, join, token);
    }
    match known.filter(|record| record.token == hash) {
        Some(record) => retry(batch, join, record),
        // Strangers can say anything; nothing is written for them.
        None => Err(EnrolError::InvalidToken),
    }
}

/// Whether a token of `host` is one of ours, used or not. The check is repeated, with the key, in the write that takes it.
pub(super) fn knows(state: &State, host: &HostId, hash: &Digest) -> Result<(), EnrolError> {
    let known = state.hosts.get(host);
    let is_open = state.tokens.get(hash).is_some_and(|token| &token.host == host);
    if is_open || known.is_some_and(|record| &record.token == hash) {
        return Ok(());
    }
    // Strangers can say anything; nothing is written for them.
    let banned = known.is_some_and(|record| record.standing == Membership::Banned);
    Err(if banned { EnrolError::Banned(host.clone()) } else { EnrolError::InvalidToken })
}

/// The same token again: the answer was lost, or somebody else has the token.
fn retry(batch: &mut WriteBatch<'_>, join: &Join, record: &HostRecord) -> Result<Joined, EnrolError> {
    let fresh = batch.now < record.certificate.not_after && record.is_member();
    if record.key != Digest::of(join.csr.spki()) {
        refuse(batch, join, "token reused with another key");
        batch.event(
            "host.token_reused",
            join.host.as_str(),
            "somebody tried to join with a token that was used before, by another key",
        );
        return Err(EnrolError::TokenReused);
    }
    if fresh { Ok(answer(batch.state, record)) } else { Err(EnrolError::InvalidToken) }
}

fn enrol(
    batch: &mut WriteBatch<'_>,
    authority: &Authority,
    join: &Join,
    token: &TokenRecord,
) -> Result<Joined, EnrolError> {
    let known = batch.state.hosts.get(&join.host);
    let last = known.map_or(0, |record| record.certificate.generation);
    let certificate = issue(authority, join, last + 1, batch.now)?;
    let record = HostRecord {
        name: join.host.clone(),
        standing: Membership::Member,
        scheduling: known.map(|record| record.scheduling).unwrap_or_default(),
        labels: token.labels.clone(),
        address: join.address.clone(),
        receipt_key: join.receipt_key.clone(),
        key: Digest::of(join.csr.spki()),
        joined_at: batch.now,
        certificate,
        // The earlier holder of this name is somebody else now.
        revoked_up_to: last,
        compared: batch.state.segment(),
        ingress_since: None,
        token: token.hash,
        facts: Arc::new(HostFacts {
            labels: token.labels.clone(),
            address: join.address.clone(),
            ..known.map(|record| HostFacts::clone(&record.facts)).unwrap_or_default()
        }),
    };
    let joined = answer(batch.state, &record);
    let actor = format!("agent/{}", join.host);
    batch.audit(audit::fact(&actor, "host.join", &join.host, Some(record.key), "ok"));
    batch.event_by(
        &actor,
        "host.joined",
        join.host.as_str(),
        format!("joined with a token by {}", token.made_by),
    );
    batch.change(Change::TokenGone(token.hash));
    batch.change(Change::Host(Box::new(record)));
    plans::number(batch, &join.host);
    Ok(joined)
}

fn issue(
    authority: &Authority,
    join: &Join,
    generation: u64,
    now: Timestamp,
) -> Result<CertificateRecord, EnrolError> {
    let issued = authority
        .certify_agent(join.host.clone(), &join.csr, generation, now)
        .map_err(|error| EnrolError::issue(&error))?;
    Ok(CertificateRecord {
        generation,
        serial: issued.peer.serial,
        not_after: issued.peer.not_after,
        chain: issued.chain_pem,
        seen: false,
    })
}

fn answer(state: &State, record: &HostRecord) -> Joined {
    Joined {
        fleet: state.fleet.clone(),
        chain: record.certificate.chain.clone(),
        trust: state.trust_chain.clone(),
        labels: record.labels.clone(),
    }
}

fn refuse(batch: &mut WriteBatch<'_>, join: &Join, why: &str) {
    let key = Digest::of(join.csr.spki());
    batch.audit(audit::fact("stranger", "host.join", &join.host, Some(key), &format!("refused: {why}")));
}

fn check_address(address: &str) -> Result<(), EnrolError> {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A host that names an address of the cloud or of everybody would have requests led there.
    let ok = match address.parse::<IpAddr>() {
        Ok(address) => is_of_a_host(address),
        Err(_) => address.len() <= 253 && address.split('.').all(label),
    };
    if ok { Ok(()) } else { Err(EnrolError::Address(address.chars().take(80).collect())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["10.0.0.1", "::1", "localhost", "web-1.example.com"] {
            assert!(check_address(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a b",
            "-a",
            "a..b",
            "http://a",
            "a:80",
            "a/b",
            "\n",
            "169.254.169.254",
            "0.0.0.0",
            "::ffff:169.254.1.1",
            "224.0.0.1",
            "fe80::1",
        ] {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }
}
