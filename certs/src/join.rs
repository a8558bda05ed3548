//! Join tokens: what a host needs to become a member, on one line.
//!
//! ```text
//! windlass1.<fleet>.<host>.<secret>.<CA pin>.<digest of trust version 1>
//! ```
//!
//! The last three are 32 bytes each in URL-safe base64. The secret works once, within ten minutes, for this host;
//! the coordinator keeps only its hash. The two pins make the first contact safe: the host accepts no other
//! CA and no other trust root than the operator's who made the token.

mod operator;

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use windlass_core::{Digest, FleetId, HostId};
use zeroize::Zeroizing;

use crate::random::{self, RandomError};

pub use operator::OperatorToken;

const VERSION: &str = "windlass1";
const HASH_PREFIX: &[u8] = b"windlass-join-v1\0";
const MAX_LEN: usize = 512;

/// A join token. `Debug` hides the secret; `Display` is the whole token, for handing over.
#[derive(Clone)]
pub struct JoinToken {
    fleet: FleetId,
    host: HostId,
    secret: JoinSecret,
    ca_pin: Digest,
    trust_pin: Digest,
}

/// The secret of a token, as it travels in the join request.
#[derive(Clone)]
pub struct JoinSecret(Zeroizing<[u8; 32]>);

/// Text that is no token. Says nothing about what was given, which may be most of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Not ours at all.
    #[error("not a join token")]
    NotAToken,
    /// Cut off or changed on its way.
    #[error("the join token is incomplete or damaged")]
    Damaged,
}

impl InvalidToken {
    /// What the user can do next.
    pub const fn hint(&self) -> &'static str {
        "make one with `windlass host token HOST` and pass it on whole, on one line"
    }
}

impl JoinToken {
    /// Makes a token with a new secret.
    pub fn new(fleet: FleetId, host: HostId, ca_pin: Digest, trust_pin: Digest) -> Result<Self, RandomError> {
        Ok(Self { fleet, host, secret: JoinSecret::generate()?, ca_pin, trust_pin })
    }

    /// Reads a token; white space around it is dropped.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        if text.len() > MAX_LEN || !text.starts_with("windlass") {
            return Err(InvalidToken::NotAToken);
        }
        let parts: Vec<&str> = text.split('.').collect();
        let [version, fleet, host, secret, ca_pin, trust_pin] = parts[..] else {
            return Err(InvalidToken::Damaged);
        };
        if version != VERSION {
            return Err(InvalidToken::NotAToken);
        }
        Ok(Self {
            fleet: fleet.parse().map_err(|_| InvalidToken::Damaged)?,
            host: host.parse().map_err(|_| InvalidToken::Damaged)?,
            secret: JoinSecret(Zeroizing::new(decode(secret)?)),
            ca_pin: Digest::from_bytes(decode(ca_pin)?),
            trust_pin: Digest::from_bytes(decode(trust_pin)?),
        })
    }

    /// Which fleet to join.
    pub const fn fleet(&self) -> &FleetId {
        &self.fleet
    }

    /// As which host.
    pub const fn host(&self) -> &HostId {
        &self.host
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

fn decode(part: &str) -> Result<[u8; 32], InvalidToken> {
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidToken::Damaged)?);
    bytes.as_slice().try_into().map_err(|_| InvalidToken::Damaged)
}

impl FromStr for JoinToken {
    type Err = InvalidToken;
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        Self::parse(text)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [secret, ca_pin, trust_pin] =
            [&*self.secret.0, self.ca_pin.as_bytes(), self.trust_pin.as_bytes()]
                .map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        write!(f, "{VERSION}.{}.{}.{secret}.{ca_pin}.{trust_pin}", self.fleet, self.host)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}/{}, ****)", self.fleet, self.host)
    }
}

impl fmt::Debug for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecret(****)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> JoinToken {
        let (ca, trust) = (Digest::of(b"ca"), Digest::of(b"trust"));
        JoinToken::new("demo".parse().unwrap(), "web-1".parse().unwrap(), ca, trust).unwrap()
    }

    #[test]
    fn a_token_is_one_line_and_comes_back_whole() {
        let token = token();
        let text = token.to_string();
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{text}");
        let back = JoinToken::parse(&format!("  {text}\n")).unwrap();
        assert_eq!(back.to_string(), text);
        assert_eq!((back.ca_pin(), back.trust_pin()), (token.ca_pin(), token.trust_pin()));
        assert!(back.secret().matches(&token.secret().hash()));
    }

    #[test]
    fn the_secret_is_neither_shown_nor_stored() {
        let token = token();
        let secret = URL_SAFE_NO_PAD.encode(token.secret().expose());
        for seen in [format!("{token:?}"), format!("{:?}", token.secret()), token.secret().hash().to_string()]
        {
            assert!(!seen.contains(&secret), "{seen}");
        }
        assert!(!JoinSecret::from_bytes(&[7; 32]).unwrap().matches(&token.secret().hash()));
        assert!(JoinSecret::from_bytes(&[7; 31]).is_none());
    }

    #[test]
    fn damage_is_seen() {
        let text = token().to_string();
        assert_eq!(JoinToken::parse("hello").unwrap_err(), InvalidToken::NotAToken);
        for cut in 9..text.len() {
            assert!(JoinToken::parse(&text[..cut]).is_err(), "{cut}");
        }
        assert!(JoinToken::parse(&format!("{text}A")).is_err());
        assert!(JoinToken::parse(&text.replace("windlass1", "windlass2")).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,200}", parts in "windlass1(\\.[a-zA-Z0-9_=-]{0,50}){0,7}") {
            let _ = JoinToken::parse(&text);
            let _ = JoinToken::parse(&parts);
        }
    }
}
