//! Join tokens: what a host needs to become a member, or a person to become an operator, on one line.
//!
//! ```text
//! windlass2.<fleet>.<host>.<secret>.<CA pin>.<digest of trust version 1>.<terms>
//! windlass-operator2.<fleet>.<name>.<secret>.<CA pin>.<digest of trust version 1>.<terms>
//! ```
//!
//! Secret and pins are 32 bytes each in URL-safe base64, the [`Terms`] are JSON in the same. The secret works once,
//! within ten minutes, for this name; the coordinator keeps only its hash. Everything else comes from the home folder
//! of the operator who made the token: who joins accepts no other CA, no other trust root and no other terms. Tokens
//! `windlass1…` have no terms; coordinators answer with such a one, of which an operator takes the secret alone.

mod terms;

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use windlass_core::{Digest, FleetId, HostId, OperatorName};
use zeroize::Zeroizing;

use crate::random::{self, RandomError};

pub use terms::{Terms, is_address};

const HASH_PREFIX: &[u8] = b"windlass-join-v1\0";
/// Longer than any token.
pub const MAX_LEN: usize = 16 * 1024;

/// A member that joins a fleet, by name. A token of one kind is never good for the other.
pub trait Joins: fmt::Display + FromStr {
    /// The first part of such a token without terms.
    const BARE: &'static str;
    /// The first part of one with terms.
    const VERSION: &'static str;
    /// Whether these are terms that somebody of this kind can be promised.
    fn suits(terms: &Terms) -> bool;
}

impl Joins for HostId {
    const BARE: &'static str = "windlass1";
    const VERSION: &'static str = "windlass2";
    fn suits(terms: &Terms) -> bool {
        terms.grant.is_none()
    }
}

impl Joins for OperatorName {
    const BARE: &'static str = "windlass-operator1";
    const VERSION: &'static str = "windlass-operator2";
    fn suits(terms: &Terms) -> bool {
        terms.labels.is_none()
    }
}

/// A join token. `Debug` hides the secret; `Display` is the whole token, for handing over.
#[derive(Clone)]
pub struct Token<N> {
    fleet: FleetId,
    name: N,
    secret: JoinSecret,
    ca_pin: Digest,
    trust_pin: Digest,
    terms: Terms,
}

/// A token for a host.
pub type JoinToken = Token<HostId>;
/// A token for an operator.
pub type OperatorToken = Token<OperatorName>;

/// The secret of a token, as it travels in the join request.
#[derive(Clone)]
pub struct JoinSecret(Zeroizing<[u8; 32]>);

/// Text that is no token. Says nothing about what was given, which may be most of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Not ours at all, or of the other kind.
    #[error("not a join token")]
    NotAToken,
    /// Cut off or changed on its way.
    #[error("the join token is incomplete or damaged")]
    Damaged,
}

impl<N: Joins> Token<N> {
    /// Makes a token with a new secret.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new(fleet: FleetId, name: N, ca_pin: Digest, trust_pin: Digest) -> Result<Self, RandomError> {
        let secret = JoinSecret::generate()?;
        Ok(Self { fleet, name, secret, ca_pin, trust_pin, terms: Terms::default() })
    }

    /// The same secret under pins and terms of the caller: of what a coordinator answered, nothing else stays.
    #[must_use]
    pub fn under(self, fleet: FleetId, name: N, ca_pin: Digest, trust_pin: Digest, terms: Terms) -> Self {
        debug_assert!(N::suits(&terms), "terms of the other kind");
        Self { fleet, name, secret: self.secret, ca_pin, trust_pin, terms }
    }

    /// Reads a token; white space around it is dropped.
    ///
    /// # Errors
    /// It is none of this kind, or damaged.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        let (version, rest) = text.split_once('.').unwrap_or((text, ""));
        if text.len() > MAX_LEN || ![N::BARE, N::VERSION].contains(&version) {
            return Err(InvalidToken::NotAToken);
        }
        Self::read(rest, version == N::VERSION).ok_or(InvalidToken::Damaged)
    }

    fn read(rest: &str, has_terms: bool) -> Option<Self> {
        let mut parts = rest.split('.');
        let mut part = || parts.next();
        let token = Self {
            fleet: part()?.parse().ok()?,
            name: part()?.parse().ok()?,
            secret: JoinSecret(Zeroizing::new(decode(part()?)?)),
            ca_pin: Digest::from_bytes(decode(part()?)?),
            trust_pin: Digest::from_bytes(decode(part()?)?),
            terms: if has_terms { Terms::decode(part()?).filter(N::suits)? } else { Terms::default() },
        };
        parts.next().is_none().then_some(token)
    }

    /// The member that joins.
    pub const fn member(&self) -> &N {
        &self.name
    }

    /// The terms that were promised with it.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Which fleet to join.
    pub const fn fleet(&self) -> &FleetId {
        &self.fleet
    }

    /// The secret, for the join request.
    pub const fn secret(&self) -> &JoinSecret {
        &self.secret
    }

    /// SHA-256 of the CA certificate that the coordinator must present.
    pub const fn ca_pin(&self) -> Digest {
        self.ca_pin
    }

    /// Digest of the payload of version 1 of the trust document.
    pub const fn trust_pin(&self) -> Digest {
        self.trust_pin
    }
}

impl JoinToken {
    /// As which host.
    pub const fn host(&self) -> &HostId {
        &self.name
    }
}

impl OperatorToken {
    /// As whom.
    pub const fn name(&self) -> &OperatorName {
        &self.name
    }
}

impl JoinSecret {
    fn generate() -> Result<Self, RandomError> {
        Ok(Self(Zeroizing::new(random::bytes()?)))
    }

    /// Takes what came in a join request; `None` if it cannot be a secret.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// For the join request, and nothing else.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash that the coordinator stores. The secret has 256 random bits, so that a plain hash is enough.
    pub fn hash(&self) -> Digest {
        let mut bytes = Zeroizing::new(HASH_PREFIX.to_vec());
        bytes.extend_from_slice(&*self.0);
        Digest::of(&bytes)
    }

    /// Whether this is the secret that was stored, in constant time.
    pub fn matches(&self, stored: &Digest) -> bool {
        self.hash().as_bytes().ct_eq(stored.as_bytes()).into()
    }
}

fn decode(part: &str) -> Option<[u8; 32]> {
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(part).ok()?);
    bytes.as_slice().try_into().ok()
}

impl<N: Joins> FromStr for Token<N> {
    type Err = InvalidToken;
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        Self::parse(text)
    }
}

impl<N: Joins> fmt::Display for Token<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [secret, ca_pin, trust_pin] =
            [self.secret.expose(), self.ca_pin.as_bytes(), self.trust_pin.as_bytes()]
                .map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        let version = if self.terms.is_empty() { N::BARE } else { N::VERSION };
        write!(f, "{version}.{}.{}.{secret}.{ca_pin}.{trust_pin}", self.fleet, self.name)?;
        if self.terms.is_empty() { Ok(()) } else { write!(f, ".{}", self.terms.encode()) }
    }
}

impl<N: Joins> fmt::Debug for Token<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}/{}, ****)", self.fleet, self.name)
    }
}

impl fmt::Debug for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecret(****)")
    }
}

#[cfg(test)]
mod tests;
