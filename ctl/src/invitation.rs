//! Tokens that this program hands out. A coordinator keeps the hash of a token's secret and counts its uses; what the
//! token *says*, whom to believe above all, comes from this operator's own home folder. So a coordinator in the wrong
//! hands cannot hand out a token that ties a host to somebody else's keys.

use std::time::Duration;

use windlass_certs::join::{InvalidToken, Joins, Terms, Token, is_address};
use windlass_certs::trust::TrustDocument;
use windlass_core::{Digest, FleetId, HostId, OperatorName, Timestamp};

/// The longest lifetime of a host's token, and of an operator's.
pub(crate) const HOST_LIFETIME: Duration = Duration::from_secs(10 * 60);
pub(crate) const OPERATOR_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// By how much the coordinator's clock may be ahead.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// The holder of a token.
pub(crate) trait Invited: Joins + Clone + Eq {
    /// As messages call them.
    const WHAT: &'static str;
    /// The longest lifetime of their tokens.
    const LIFETIME: Duration;
}

impl Invited for HostId {
    const WHAT: &'static str = "host";
    const LIFETIME: Duration = HOST_LIFETIME;
}

impl Invited for OperatorName {
    const WHAT: &'static str = "operator";
    const LIFETIME: Duration = OPERATOR_LIFETIME;
}

/// The fleet, as this operator's home folder knows it.
#[derive(Debug, Clone)]
pub(crate) struct Pins<'a> {
    /// Its newest trust document, verified.
    pub(crate) trust: &'a TrustDocument,
    /// Digest of version 1, from the home folder.
    pub(crate) first: Digest,
    /// The address at which the coordinator answers this operator.
    pub(crate) server: &'a str,
}

/// The terms that were asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<N> {
    /// For whom.
    pub(crate) name: N,
    /// With which labels, or which grant.
    pub(crate) terms: Terms,
}

/// A token that does not say what this operator's home folder says, or what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mismatch {
    #[error("it is not a token")]
    NotAToken(#[source] InvalidToken),
    #[error("it is for fleet `{got}`, this is fleet `{want}`")]
    Fleet { want: FleetId, got: FleetId },
    #[error("it is for {what} `{got}`, it was asked for {what} `{want}`")]
    Name { what: &'static str, want: String, got: String },
    #[error("it names the CA {got}, which the trust document does not")]
    Ca { got: Digest },
    #[error("it names {got} as the first trust document, in the home folder that is {want}")]
    Trust { want: Digest, got: Digest },
    #[error("it is good until {got}, at most {want} was asked for")]
    Life { want: Timestamp, got: Timestamp },
    #[error("it makes them {got}, {want} was asked for")]
    Grant { want: String, got: String },
    #[error("it gives the host the labels {got}, {want} was asked for")]
    Labels { want: String, got: String },
    #[error("it sends them to {got:?}, the coordinator's address is `{want}`")]
    Server { want: String, got: String },
}

/// Checks what a coordinator answered, field by field, and makes the token of it that is handed out: with the answer's
/// secret, and everything else from here.
pub(crate) fn token<N: Invited>(
    answer: &str,
    expires_at: Timestamp,
    wanted: Wanted<N>,
    pins: &Pins<'_>,
    now: Timestamp,
) -> Result<Token<N>, Mismatch> {
    // No white space around it either: what is printed is not what somebody else wrote, but what is refused is told.
    let damaged = InvalidToken::Damaged;
    let got: Token<N> = match Token::parse(answer) {
        Ok(token) if token.to_string() == answer => token,
        Ok(_) => return Err(Mismatch::NotAToken(damaged)),
        Err(error) => return Err(Mismatch::NotAToken(error)),
    };
    let fleet = &pins.trust.fleet;
    if got.fleet() != fleet {
        return Err(Mismatch::Fleet { want: fleet.clone(), got: got.fleet().clone() });
    }
    if *got.member() != wanted.name {
        let (want, got) = (wanted.name.to_string(), got.member().to_string());
        return Err(Mismatch::Name { what: N::WHAT, want, got });
    }
    if !pins.trust.ca.contains(&got.ca_pin()) {
        return Err(Mismatch::Ca { got: got.ca_pin() });
    }
    if got.trust_pin() != pins.first {
        return Err(Mismatch::Trust { want: pins.first, got: got.trust_pin() });
    }
    let most = now + N::LIFETIME + SKEW;
    for got in [Some(expires_at), got.terms().expires_at].into_iter().flatten() {
        if got > most {
            return Err(Mismatch::Life { want: most, got });
        }
    }
    let server = address(pins);
    terms(got.terms(), &wanted.terms, pins, server)?;
    let ours = Terms {
        server: Some(server.to_owned()).filter(|server| is_address(server)),
        expires_at: Some(expires_at),
        ..wanted.terms
    };
    let ca_pin = got.ca_pin();
    Ok(got.under(fleet.clone(), wanted.name, ca_pin, pins.first, ours))
}

/// The terms of the answer, if it has any, are those that were asked for.
fn terms(got: &Terms, want: &Terms, pins: &Pins<'_>, server: &str) -> Result<(), Mismatch> {
    if let Some(grant) = got.grant.as_ref().filter(|grant| Some(*grant) != want.grant.as_ref()) {
        let want = want.grant.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        return Err(Mismatch::Grant { want, got: grant.to_string() });
    }
    if let Some(labels) = got.labels.as_ref().filter(|labels| Some(*labels) != want.labels.as_ref()) {
        let (want, got) = (format!("{:?}", want.labels.clone().unwrap_or_default()), format!("{labels:?}"));
        return Err(Mismatch::Labels { want, got });
    }
    let is_known =
        |address: &str| address == pins.server || pins.trust.coordinators.iter().any(|a| a == address);
    match got.server.as_deref().filter(|address| !is_known(address)) {
        Some(address) => Err(Mismatch::Server { want: server.to_owned(), got: address.to_owned() }),
        None => Ok(()),
    }
}

/// The address at which others reach the coordinator: this one, if the trust document says so too; the way of this operator may be a
/// tunnel of their own.
pub(crate) fn address<'a>(pins: &Pins<'a>) -> &'a str {
    let coordinators = &pins.trust.coordinators;
    let is_public = coordinators.iter().any(|address| address == pins.server);
    coordinators.first().filter(|_| !is_public).map_or(pins.server, String::as_str)
}

#[cfg(test)]
mod tests;
