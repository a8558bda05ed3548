//! The part of an unsigned backup that an import keeps: the records that signed documents vouch for, and those that
//! let nobody in.
//!
//! | record | kept |
//! |---|---|
//! | tokens of hosts and operators | never |
//! | operators | whom an admin names, if the fleet's CA signed their certificate; rights are those of the certificate. The others' certificates are revoked |
//! | hosts | as members those that an admin names, if the fleet's CA signed their certificate over the key of the record; else evicted |
//! | that somebody was revoked, evicted or banned | yes: an entry that is missing is believed of nobody |
//! | all others | as they are: releases, trust documents and plans have signatures of their own, which hosts check |

use std::collections::BTreeSet;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use windlass_certs::identity::PeerIdentity;
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::verify_expired;
use windlass_core::{Digest, FleetId, HostId, OperatorName, Timestamp};

use crate::ledger::keys;
use crate::store::record::{
    self, CertificateRecord, ClosedRecord, HostRecord, Membership, OperatorRecord, RecordError,
};

/// The CA of a fleet, which vouches for certificates.
pub(crate) struct Vouching {
    /// The fleet.
    pub fleet: FleetId,
    /// Its CA's certificate.
    pub root: CertificateDer<'static>,
    /// Members whom an admin has named.
    pub confirmed: Confirmed,
    /// The time of the import.
    pub now: Timestamp,
}

/// Members of whom an admin says that nobody has revoked them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Confirmed {
    operators: BTreeSet<OperatorName>,
    hosts: BTreeSet<HostId>,
}

/// Text that names no member.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is neither `operator/NAME` nor `host/NAME`")]
pub(crate) struct NoMember(String);

impl Confirmed {
    /// Reads names of members.
    pub(crate) fn parse(members: &[String]) -> Result<Self, NoMember> {
        let mut confirmed = Self::default();
        for member in members {
            let bad = || NoMember(member.chars().take(80).collect());
            match member.split_once('/').ok_or_else(bad)? {
                ("operator", name) => confirmed.operators.insert(name.parse().map_err(|_| bad())?),
                ("host", name) => confirmed.hosts.insert(name.parse().map_err(|_| bad())?),
                _ => return Err(bad()),
            };
        }
        Ok(confirmed)
    }
}

/// The dropped part of a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Tokens of hosts and operators.
    pub tokens: usize,
    /// Operators without a certificate of the fleet's CA.
    pub operators: usize,
    /// Hosts without a certificate of the fleet's CA: they are evicted.
    pub hosts: usize,
    /// Hosts and operators whom no admin has named: they have to join again.
    pub unconfirmed: usize,
}

/// Generations that are left out, so that certificates are revoked that the backup does not know of.
const GAP: u64 = 1_000_000;

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
                dropped.unconfirmed +=
                    usize::from(vouched && !self.confirmed.operators.contains(&operator.name));
                kept.push((key, record::encode(&operator)));
            } else if key.starts_with(keys::HOST) {
                let host: HostRecord = record::decode(&value).map_err(failed)?;
                let was_member = host.is_member();
                let (host, vouched) = self.host(host);
                dropped.hosts += usize::from(!vouched);
                dropped.unconfirmed += usize::from(vouched && was_member && !host.is_member());
                kept.push((key, record::encode(&host)));
            } else if key != keys::CLOSED {
                kept.push((key, value));
            }
        }
        // Whose record was left out is as little known as whose was changed.
        let closed = ClosedRecord { at: self.now, confirmed: self.confirmed.operators.clone() };
        kept.push((keys::CLOSED.to_owned(), record::encode(&closed)));
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
        if !self.confirmed.operators.contains(&record.name) {
            let last = peer.map_or(0, |peer| peer.generation).max(record.generation);
            let closed = beyond(last.max(record.revoked_up_to));
            let (generation, revoked_up_to) = (closed, closed);
            let (grant, key, token, chain) = (None, None, None, String::new());
            return (
                OperatorRecord { grant, key, token, chain, generation, revoked_up_to, ..record },
                vouched,
            );
        }
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
        let is_kept = vouched && self.confirmed.hosts.contains(&record.name) && record.is_member();
        if is_kept || record.standing == Membership::Banned {
            return (record, true);
        }
        let is_news = record.is_member() && !vouched;
        let last = record.revoked_up_to.max(record.certificate.generation);
        let standing = if record.is_member() { Membership::Evicted } else { record.standing };
        let revoked_up_to = beyond(last);
        let certificate = CertificateRecord { generation: revoked_up_to, ..record.certificate };
        (HostRecord { standing, revoked_up_to, certificate, ..record }, !is_news)
    }
}

/// A generation that no certificate in use has reached, whatever the backup says, and that leaves room for later ones.
fn beyond(last: u64) -> u64 {
    last.min(1 << 48).saturating_add(GAP)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use windlass_certs::ca::{CertificateAuthority, Leaf};
    use windlass_certs::csr::TlsKey;
    use windlass_certs::identity::{Grant, Identity, Serial};
    use windlass_certs::keys::SigningKey;
    use windlass_core::host::HostFacts;

    use super::*;

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
            standing: Membership::Member,
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
        let named = ["operator/alice", "operator/mallory", "host/web-1", "host/web-2", "host/web-3"];
        let confirmed = Confirmed::parse(&named.map(str::to_owned)).unwrap();
        let vouching = Vouching {
            fleet: "demo".parse().unwrap(),
            root: ours.certificate().clone().into_owned(),
            confirmed,
            now: NOW,
        };
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
        assert_eq!(dropped, Dropped { tokens: 2, operators: 1, hosts: 2, unconfirmed: 0 });
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
            assert_eq!((host.standing, host.revoked_up_to), (Membership::Evicted, 3 + GAP), "{name}");
        }
        assert!(kept.contains_key("audit/0"));
    }

    /// The writer of the file has taken every ban out, and certificates are as good as before.
    #[test]
    fn that_nobody_is_revoked_is_believed_of_who_is_named() {
        let ours = ca();
        let confirmed = Confirmed::parse(&["operator/alice".to_owned(), "host/web-1".to_owned()]).unwrap();
        let vouching = Vouching {
            fleet: "demo".parse().unwrap(),
            root: ours.certificate().clone().into_owned(),
            confirmed,
            now: NOW,
        };
        let banned = {
            let (key, value) = host(&ours, "web-3", None);
            let record: HostRecord = record::decode(&value).unwrap();
            (key, record::encode(&HostRecord { standing: Membership::Banned, ..record }))
        };
        let forged = ClosedRecord { at: Timestamp::ZERO, confirmed: ["bob".parse().unwrap()].into() };
        let (kept, dropped) = vouching
            .keep(vec![
                operator(&ours, "alice", "admin/*", "admin/*"),
                operator(&ours, "bob", "admin/*", "admin/*"),
                host(&ours, "web-1", None),
                host(&ours, "web-2", None),
                banned,
                (keys::CLOSED.to_owned(), record::encode(&forged)),
            ])
            .unwrap();
        assert_eq!(dropped, Dropped { unconfirmed: 2, ..Dropped::default() });
        let kept: BTreeMap<String, Vec<u8>> = kept.into_iter().collect();
        let operator = |name: &str| -> OperatorRecord {
            record::decode(&kept[&format!("{}{name}", keys::OPERATOR)]).unwrap()
        };
        assert_eq!((operator("alice").revoked_up_to, operator("alice").generation), (5, 1));
        let bob = operator("bob");
        assert_eq!(
            (bob.grant, bob.key, bob.revoked_up_to),
            (None, None, 5 + GAP),
            "he joins again, or not at all"
        );
        let standing = |name: &str| {
            let host: HostRecord = record::decode(&kept[&format!("{}{name}", keys::HOST)]).unwrap();
            (host.standing, host.certificate.generation)
        };
        assert_eq!(standing("web-1"), (Membership::Member, 3));
        assert_eq!(standing("web-2"), (Membership::Evicted, 3 + GAP));
        assert_eq!(standing("web-3").0, Membership::Banned, "a ban stays");
        let closed: ClosedRecord = record::decode(&kept[keys::CLOSED]).unwrap();
        assert_eq!((closed.at, closed.confirmed), (NOW, ["alice".parse().unwrap()].into()));
        assert!(Confirmed::parse(&["alice".to_owned()]).is_err());
        assert!(Confirmed::parse(&["root/alice".to_owned()]).is_err());
    }
}
