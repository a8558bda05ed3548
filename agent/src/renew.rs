//! Keeps the certificate fresh: renewed at half life, give or take 10 %, so that a fleet that joined together does
//! not renew together. One that has expired is renewed with proof of the enrolled key. What runs depends on neither.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::transport::Channel;
use windlass_certs::ca::BACKDATE;
use windlass_certs::csr::{Asked, CertifiedIdentity, Csr, CsrError, IdentityError, RenewalClaim};
use windlass_certs::identity::PeerIdentity;
use windlass_certs::tls::{ClientTls, ConnectError, ConnectOptions, TlsError, connect};
use windlass_core::Timestamp;
use windlass_process::{Backoff, backoff, report};
use windlass_proto::limits::CALL_TIMEOUT;
use windlass_proto::pb;
use windlass_proto::pb::enrolment_client::EnrolmentClient;

use crate::clock;
use crate::crash::Written;
use crate::data::DataDir;
use crate::document_store::DocumentStore;
use crate::link;

/// Nobody renews more often than this, however short a certificate lives.
const LEAST_WAIT: Duration = Duration::from_millis(500);
/// Most that is waited between two tries.
const MOST_WAIT: Duration = Duration::from_secs(300);

/// The inputs of the task.
#[derive(Debug)]
pub struct Renewal {
    /// Knows where coordinators are, and the pinned CAs.
    pub keeper: Arc<DocumentStore>,
    /// The folder of the identity.
    pub data: DataDir,
    /// Shown from the next connection on.
    pub tls: ClientTls,
    /// A coordinator to be asked before all others.
    pub server: Option<String>,
    /// The newest identity.
    pub identity: watch::Sender<Arc<CertifiedIdentity>>,
    /// Asks the task to end.
    pub cancel: CancellationToken,
}

/// The reason that there is no new certificate.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the coordinator refused to renew: {}", .0.message())]
    Refused(tonic::Status),
    #[error("failed to ask for a certificate")]
    Request(#[from] CsrError),
    #[error("the coordinator's answer is not our new certificate")]
    Answer(#[from] IdentityError),
    #[error("the coordinator's challenge is malformed")]
    Challenge,
    #[error("no coordinator is known")]
    Nobody,
    #[error("the new certificate could not be stored: the writer died")]
    Writer,
}

impl Renewal {
    /// Works until it is cancelled.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(LEAST_WAIT, MOST_WAIT);
        let mut at = renew_at(self.current().peer(), backoff::random());
        loop {
            let wait =
                at.since(clock::now()).max(if backoff.failures() > 0 { Duration::ZERO } else { LEAST_WAIT });
            // In steps, since a machine that slept wakes up with another time.
            let step = wait.min(Duration::from_secs(60));
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(step) => {}
            }
            if clock::now() < at {
                continue;
            }
            let renewed = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Ok(()),
                renewed = self.renew() => renewed,
            };
            match renewed {
                Ok(()) => {
                    backoff.reset();
                    at = renew_at(self.current().peer(), backoff::random());
                    tracing::info!(until = %self.current().peer().not_after, "certificate renewed");
                }
                Err(error) => {
                    let wait = backoff.next(backoff::random());
                    at = clock::now() + wait;
                    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                    tracing::warn!(error = %report::chain(&error), wait_ms, "the certificate could not be renewed");
                }
            }
        }
    }

    fn current(&self) -> Arc<CertifiedIdentity> {
        self.identity.borrow().clone()
    }

    /// Asks each coordinator in turn; keeps and shows the new certificate.
    async fn renew(&self) -> Result<(), RenewError> {
        let old = self.current();
        let csr = old.key().csr()?;
        let mut last = None;
        for address in link::addresses(&self.keeper, self.server.as_deref()) {
            match self.ask(&address, &old, &csr).await {
                Ok(chain) => {
                    let trust = self.keeper.trust();
                    let asked =
                        Asked { identity: &old.peer().identity, grant: None, ca_pins: &trust.document().ca };
                    let new = CertifiedIdentity::issued(old.key().clone(), &chain, asked)?;
                    let (path, copy) = (self.data.identity(), new.clone());
                    // Never shown before it is stored: an agent that comes back with the old one, after the new one was
                    // seen, looks like a clone of itself.
                    let save = move || copy.save_telling(&path, &|stage| Written::Identity.at(stage));
                    tokio::task::spawn_blocking(save).await.map_err(|_| RenewError::Writer)??;
                    self.tls.reload(&new)?;
                    self.identity.send_replace(Arc::new(new));
                    return Ok(());
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(RenewError::Nobody))
    }

    async fn ask(&self, address: &str, old: &CertifiedIdentity, csr: &Csr) -> Result<String, RenewError> {
        let options = ConnectOptions::default();
        if old.peer().is_valid_at(clock::now()) {
            match connect(address, &self.tls, &options).await {
                Ok(channel) => return renew(channel, csr, None).await,
                // Their clock may be ahead of ours.
                Err(ConnectError::OurCertificateExpired) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let member = self.keeper.member();
        let pins = self.keeper.trust().document().ca.clone();
        let tls = ClientTls::anonymous(member.fleet.clone(), pins, self.keeper.revocations().clone())?;
        let channel = connect(address, &tls, &options).await?;
        let proof = prove(channel.clone(), old, csr, member).await?;
        renew(channel, csr, Some(proof)).await
    }
}

/// Signs the coordinator's challenge with the enrolled key.
async fn prove(
    channel: Channel,
    old: &CertifiedIdentity,
    csr: &Csr,
    member: &crate::member::Member,
) -> Result<pb::ExpiredProof, RenewError> {
    let mut request = Request::new(pb::ChallengeRequest {});
    request.set_timeout(CALL_TIMEOUT);
    let answer = EnrolmentClient::new(channel).challenge(request).await.map_err(RenewError::Refused)?;
    let challenge = answer.into_inner().challenge;
    let claim = RenewalClaim {
        fleet: member.fleet.clone(),
        host: member.host.clone(),
        generation: old.peer().generation,
        challenge: challenge.as_ref().try_into().map_err(|_| RenewError::Challenge)?,
        csr: csr.digest(),
    };
    let certificate = old.chain().first().map(|leaf| Bytes::copy_from_slice(leaf)).unwrap_or_default();
    let proof = Bytes::from(old.key().prove(&claim)?.0);
    Ok(pb::ExpiredProof { certificate, challenge, proof })
}

async fn renew(channel: Channel, csr: &Csr, expired: Option<pb::ExpiredProof>) -> Result<String, RenewError> {
    let mut request = Request::new(pb::RenewRequest { csr: Bytes::copy_from_slice(csr.der()), expired });
    request.set_timeout(CALL_TIMEOUT);
    let answer = EnrolmentClient::new(channel).renew(request).await.map_err(RenewError::Refused)?;
    Ok(answer.into_inner().certificate_chain)
}

/// At half life, moved by up to 10 % of it. Life begins at the issue, not at the date that was set back for slow
/// clocks: a certificate of seconds would else be renewed without end.
fn renew_at(peer: &PeerIdentity, random: f64) -> Timestamp {
    let issued = (peer.not_before + BACKDATE).min(peer.not_after);
    let random = if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.5 };
    issued + peer.not_after.since(issued).mul_f64(0.45 + random / 10.0)
}

#[cfg(test)]
mod tests {
    use windlass_certs::ca::{CertificateAuthority, Leaf};
    use windlass_certs::identity::Identity;

    use super::*;

    #[test]
    fn at_half_life_give_or_take_a_tenth() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let fleet: windlass_core::FleetId = "demo".parse().unwrap();
        let ca = CertificateAuthority::generate(fleet.clone(), now).unwrap();
        let identity = Identity::agent(fleet, "web-1".parse().unwrap());
        for seconds in [20, 3600, 86_400] {
            let leaf = Leaf { validity: Duration::from_secs(seconds), ..Leaf::agent(identity.clone(), 1) };
            let issued = ca.issue_new(&leaf, now).unwrap();
            let life = Duration::from_secs(seconds);
            for random in [0.0, 0.5, 1.0, f64::NAN] {
                let after = renew_at(issued.peer(), random).since(now);
                // Certificates count in whole seconds.
                assert!(after + Duration::from_secs(1) >= life.mul_f64(0.45), "{seconds} s: {after:?}");
                assert!(after <= life.mul_f64(0.55) + Duration::from_secs(1), "{seconds} s: {after:?}");
            }
        }
    }
}
