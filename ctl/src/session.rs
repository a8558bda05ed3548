//! A connection to the coordinator, as this operator. The certificate renews by itself past half life, before and
//! while a command runs; one that has expired is renewed with proof of its key.

mod error;
mod renew;

use std::time::Duration;

use tonic::transport::Channel;
use windlass_certs::csr::CertifiedIdentity;
use windlass_certs::join::Token;
use windlass_certs::tls::{ClientTls, ConnectOptions, connect};
use windlass_certs::trust::TrustStore;
use windlass_process::backoff;

use crate::client::Client;
use crate::clock;
use crate::error::CtlError;
use crate::home::{ContextConfig, FleetHome};
use crate::invitation::{self, Invited, Pins, Wanted};

pub(crate) use error::SessionError;

/// The connection.
pub(crate) struct Session {
    channel: Channel,
    tls: ClientTls,
    identity: CertifiedIdentity,
    fleet: FleetHome,
    trust: TrustStore,
    // Drawn once: where around half life this process renews.
    jitter: f64,
}

impl Session {
    /// Connects.
    pub(crate) async fn open(fleet: &FleetHome, config: &ContextConfig) -> Result<Self, SessionError> {
        let trust = fleet.trust()?;
        let pins = trust.document().ca.clone();
        let mut identity = fleet.operator()?;
        let revocations = fleet.revocations(trust.document());
        if !identity.peer().is_valid_at(clock::now()) {
            identity = renew::expired(identity, &config.fleet, &pins, &config.server, &revocations).await?;
            fleet.save_operator(&identity)?;
        }
        let tls = ClientTls::new(config.fleet.clone(), pins, &identity, revocations.clone())?;
        let channel = connect(&config.server, &tls, &ConnectOptions::default()).await?;
        let fleet = fleet.clone();
        let mut session = Self { channel, tls, identity, fleet, trust, jitter: backoff::random() };
        session.keep_fresh().await?;
        Ok(session)
    }

    /// The client of the coordinator.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.channel.clone())
    }

    /// The trust document in force, as far as the home folder knows.
    pub(crate) const fn trust(&self) -> &TrustStore {
        &self.trust
    }

    /// The identity of this operator, by the certificate.
    pub(crate) fn operator(&self) -> String {
        self.identity.peer().identity.name().to_owned()
    }

    /// Makes the token that is handed out of what the coordinator answered.
    pub(crate) async fn invite<N: Invited>(
        &mut self,
        answer: &str,
        expires_at: windlass_core::Timestamp,
        wanted: Wanted<N>,
        server: &str,
    ) -> Result<Token<N>, CtlError> {
        // A CA that was replaced is in the newest trust document.
        self.fetch_trust().await?;
        let pins = Pins { trust: self.trust.document(), first: self.fleet.trust_pin()?, server };
        let token = invitation::token(answer, expires_at, wanted, &pins, clock::now());
        Ok(token.map_err(SessionError::Token)?)
    }

    /// Renews the certificate if it is past half life. Cheap otherwise: call it wherever a command waits.
    pub(crate) async fn keep_fresh(&mut self) -> Result<(), SessionError> {
        if clock::now() < self.identity.peer().renew_at(self.jitter) {
            return Ok(());
        }
        let pins = &self.trust.document().ca;
        match renew::valid(&self.identity, pins, self.channel.clone()).await {
            Ok(identity) => {
                self.fleet.save_operator(&identity)?;
                self.tls.reload(&identity)?;
                tracing::debug!(until = %identity.peer().not_after, "renewed the operator certificate");
                self.identity = identity;
                Ok(())
            }
            // It still counts; the next command tries again.
            Err(error) if self.identity.peer().is_valid_at(clock::now() + Duration::from_secs(1)) => {
                tracing::warn!(
                    error = windlass_process::report::chain(&error),
                    "the certificate was not renewed"
                );
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the versions of the trust document that the coordinator has and this folder has not.
    pub(crate) async fn fetch_trust(&mut self) -> Result<(), CtlError> {
        let (newer, revocations) = self.client().trust(self.trust.version()).await?;
        for envelope in newer {
            self.trust.advance(&envelope).map_err(SessionError::Trust)?;
            self.fleet.save_trust(self.trust.version(), &envelope)?;
        }
        self.tls.pin(self.trust.document().ca.clone());
        // For the next connection: a coordinator whose certificate was stolen is left by then.
        self.fleet.keep_revocations(&revocations, self.trust.document())?;
        Ok(())
    }
}
