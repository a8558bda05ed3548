//! Enrolment of operators, as people ask for it: tokens, joining, taking out.

use std::net::IpAddr;
use std::sync::Arc;

use windlass_certs::identity::{Grant, Identity, PeerIdentity};
use windlass_certs::join::OperatorToken;
use windlass_core::{OperatorName, Timestamp};

use crate::ledger::{WriteBatch, WriteError};

use super::{EnrolError, Enrolment, JoinOperator, JoinedOperator, first_digest, operator};

impl Enrolment {
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
        let decide = move |batch: &mut WriteBatch<'_>| {
            operator::note(batch, &by);
            operator::token(batch, hash, name, grant, format!("operator/{}", by.identity.name()))
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
        let (authority, name) = (self.authority.clone(), join.name.clone());
        let joined = self.ledger.write(move |batch| operator::join(batch, &authority, &join)).await?;
        if joined.is_ok() {
            self.enforce_operator(&name);
        }
        joined.map_err(|error| self.refused(&format!("operator {name}"), from, error))
    }

    /// Notes an operator who is known by certificate only: the one that `init` made, when they look around first.
    pub(crate) async fn note_operator(&self, peer: &Arc<PeerIdentity>) -> Result<(), WriteError> {
        let known = |name: OperatorName| self.ledger.read(|state| state.operators.contains_key(&name));
        if peer.identity.operator_name().is_none_or(known) {
            return Ok(());
        }
        let peer = peer.clone();
        self.ledger.write(move |batch| operator::note(batch, &peer)).await
    }

    /// Takes an operator's certificates and tokens away, and cuts their connections.
    pub(crate) async fn revoke_operator(
        &self,
        name: OperatorName,
        unknown: bool,
        by: &Arc<PeerIdentity>,
    ) -> Result<(), EnrolError> {
        let (by, who) = (by.clone(), name.clone());
        let decide = move |batch: &mut WriteBatch<'_>| {
            operator::note(batch, &by);
            operator::revoke(batch, &who, unknown, &format!("operator/{}", by.identity.name()))
        };
        self.ledger.write(decide).await??;
        self.enforce_operator(&name);
        Ok(())
    }

    /// Cuts connections and refuses handshakes as the operator's record says.
    pub(super) fn enforce_operator(&self, name: &OperatorName) {
        let up_to = self.ledger.read(|state| state.operators.get(name).map(|record| record.revoked_up_to));
        if let Some(up_to) = up_to.filter(|up_to| *up_to > 0) {
            let identity = Identity::operator(self.authority.ca().fleet().clone(), name);
            let cut = self.revocations.revoke_identity(&identity, up_to);
            if cut > 0 {
                tracing::info!(operator = %name, connections = cut, "cut connections of a revoked or superseded certificate");
            }
        }
    }
}
