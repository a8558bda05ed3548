//! Joining a fleet: a token and a key of our own against a certificate, with the trust root pinned by the token.
//!
//! Nothing counts until `member.json` is written, last. A join that was cut off is tried again with the *same* key,
//! so that the coordinator can tell a retry from a thief of the token.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tonic::Request;
use windlass_certs::csr::{Asked, CertifiedIdentity, CsrError, IdentityError, TlsKey};
use windlass_certs::files::{self, FileError};
use windlass_certs::identity::Identity;
use windlass_certs::join::{InvalidToken, JoinToken};
use windlass_certs::keys::{KeyError, SigningKey};
use windlass_certs::tls::{ClientTls, ConnectError, ConnectOptions, TlsError, connect};
use windlass_certs::trust::{TrustError, TrustStore};
use windlass_core::{HostId, Timestamp};
use windlass_proto::limits::{CALL_TIMEOUT, MAX_MESSAGE};
use windlass_proto::pb;
use windlass_proto::pb::enrolment_client::EnrolmentClient;

use crate::clock;
use crate::crash::{Call, Written};
use crate::data::{DataDir, DataError};
use crate::member::{Member, MemberError};
use crate::policy::{self, PolicyError, StarterError};
use crate::state::{Journal, JournalError, State, TrustMark};

/// By how much the clock of this machine may be ahead of the operator's.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// The input of a join.
#[derive(Debug, Clone)]
pub struct Join {
    /// The coordinator, `host:port`.
    pub server: String,
    /// The token, as `windlass host token` printed it.
    pub token: String,
    /// The agent's folder.
    pub data: PathBuf,
    /// Address at which published ports of this host are reached.
    pub address: String,
    /// For the starter policy.
    pub registries: Vec<String>,
    /// Those off loopback that may be plain HTTP, for the starter policy.
    pub insecure_registries: Vec<String>,
    /// The host policy.
    pub policy: PathBuf,
}

/// Its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The membership of this host.
    pub member: Member,
    /// Whether the starter policy was written.
    pub wrote_policy: bool,
}

/// The reason that this host did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// It has already.
    #[error("this host has joined fleet `{fleet}` already, as `{host}`")]
    Already {
        /// Which fleet.
        fleet: String,
        /// As whom.
        host: HostId,
    },
    /// The token.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// The folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Not an address.
    #[error("`{0}` is not an IP address or a DNS name")]
    Address(String),
    /// The starter policy.
    #[error(transparent)]
    Starter(#[from] StarterError),
    /// The policy that is there already.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The TLS key.
    #[error("failed to make this host's TLS key")]
    TlsKey(#[from] CsrError),
    /// The receipt key.
    #[error("failed to make this host's receipt key")]
    ReceiptKey(#[from] KeyError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody there, or somebody else.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The coordinator said no.
    #[error("the coordinator refused: {}", .0.message())]
    Refused(tonic::Status),
    /// The trust document is not the operator's.
    #[error("the coordinator's trust documents are not believed")]
    Trust(#[from] TrustError),
    /// The CA of the token is not in the trust document.
    #[error("the trust document does not name the CA of the token")]
    WrongCa,
    /// The certificate.
    #[error("the coordinator answered without the certificate that was asked for")]
    Certificate(#[from] IdentityError),
    /// The token's time is over.
    #[error("the token was good until {0}")]
    Over(Timestamp),
    /// The coordinator wants this host to be another one than the operator did.
    #[error("the coordinator answered with other labels than the token has: {got:?}, not {want:?}")]
    Labels {
        /// The token's.
        want: BTreeMap<String, String>,
        /// The coordinator's.
        got: BTreeMap<String, String>,
    },
    /// Something could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The journal could not be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Membership could not be written or read.
    #[error(transparent)]
    Member(#[from] MemberError),
}

impl JoinError {
    /// Returns the next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Already { .. } => Some(
                "nothing to do: start it with `windlass-agent run`. After an eviction, or to move it to another fleet, \
                 stop the agent and join with a new `--data` folder, or move this one away: containers are adopted by \
                 their labels, joining stops nothing"
                    .to_owned(),
            ),
            Self::Token(_) => Some(
                "make one with `windlass host token HOST` and pass it on whole, on one line".to_owned(),
            ),
            Self::Data(error) => error.hint(),
            Self::Address(_) => Some("give the address other hosts reach this one at: `--address 10.0.0.5`".to_owned()),
            Self::Starter(error) => error.hint(),
            Self::Policy(error) => error.hint(),
            Self::ReceiptKey(error) => error.hint(),
            Self::Connect(error) => error.hint().map(str::to_owned),
            Self::Refused(_) => Some(
                "tokens work once, for ten minutes, for one host: make a new one with `windlass host token HOST`".to_owned(),
            ),
            Self::Over(_) => Some(
                "make a new one with `windlass host token HOST`; if it is new, set this machine's clock".to_owned(),
            ),
            Self::Trust(_) | Self::WrongCa | Self::Labels { .. } => Some(
                "the token and the coordinator do not belong together: compare with the operator who made the token"
                    .to_owned(),
            ),
            Self::Certificate(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Journal(error) => error.hint(),
            Self::Member(error) => error.hint(),
            Self::TlsKey(_) | Self::Tls(_) => None,
        }
    }
}

/// Joins. May be repeated until it has worked.
pub async fn join(join: &Join) -> Result<Joined, JoinError> {
    let token = JoinToken::parse(&join.token)?;
    check_time(&token, clock::now())?;
    check_address(&join.address)?;
    let data = DataDir::create(&join.data)?;
    let _lock = data.lock()?;
    data.tidy();
    match Member::load(&data) {
        Ok(member) => return Err(JoinError::Already { fleet: member.fleet.to_string(), host: member.host }),
        Err(MemberError::NotJoined(_)) => {}
        Err(error) => return Err(error.into()),
    }
    // Before the token is spent: a host without a policy could not start.
    let wrote_policy = policy::write_starter(&join.policy, &join.registries, &join.insecure_registries)?;
    policy::load(&join.policy)?;
    let tls_key = kept_or_new(&data)?;
    let receipt_key = receipt_key(&data)?;
    let answer = ask(join, &token, &tls_key, &receipt_key).await?;
    let trust = believe(&token, &answer.trust)?;
    let mine = Identity::agent(token.fleet().clone(), token.host().clone());
    let asked = Asked { identity: &mine, grant: None, ca_pins: &trust.document().ca };
    let identity = CertifiedIdentity::issued(tls_key, &answer.certificate_chain, asked)?;
    let labels = labels(&token, answer.labels.into_iter().collect())?;
    let member = Member {
        fleet: token.fleet().clone(),
        host: token.host().clone(),
        address: join.address.clone(),
        labels,
        server: join.server.clone(),
        trust_pin: token.trust_pin(),
    };
    identity.save_telling(&data.identity(), &|stage| Written::Identity.at(stage))?;
    files::replace_secret_telling(&data.trust(), trust.envelope(), &|stage| Written::Trust.at(stage))?;
    let mark = TrustMark { version: trust.version(), digest: trust.digest() };
    let signed_at = trust.document().created_at.min(clock::now());
    Journal::create(&data.journal(), State::joined(mark, signed_at))?;
    member.save(&data)?;
    Call::ForgetKey.around_now(|| data.forget_joining_key());
    Ok(Joined { member, wrote_policy })
}

async fn ask(
    join: &Join,
    token: &JoinToken,
    tls_key: &TlsKey,
    receipt_key: &SigningKey,
) -> Result<pb::JoinResponse, JoinError> {
    let tls = ClientTls::join(token)?;
    let channel = connect(&join.server, &tls, &ConnectOptions::default()).await?;
    let mut client = EnrolmentClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let mut request = Request::new(pb::JoinRequest {
        host: token.host().to_string(),
        secret: Bytes::copy_from_slice(token.secret().expose()),
        csr: Bytes::copy_from_slice(tls_key.csr()?.der()),
        address: join.address.clone(),
        receipt_key: Bytes::copy_from_slice(receipt_key.public().as_bytes()),
    });
    request.set_timeout(CALL_TIMEOUT);
    Ok(client.join(request).await.map_err(JoinError::Refused)?.into_inner())
}

/// Walks from the pinned first version to the newest; the token's CA must be among those it pins.
fn believe(token: &JoinToken, envelopes: &[Bytes]) -> Result<TrustStore, JoinError> {
    let (first, rest) = envelopes.split_first().ok_or(TrustError::Gap { have: 0, got: 0 })?;
    let mut trust = TrustStore::pinned(token.fleet(), token.trust_pin(), first)?;
    trust.walk(rest.iter().map(|envelope| envelope.as_ref()))?;
    if trust.document().ca.contains(&token.ca_pin()) { Ok(trust) } else { Err(JoinError::WrongCa) }
}

/// The labels of the token; those of the answer count only for a token of an older version, which has none of its own.
fn labels(token: &JoinToken, got: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, JoinError> {
    match &token.terms().labels {
        Some(want) if *want != got => Err(JoinError::Labels { want: want.clone(), got }),
        _ => Ok(got),
    }
}

/// The coordinator refuses a token that is over; one in the wrong hands might not.
fn check_time(token: &JoinToken, now: Timestamp) -> Result<(), JoinError> {
    match token.terms().expires_at {
        Some(until) if now > until + SKEW => Err(JoinError::Over(until)),
        _ => Ok(()),
    }
}

/// The key of a join that was cut off, else a new one; on disk before it is used.
fn kept_or_new(data: &DataDir) -> Result<TlsKey, JoinError> {
    let path = data.joining_key();
    if path.exists() {
        return Ok(TlsKey::load(&path)?);
    }
    let key = TlsKey::generate()?;
    key.save_telling(&path, &|stage| Written::JoiningKey.at(stage))?;
    Ok(key)
}

fn receipt_key(data: &DataDir) -> Result<SigningKey, JoinError> {
    let path = data.receipt_key();
    if path.exists() {
        return Ok(SigningKey::load(&path)?);
    }
    let key = SigningKey::generate()?;
    key.save_telling(&path, &|stage| Written::ReceiptKey.at(stage))?;
    Ok(key)
}

fn check_address(address: &str) -> Result<(), JoinError> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
    };
    let named = address.len() <= 253 && address.split('.').all(label);
    if named || address.parse::<std::net::IpAddr>().is_ok() {
        Ok(())
    } else {
        Err(JoinError::Address(address.chars().take(120).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        #[rustfmt::skip]
        let table = [("10.0.0.5", true), ("fd00::1", true), ("web-1.internal", true), ("localhost", true), ("", false),
            ("10.0.0.5:80", false), ("a b", false), ("http://x", false), ("-x", false), ("a..b", false)];
        for (address, want) in table {
            assert_eq!(check_address(address).is_ok(), want, "{address}");
        }
    }
}
