//! The part of an unsigned backup that an import keeps: the records that signed documents vouch for, and those that
//! let nobody in.
//!
//! | record | kept |
//! |---|---|
//! | tokens of hosts and operators | never |
//! | operators | if the fleet's CA signed their certificate; rights are those of the certificate. Else only that they were revoked |
//! | hosts | as members if the fleet's CA signed their certificate over the key of the record; else evicted |
//! | all others | as they are: releases, trust documents and plans have signatures of their own, which hosts check |

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use windlass_certs::identity::PeerIdentity;
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::verify_expired;
use windlass_core::{Digest, FleetId};

use crate::ledger::keys;
use crate::store::record::{self, HostRecord, OperatorRecord, RecordError, Standing};

/// The CA of a fleet, which vouches for certificates.
pub(crate) struct Vouching {
    /// The fleet.
    pub fleet: FleetId,
    /// Its CA's certificate.
    pub root: CertificateDer<'static>,
}

/// How much of a backup was dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Tokens of hosts and operators.
    pub tokens: usize,
    /// Operators without a certificate of the fleet's CA.
    pub operators: usize,
    /// Hosts without a certificate of the fleet's CA: they are evicted.
    pub hosts: usize,
}

type Record = (String, Vec<u8>);

impl Vouching {
    /// Leaves out what nobody vouches for.
    pub(crate) fn keep(&self, records: Vec<Record>) -> Result<(Vec<Record>, Dropped), (String, RecordError)> {
        let (mut kept, mut dropped) = (Vec::with_capacity(records.len()), Dropped::default());
        for (key, value) in records {
            let failed = |source| (key.clone(), source);
            if key.starts_with(keys::TOKEN) || key.starts_with(keys::OPERATOR_TOKEN) {
                dropped.tokens += 1;
            } else if key.starts_with(keys::OPERATOR) {
                let operator = record::decode(&value).map_err(failed)?;
                let (operator, vouched) = self.operator(operator);
                dropped.operators += usize::from(!vouched);
                kept.push((key, record::encode(&operator)));
            } else if key.starts_with(keys::HOST) {
                let host = record::decode(&value).map_err(failed)?;
                let (host, vouched) = self.host(host);
                dropped.hosts += usize::from(!vouched);
                kept.push((key, record::encode(&host)));
            } else {
                kept.push((key, value));
            }
        }
        Ok((kept, dropped))
    }

    /// The certificate of a chain, if the fleet's CA signed it. It may have expired since.
    fn certified(&self, chain: &str) -> Option<PeerIdentity> {
        let leaf = CertificateDer::pem_slice_iter(chain.as_bytes()).next()?.ok()?;
        verify_expired(&self.fleet, std::slice::from_ref(&self.root), &Revocations::new(), &leaf).ok()
    }

    fn operator(&self, record: OperatorRecord) -> (OperatorRecord, bool) {
        let peer = self
            .certified(&record.chain)
            .filter(|peer| peer.identity.operator_name() == Some(record.name.clone()));
        let vouched = peer.is_some() || record.chain.is_empty() && record.grant.is_none();
        let key = peer.as_ref().map(|peer| Digest::of(&peer.spki));
        let chain = if peer.is_some() { record.chain } else { String::new() };
        let grant = peer.and_then(|peer| peer.grant);
        (OperatorRecord { grant, key, chain, token: None, ..record }, vouched)
    }

    fn host(&self, record: HostRecord) -> (HostRecord, bool) {
        let peer = self.certified(&record.certificate.chain);
        let vouched = peer.is_some_and(|peer| {
            peer.identity.host().as_ref() == Some(&record.name) && Digest::of(&peer.spki) == record.key
        });
        if vouched || !record.is_member() {
            return (record, true);
        }
        let revoked_up_to = record.revoked_up_to.max(record.certificate.generation);
        (HostRecord { standing: Standing::Evicted, revoked_up_to, ..record }, false)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use windlass_certs::ca::{CertificateAuthority, Leaf};
    use windlass_certs::csr::TlsKey;
    use windlass_certs::identity::{Grant, Identity, Serial};
    use windlass_certs::keys::SigningKey;
    use windlass_core::Timestamp;
    use windlass_core::host::HostFacts;

    use super::*;
    use crate::store::record::CertificateRecord;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn ca() -> CertificateAuthority {
        CertificateAuthority::generate("demo".parse().unwrap(), NOW).unwrap()
    }

    fn operator(ca: &CertificateAuthority, name: &str, certified: &str, said: &str) -> (String, Vec<u8>) {
        let identity = Identity::operator("demo".parse().unwrap(), &name.parse().unwrap());
        let csr = TlsKey::generate().unwrap().csr().unwrap();
        let issued = ca.issue(&csr, &Leaf::operator(identity, certified.parse().unwrap(), 1), NOW).unwrap();
        let record = OperatorRecord {
            name: name.parse().unwrap(),
            grant: Some(said.parse().unwrap()),
            added_by: None,
            added_at: NOW,
            generation: 1,
            revoked_up_to: 5,
            not_after: None,
            revoked: None,
            key: Some(Digest::of(b"the key of mallory")),
            token: Some(Digest::of(b"a token of mallory")),
            chain: issued.chain_pem,
        };
        (format!("{}{name}", keys::OPERATOR), record::encode(&record))
    }

    fn host(ca: &CertificateAuthority, name: &str, key: Option<Digest>) -> (String, Vec<u8>) {
        let identity = Identity::agent("demo".parse().unwrap(), name.parse().unwrap());
        let csr = TlsKey::generate().unwrap().csr().unwrap();
        let issued = ca.issue(&csr, &Leaf::agent(identity, 3), NOW).unwrap();
        let record = HostRecord {
            name: name.parse().unwrap(),
            standing: Standing::Member,
            scheduling: Default::default(),
            labels: BTreeMap::new(),
            address: "10.0.0.1".to_owned(),
            receipt_key: SigningKey::generate().unwrap().public(),
            key: key.unwrap_or_else(|| Digest::of(csr.spki())),
            joined_at: NOW,
            certificate: CertificateRecord {
                generation: 3,
                serial: "01".parse::<Serial>().unwrap(),
                not_after: NOW,
                chain: issued.chain_pem,
                seen: true,
            },
            revoked_up_to: 0,
            compared: 0,
            ingress_since: None,
            token: Digest::of(b"token"),
            facts: Arc::new(HostFacts::default()),
        };
        (format!("{}{name}", keys::HOST), record::encode(&record))
    }

    #[test]
    fn only_what_the_fleets_ca_vouches_for_lets_anybody_in() {
        let (ours, other) = (ca(), ca());
        let vouching =
            Vouching { fleet: "demo".parse().unwrap(), root: ours.certificate().clone().into_owned() };
        let token = |key: &str| (format!("{key}{}", "0".repeat(64)), b"{}".to_vec());
        let (kept, dropped) = vouching
            .keep(vec![
                operator(&ours, "alice", "deployer/staging", "admin/*"),
                operator(&other, "mallory", "admin/*", "admin/*"),
                host(&ours, "web-1", None),
                host(&ours, "web-2", Some(Digest::of(b"the key of mallory"))),
                host(&other, "web-3", None),
                token(keys::TOKEN),
                token(keys::OPERATOR_TOKEN),
                ("audit/0".to_owned(), b"entry".to_vec()),
            ])
            .unwrap();
        assert_eq!(dropped, Dropped { tokens: 2, operators: 1, hosts: 2 });
        let kept: BTreeMap<String, Vec<u8>> = kept.into_iter().collect();
        let operator = |name: &str| -> OperatorRecord {
            record::decode(&kept[&format!("{}{name}", keys::OPERATOR)]).unwrap()
        };
        let alice = operator("alice");
        let granted: Grant = "deployer/staging".parse().unwrap();
        assert_eq!(alice.grant, Some(granted), "her certificate says what she may do, not the file");
        assert_ne!(alice.key, Some(Digest::of(b"the key of mallory")));
        let mallory = operator("mallory");
        assert_eq!((mallory.grant, mallory.key, mallory.chain), (None, None, String::new()));
        assert_eq!((alice.token, mallory.token, mallory.revoked_up_to), (None, None, 5));
        let host =
            |name: &str| -> HostRecord { record::decode(&kept[&format!("{}{name}", keys::HOST)]).unwrap() };
        assert!(host("web-1").is_member());
        for name in ["web-2", "web-3"] {
            let host = host(name);
            assert_eq!((host.standing, host.revoked_up_to), (Standing::Evicted, 3), "{name}");
        }
        assert!(kept.contains_key("audit/0"));
    }
}
