//! Becoming an operator: the one call that is made without a certificate.

use windlass_certs::csr::TlsKey;
use windlass_certs::join::OperatorToken;
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::{ClientTls, ConnectOptions, connect};
use windlass_proto::limits::MAX_MESSAGE;
use windlass_proto::pb;
use windlass_proto::pb::enrolment_client::EnrolmentClient;

use super::call;
use crate::error::CtlError;
use crate::session::SessionError;

/// The coordinator's answer. Nothing of it is verified yet.
pub(crate) struct Joined {
    /// Leaf and CA, PEM.
    pub(crate) chain: String,
    /// Every version of the trust document.
    pub(crate) trust: Vec<Vec<u8>>,
}

/// Trades a token for a certificate of `key`.
pub(crate) async fn join_operator(
    token: &OperatorToken,
    key: &TlsKey,
    server: &str,
) -> Result<Joined, CtlError> {
    // First contact: only what the token pins is known.
    let pins = vec![token.ca_pin()];
    let tls =
        ClientTls::anonymous(token.fleet().clone(), pins, Revocations::new()).map_err(SessionError::Tls)?;
    let channel = connect(server, &tls, &ConnectOptions::default()).await.map_err(SessionError::Connect)?;
    let csr = key.csr().map_err(SessionError::Request)?;
    let request = pb::JoinOperatorRequest {
        name: token.name().to_string(),
        secret: token.secret().expose().to_vec().into(),
        csr: csr.der().to_vec().into(),
    };
    let mut client = EnrolmentClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let answer = call("become an operator", client.join_operator(request)).await?;
    let trust = answer.trust.into_iter().map(|envelope| envelope.to_vec()).collect();
    Ok(Joined { chain: answer.certificate_chain, trust })
}
