//! Requests for certificates, parsed, and the answers to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use windlass_certs::csr::{Csr, Proof};
use windlass_certs::identity::PeerIdentity;
use windlass_certs::join::JoinSecret;
use windlass_certs::keys::PublicKey;
use windlass_core::{FleetId, HostId, OperatorName};

/// Time after its end for which a certificate may still be renewed with proof of its key.
pub(super) const RENEWABLE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A request to join, parsed.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// As which host.
    pub host: HostId,
    /// The token's secret.
    pub secret: JoinSecret,
    /// The certificate request.
    pub csr: Arc<Csr>,
    /// The address of published ports.
    pub address: String,
    /// The key of the host's receipts.
    pub receipt_key: PublicKey,
}

/// The result of a host's join.
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

/// The result of an operator's join.
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
    /// The content of the certificate; only believed where the ledger, or for operators the CA, says the same.
    pub peer: PeerIdentity,
    /// The certificate, DER.
    pub leaf: Vec<u8>,
    /// The challenge that was signed.
    pub challenge: [u8; 32],
    /// The signature.
    pub proof: Proof,
}
