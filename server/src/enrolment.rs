//! Enrolment of hosts and operators: tokens, joining, renewing.
//!
//! Everything is decided in one write of the ledger, so that a token is used once however many try at once.
//! A retry is told from a theft by the key: the same key gets the same answer, another one is refused, and
//! people hear of it.

mod challenge;
mod error;
mod join;
mod limiter;
mod operator;
mod operators;
mod renew;
mod request;
mod token;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use windlass_certs::csr::Csr;
use windlass_certs::identity::{Identity, PeerIdentity};
use windlass_certs::join::{JoinSecret, JoinToken};
use windlass_certs::revocation::{Closed, Revocations};
use windlass_core::quota::{Source, printable};
use windlass_core::{HostId, OperatorName, Timestamp};

use crate::authority::Authority;
use crate::crash::Point;
use crate::ledger::{Ledger, WriteBatch, WriteError};
use crate::peers::Peers;
use crate::store::record::{HostRecord, Membership};

pub(crate) use error::EnrolError;
pub(crate) use request::{Expired, Join, JoinOperator, Joined, JoinedOperator};

use challenge::Challenges;
use limiter::Limiter;

/// Enrolment of hosts and operators. Clones share everything.
#[derive(Clone)]
pub(crate) struct Enrolment {
    ledger: Ledger,
    authority: Authority,
    revocations: Revocations,
    challenges: Arc<Challenges>,
    limiter: Arc<Limiter>,
    peers: Peers,
}

impl Enrolment {
    /// Enrolment with these parts.
    pub(crate) fn new(ledger: Ledger, authority: Authority, revocations: Revocations, peers: Peers) -> Self {
        let lifetimes = authority.lifetimes();
        let limiter = Arc::new(Limiter::new(lifetimes.agent, lifetimes.operator));
        Self { ledger, authority, revocations, challenges: Arc::default(), limiter, peers }
    }

    /// Makes a token for `host`, to be shown once.
    pub(crate) async fn token(
        &self,
        host: HostId,
        labels: BTreeMap<String, String>,
        actor: String,
    ) -> Result<(JoinToken, Timestamp), EnrolError> {
        let (fleet, trust_pin) =
            self.ledger.read(|state| (state.fleet.clone(), first_digest(&state.trust_chain)));
        let token = JoinToken::new(fleet, host.clone(), self.authority.ca().fingerprint(), trust_pin)
            .map_err(|_| EnrolError::Issue)?;
        let hash = token.secret().hash();
        let expires_at =
            self.ledger.write(move |batch| token::make(batch, hash, host, labels, actor)).await??;
        Ok((token, expires_at))
    }

    /// Refuses a token that is not this host's, before any costly work.
    pub(crate) fn knows(&self, host: &HostId, secret: &JoinSecret, from: IpAddr) -> Result<(), EnrolError> {
        let known = self.ledger.read(|state| join::knows(state, host, &secret.hash()));
        known.map_err(|error| self.refused(host.as_str(), from, error))
    }

    /// The same for an operator.
    pub(crate) fn knows_operator(
        &self,
        name: &OperatorName,
        secret: &JoinSecret,
        from: IpAddr,
    ) -> Result<(), EnrolError> {
        let known = self.ledger.read(|state| operator::knows(state, name, &secret.hash()));
        let refused = |error| self.refused(&format!("operator {name}"), from, error);
        if known { Ok(()) } else { Err(refused(EnrolError::InvalidOperatorToken)) }
    }

    /// Trades a token for a certificate.
    pub(crate) async fn join(&self, join: Join, from: IpAddr) -> Result<Joined, EnrolError> {
        let authority = self.authority.clone();
        let host = join.host.clone();
        let joined = self.ledger.write(move |batch| join::join(batch, &authority, &join)).await?;
        Point::JoinStored.pass();
        self.note(&host, from, joined)
    }

    /// A nonce to sign.
    pub(crate) fn challenge(&self) -> Option<[u8; 32]> {
        self.challenges.make(self.ledger.now())
    }

    /// A new certificate for whoever the connection's certificate names.
    pub(crate) async fn renew(&self, peer: Arc<PeerIdentity>, csr: Arc<Csr>) -> Result<String, EnrolError> {
        let (authority, limiter) = (self.authority.clone(), self.limiter.clone());
        let host = peer.identity.host();
        let decide = move |batch: &mut WriteBatch<'_>| renew::renew(batch, &authority, &limiter, &peer, &csr);
        let renewed = self.ledger.write(decide).await?;
        Point::RenewStored.pass();
        if let Some(host) = host {
            self.enforce(&host);
        }
        renewed
    }

    /// Cuts off a host that two machines connect as.
    pub(crate) async fn cut_off(&self, host: &HostId) -> Result<EnrolError, WriteError> {
        let name = host.clone();
        self.ledger
            .write(move |batch| {
                if let Some(record) =
                    batch.state.hosts.get(&name).filter(|record| record.is_member()).cloned()
                {
                    let outcome = "refused: clone, a process came back after another one had taken its place";
                    renew::cut_off(
                        batch,
                        record,
                        "host.connect",
                        outcome,
                        "two machines connect with one certificate",
                    );
                }
            })
            .await?;
        self.enforce(host);
        Ok(EnrolError::Cloned(host.clone()))
    }

    /// A new certificate for whoever proves an expired one's key.
    pub(crate) async fn renew_expired(
        &self,
        expired: Expired,
        csr: Arc<Csr>,
        from: IpAddr,
    ) -> Result<String, EnrolError> {
        let name = expired.peer.identity.name().to_owned();
        if !self.challenges.take(&expired.challenge, self.ledger.now()) {
            return Err(self.refused(&name, from, EnrolError::Unproven));
        }
        let (authority, revocations) = (self.authority.clone(), self.revocations.clone());
        let limiter = self.limiter.clone();
        let Some(host) = expired.peer.identity.host() else {
            let renewed = self
                .ledger
                .write(move |batch| {
                    operator::renew_expired(batch, &authority, &limiter, &revocations, &expired, &csr)
                })
                .await?;
            return renewed.map_err(|error| self.refused(&name, from, error));
        };
        let renewed = self
            .ledger
            .write(move |batch| {
                renew::renew_expired(batch, &authority, &limiter, &revocations, &expired, &csr)
            })
            .await?;
        self.enforce(&host); // a clone is cut off whichever way it was found out
        self.note(&host, from, renewed)
    }

    /// Cuts connections and refuses handshakes as the host's record says. Called after every change of it.
    pub(crate) fn enforce(&self, host: &HostId) {
        let record = self.ledger.read(|state| state.hosts.get(host).map(revoked_up_to));
        if let Some(up_to) = record.filter(|up_to| *up_to > 0) {
            let identity = Identity::agent(self.authority.ca().fleet().clone(), host.clone());
            let cut = self.revocations.revoke_identity(&identity, up_to);
            if cut > 0 {
                tracing::info!(%host, connections = cut, "cut connections of a revoked or superseded certificate");
            }
        }
    }

    /// The same for every host and operator, at the start.
    pub(crate) fn enforce_all(&self) {
        let hosts: Vec<HostId> = self.ledger.read(|state| state.hosts.keys().cloned().collect());
        hosts.iter().for_each(|host| self.enforce(host));
        if let Some(closed) = self.ledger.read(|state| state.closed.clone()) {
            let fleet = self.authority.ca().fleet();
            let kept = self.ledger.read(|state| state.operators.keys().cloned().collect::<Vec<_>>());
            let known =
                kept.iter().chain(&closed.confirmed).map(|name| Identity::operator(fleet.clone(), name));
            self.revocations.close(Closed { before: closed.at, known: known.collect() });
        }
        let operators: Vec<OperatorName> =
            self.ledger.read(|state| state.operators.keys().cloned().collect());
        operators.iter().for_each(|name| self.enforce_operator(name));
    }

    fn note<T>(&self, host: &HostId, from: IpAddr, outcome: Result<T, EnrolError>) -> Result<T, EnrolError> {
        if outcome.is_ok() {
            self.enforce(host);
        }
        outcome.map_err(|error| self.refused(host.as_str(), from, error))
    }

    /// The answer to a peer that got no certificate. After a few failures of one address all answers are alike.
    fn refused(&self, name: &str, from: IpAddr, error: EnrolError) -> EnrolError {
        let from_text = Source::of(from).to_string();
        self.peers.log_limited(&from_text, || {
            let (name, why) = (printable(name, 64), printable(&error.to_string(), 96));
            tracing::warn!(%name, from = %from_text, "refused a certificate: {why}");
        });
        // Our own failure is not the caller's.
        let ours = matches!(error, EnrolError::Write(_) | EnrolError::Issue);
        if !ours && self.limiter.failed(from, self.ledger.now()) { EnrolError::TooMany } else { error }
    }
}

/// The newest generation of a host's certificates that is revoked or superseded.
fn revoked_up_to(record: &HostRecord) -> u64 {
    match record.standing {
        Membership::Member => record.revoked_up_to,
        Membership::Evicted | Membership::Cloned => record.certificate.generation,
        Membership::Banned => u64::MAX,
    }
}

fn first_digest(chain: &[Vec<u8>]) -> windlass_core::Digest {
    let parse = |bytes: &Vec<u8>| {
        windlass_certs::dsse::Envelope::parse(bytes, windlass_certs::trust::MAX_LEN).map(|e| e.digest())
    };
    chain.first().and_then(|bytes| parse(bytes).ok()).expect("a fleet has a first trust document")
}
