//! How hosts come into the fleet and stay in it: tokens, joining, renewing.
//!
//! Everything is decided in one write of the ledger, so that a token is used once however many try at once.
//! A retry is told from a theft by the key: the same key gets the same answer, another one is refused, and
//! people hear of it.

mod challenge;
mod join;
mod limiter;
mod operator;
mod renew;
mod token;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use windlass_certs::csr::{Csr, Proof};
use windlass_certs::identity::{Grant, Identity, PeerIdentity};
use windlass_certs::join::{JoinSecret, JoinToken, OperatorToken};
use windlass_certs::keys::PublicKey;
use windlass_certs::revocation::Revocations;
use windlass_core::{FleetId, HostId, OperatorName, Timestamp};

use crate::authority::Authority;
use crate::crash::Point;
use crate::ledger::{Draft, Ledger, WriteError};
use crate::store::record::{HostRecord, Standing};

use challenge::Challenges;
use limiter::Limiter;

/// Enrolment of hosts. Clones share everything.
#[derive(Clone)]
pub(crate) struct Enrolment {
    ledger: Ledger,
    authority: Authority,
    revocations: Revocations,
    challenges: Arc<Challenges>,
    limiter: Arc<Limiter>,
}

/// A request to join, parsed.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// As which host.
    pub host: HostId,
    /// The token's secret.
    pub secret: JoinSecret,
    /// The certificate request.
    pub csr: Arc<Csr>,
    /// Where published ports are reached.
    pub address: String,
    /// What signs the host's receipts.
    pub receipt_key: PublicKey,
}

/// What a host that joined gets.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    /// Its fleet.
    pub fleet: FleetId,
    /// Leaf and CA, PEM.
    pub chain: String,
    /// Every version of the trust document.
    pub trust: Vec<Vec<u8>>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A request to become an operator, parsed.
#[derive(Debug, Clone)]
pub(crate) struct JoinOperator {
    /// As whom.
    pub name: OperatorName,
    /// The token's secret.
    pub secret: JoinSecret,
    /// The certificate request.
    pub csr: Arc<Csr>,
}

/// What an operator who joined gets.
#[derive(Debug, Clone)]
pub(crate) struct JoinedOperator {
    /// Leaf and CA, PEM.
    pub chain: String,
    /// Every version of the trust document.
    pub trust: Vec<Vec<u8>>,
}

/// Proof of an expired certificate's key.
#[derive(Debug, Clone)]
pub(crate) struct Expired {
    /// What the certificate says; only believed where the ledger, or for operators the CA, says the same.
    pub peer: PeerIdentity,
    /// The certificate, DER.
    pub leaf: Vec<u8>,
    /// The challenge that was signed.
    pub challenge: [u8; 32],
    /// The signature.
    pub proof: Proof,
}

/// Why somebody got no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnrolError {
    /// No such token, for this host, now.
    #[error("the token is not valid: it is unknown, used, expired or of another host")]
    InvalidToken,
    /// Used before, with another key.
    #[error("the token was used before, by another key")]
    TokenReused,
    /// No such token, for this operator, now.
    #[error("the token is not valid: it is unknown, used, expired or of another operator")]
    InvalidOperatorToken,
    /// Used before, with another key.
    #[error("the token was used before, by another key")]
    OperatorTokenReused,
    /// Taken out by an admin.
    #[error("operator `{0}` is revoked")]
    Revoked(OperatorName),
    /// Nobody takes themselves out: the last admin would be gone.
    #[error("you cannot revoke yourself")]
    Yourself,
    /// The name may never join again.
    #[error("host `{0}` is banned")]
    Banned(HostId),
    /// Not in the fleet.
    #[error("host `{0}` is not in the fleet")]
    NotAMember(HostId),
    /// Two machines with one identity.
    #[error("two machines renew as host `{0}`; neither gets a certificate")]
    Cloned(HostId),
    /// The request is by another key than the certificate.
    #[error("the request is by another key than the enrolled one")]
    OtherKey,
    /// The proof does not hold.
    #[error("the proof of the expired certificate does not hold")]
    Unproven,
    /// Expired more than 30 days ago.
    #[error("the certificate has expired too long ago")]
    TooOld,
    /// Only agents and operators renew here.
    #[error("this identity does not renew here")]
    WrongRole,
    /// Too many failures from one address.
    #[error("too many failed attempts from this address")]
    TooMany,
    /// The address is none.
    #[error("`{0}` is neither an IP address nor a DNS name")]
    Address(String),
    /// The CA failed; the log says how.
    #[error("the certificate could not be issued")]
    Issue,
    /// Not stored.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl EnrolError {
    /// What the user can do next.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::InvalidToken | Self::TokenReused | Self::TooOld => {
                Some("make a new token with `windlass host token HOST` and join again".to_owned())
            }
            Self::InvalidOperatorToken | Self::OperatorTokenReused | Self::Revoked(_) => {
                Some("ask an admin for a new token: `windlass operator add NAME --role ROLE`".to_owned())
            }
            Self::Yourself => Some("another admin can".to_owned()),
            Self::NotAMember(host) => {
                Some(format!("join again with a token from `windlass host token {host}`"))
            }
            Self::Cloned(host) => {
                Some(format!("`windlass host evict {host}`, then join the right machine with a new token"))
            }
            Self::Banned(_) => Some("a ban is for ever: give the machine another name".to_owned()),
            Self::TooMany => Some("wait a minute".to_owned()),
            Self::OtherKey | Self::Unproven | Self::WrongRole | Self::Address(_) | Self::Issue => None,
            Self::Write(_) => None,
        }
    }
}

impl Enrolment {
    /// Enrolment with these parts.
    pub(crate) fn new(ledger: Ledger, authority: Authority, revocations: Revocations) -> Self {
        Self { ledger, authority, revocations, challenges: Arc::default(), limiter: Arc::default() }
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
            self.ledger.write(move |draft| token::make(draft, hash, host, labels, actor)).await??;
        Ok((token, expires_at))
    }

    /// Trades a token for a certificate.
    pub(crate) async fn join(&self, join: Join, from: IpAddr) -> Result<Joined, EnrolError> {
        self.limiter.check(from, self.ledger.now())?;
        let authority = self.authority.clone();
        let host = join.host.clone();
        let joined = self.ledger.write(move |draft| join::join(draft, &authority, &join)).await?;
        Point::JoinStored.pass();
        self.note(&host, from, joined)
    }

    /// Makes a token for an operator, to be shown once.
    pub(crate) async fn operator_token(
        &self,
        name: OperatorName,
        grant: Grant,
        by: &Arc<PeerIdentity>,
    ) -> Result<(OperatorToken, Timestamp), EnrolError> {
        let (fleet, trust_pin) =
            self.ledger.read(|state| (state.fleet.clone(), first_digest(&state.trust_chain)));
        let token = OperatorToken::new(fleet, name.clone(), self.authority.ca().fingerprint(), trust_pin)
            .map_err(|_| EnrolError::Issue)?;
        let (hash, by) = (token.secret().hash(), by.clone());
        let decide = move |draft: &mut Draft<'_>| {
            operator::note(draft, &by);
            operator::token(draft, hash, name, grant, format!("operator/{}", by.identity.name()))
        };
        let expires_at = self.ledger.write(decide).await?;
        Ok((token, expires_at))
    }

    /// Trades such a token for a certificate.
    pub(crate) async fn join_operator(
        &self,
        join: JoinOperator,
        from: IpAddr,
    ) -> Result<JoinedOperator, EnrolError> {
        self.limiter.check(from, self.ledger.now())?;
        let (authority, name) = (self.authority.clone(), join.name.clone());
        let joined = self.ledger.write(move |draft| operator::join(draft, &authority, &join)).await?;
        match &joined {
            Ok(_) => self.enforce_operator(&name),
            Err(error) => {
                tracing::warn!(operator = %name, %from, %error, "refused a certificate");
                self.limiter.failed(from, self.ledger.now());
            }
        }
        joined
    }

    /// Takes an operator's certificates and tokens away, and cuts their connections.
    pub(crate) async fn revoke_operator(
        &self,
        name: OperatorName,
        by: &Arc<PeerIdentity>,
    ) -> Result<(), EnrolError> {
        let (by, who) = (by.clone(), name.clone());
        let decide = move |draft: &mut Draft<'_>| {
            operator::note(draft, &by);
            operator::revoke(draft, &who, &format!("operator/{}", by.identity.name()))
        };
        self.ledger.write(decide).await??;
        self.enforce_operator(&name);
        Ok(())
    }

    /// Cuts connections and refuses handshakes as the operator's record says.
    fn enforce_operator(&self, name: &OperatorName) {
        let up_to = self.ledger.read(|state| state.operators.get(name).map(|record| record.revoked_up_to));
        if let Some(up_to) = up_to.filter(|up_to| *up_to > 0) {
            let identity = Identity::operator(self.authority.ca().fleet().clone(), name);
            let cut = self.revocations.revoke_identity(&identity, up_to);
            if cut > 0 {
                tracing::info!(operator = %name, connections = cut, "cut connections of a certificate that counts no more");
            }
        }
    }

    /// A nonce to sign.
    pub(crate) fn challenge(&self) -> Option<[u8; 32]> {
        self.challenges.make(self.ledger.now())
    }

    /// A new certificate for whoever the connection's certificate names.
    pub(crate) async fn renew(&self, peer: Arc<PeerIdentity>, csr: Arc<Csr>) -> Result<String, EnrolError> {
        let authority = self.authority.clone();
        let host = peer.identity.host();
        let renewed = self.ledger.write(move |draft| renew::renew(draft, &authority, &peer, &csr)).await?;
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
            .write(move |draft| {
                if let Some(record) =
                    draft.state.hosts.get(&name).filter(|record| record.is_member()).cloned()
                {
                    let outcome = "refused: clone, a process came back after another one had taken its place";
                    renew::cut_off(
                        draft,
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
        let now = self.ledger.now();
        self.limiter.check(from, now)?;
        if !self.challenges.take(&expired.challenge, now) {
            self.limiter.failed(from, now);
            return Err(EnrolError::Unproven);
        }
        let (authority, revocations) = (self.authority.clone(), self.revocations.clone());
        let Some(host) = expired.peer.identity.host() else {
            let renewed = self
                .ledger
                .write(move |draft| operator::renew_expired(draft, &authority, &revocations, &expired, &csr))
                .await?;
            if let Err(error) = &renewed {
                tracing::warn!(%from, %error, "refused an operator's certificate");
                self.limiter.failed(from, now);
            }
            return renewed;
        };
        let renewed = self
            .ledger
            .write(move |draft| renew::renew_expired(draft, &authority, &revocations, &expired, &csr))
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
                tracing::info!(%host, connections = cut, "cut connections of a certificate that counts no more");
            }
        }
    }

    /// The same for every host and operator, at the start.
    pub(crate) fn enforce_all(&self) {
        let hosts: Vec<HostId> = self.ledger.read(|state| state.hosts.keys().cloned().collect());
        hosts.iter().for_each(|host| self.enforce(host));
        let operators: Vec<OperatorName> =
            self.ledger.read(|state| state.operators.keys().cloned().collect());
        operators.iter().for_each(|name| self.enforce_operator(name));
    }

    fn note<T>(&self, host: &HostId, from: IpAddr, outcome: Result<T, EnrolError>) -> Result<T, EnrolError> {
        match &outcome {
            Ok(_) => self.enforce(host),
            Err(error) => {
                tracing::warn!(%host, %from, %error, "refused a certificate");
                self.limiter.failed(from, self.ledger.now());
            }
        }
        outcome
    }
}

/// Up to which generation a host's certificates count no more.
fn revoked_up_to(record: &HostRecord) -> u64 {
    match record.standing {
        Standing::Member => record.revoked_up_to,
        Standing::Evicted | Standing::Cloned => record.certificate.generation,
        Standing::Banned => u64::MAX,
    }
}

fn first_digest(chain: &[Vec<u8>]) -> windlass_core::Digest {
    let parse = |bytes: &Vec<u8>| {
        windlass_certs::dsse::Envelope::parse(bytes, windlass_certs::trust::MAX_LEN).map(|e| e.digest())
    };
    chain.first().and_then(|bytes| parse(bytes).ok()).expect("a fleet has a first trust document")
}
