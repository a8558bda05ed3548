//! Join tokens: what a host needs to become a member, or a person to become an operator, on one line.
//!
//! ```text
//! windlass1.<fleet>.<host>.<secret>.<CA pin>.<digest of trust version 1>
//! windlass-operator1.<fleet>.<name>.<secret>.<CA pin>.<digest of trust version 1>
//! ```
//!
//! The last three are 32 bytes each in URL-safe base64. The secret works once, within ten minutes, for this name;
//! the coordinator keeps only its hash. The two pins make the first contact safe: who joins accepts no other
//! CA and no other trust root than those of the operator who made the token.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use windlass_core::{Digest, FleetId, HostId, OperatorName};
use zeroize::Zeroizing;

use crate::random::{self, RandomError};

const HASH_PREFIX: &[u8] = b"windlass-join-v1\0";
const MAX_LEN: usize = 512;

/// Who joins a fleet, by name. A token of one kind is never good for the other.
pub trait Joins: fmt::Display + FromStr {
    /// The first part of such a token.
    const VERSION: &'static str;
}

impl Joins for HostId {
    const VERSION: &'static str = "windlass1";
}

impl Joins for OperatorName {
    const VERSION: &'static str = "windlass-operator1";
}

/// A join token. `Debug` hides the secret; `Display` is the whole token, for handing over.
#[derive(Clone)]
pub struct Token<N> {
    fleet: FleetId,
    name: N,
    secret: JoinSecret,
    ca_pin: Digest,
    trust_pin: Digest,
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
        Ok(Self { fleet, name, secret: JoinSecret::generate()?, ca_pin, trust_pin })
    }

    /// Reads a token; white space around it is dropped.
    ///
    /// # Errors
    /// It is none of this kind, or damaged.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        let (version, rest) = text.split_once('.').unwrap_or((text, ""));
        if text.len() > MAX_LEN || version != N::VERSION {
            return Err(InvalidToken::NotAToken);
        }
        Self::read(rest).ok_or(InvalidToken::Damaged)
    }

    fn read(rest: &str) -> Option<Self> {
        let mut parts = rest.split('.');
        let mut part = || parts.next();
        let token = Self {
            fleet: part()?.parse().ok()?,
            name: part()?.parse().ok()?,
            secret: JoinSecret(Zeroizing::new(decode(part()?)?)),
            ca_pin: Digest::from_bytes(decode(part()?)?),
            trust_pin: Digest::from_bytes(decode(part()?)?),
        };
        parts.next().is_none().then_some(token)
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

    /// What the coordinator stores. The secret has 256 random bits, so that a plain hash is enough.
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
        write!(f, "{}.{}.{}.{secret}.{ca_pin}.{trust_pin}", N::VERSION, self.fleet, self.name)
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
