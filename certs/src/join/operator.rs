//! What a person needs to become an operator, on one line. Made like a host's token, and never good for a host:
//!
//! ```text
//! windlass-operator1.<fleet>.<name>.<secret>.<CA pin>.<digest of trust version 1>
//! ```

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use windlass_core::{Digest, FleetId, OperatorName};

use super::{InvalidToken, JoinSecret, MAX_LEN, decode};
use crate::random::RandomError;

const VERSION: &str = "windlass-operator1";

/// A token for an operator. `Debug` hides the secret; `Display` is the whole token, for handing over.
#[derive(Clone)]
pub struct OperatorToken {
    fleet: FleetId,
    name: OperatorName,
    secret: JoinSecret,
    ca_pin: Digest,
    trust_pin: Digest,
}

impl OperatorToken {
    /// Makes a token with a new secret.
    pub fn new(
        fleet: FleetId,
        name: OperatorName,
        ca_pin: Digest,
        trust_pin: Digest,
    ) -> Result<Self, RandomError> {
        Ok(Self { fleet, name, secret: JoinSecret::generate()?, ca_pin, trust_pin })
    }

    /// Reads a token; white space around it is dropped.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        if text.len() > MAX_LEN || !text.starts_with("windlass") {
            return Err(InvalidToken::NotAToken);
        }
        let parts: Vec<&str> = text.split('.').collect();
        if parts.first() != Some(&VERSION) {
            return Err(InvalidToken::NotAToken);
        }
        let [_, fleet, name, secret, ca_pin, trust_pin] = parts[..] else {
            return Err(InvalidToken::Damaged);
        };
        Ok(Self {
            fleet: fleet.parse().map_err(|_| InvalidToken::Damaged)?,
            name: name.parse().map_err(|_| InvalidToken::Damaged)?,
            secret: JoinSecret::from_bytes(&decode(secret)?).ok_or(InvalidToken::Damaged)?,
            ca_pin: Digest::from_bytes(decode(ca_pin)?),
            trust_pin: Digest::from_bytes(decode(trust_pin)?),
        })
    }

    /// Which fleet to join.
    pub const fn fleet(&self) -> &FleetId {
        &self.fleet
    }

    /// As whom.
    pub const fn name(&self) -> &OperatorName {
        &self.name
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

impl fmt::Display for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [secret, ca_pin, trust_pin] =
            [self.secret.expose(), self.ca_pin.as_bytes(), self.trust_pin.as_bytes()]
                .map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        write!(f, "{VERSION}.{}.{}.{secret}.{ca_pin}.{trust_pin}", self.fleet, self.name)
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperatorToken({}/{}, ****)", self.fleet, self.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::join::JoinToken;

    fn token() -> OperatorToken {
        let (ca, trust) = (Digest::of(b"ca"), Digest::of(b"trust"));
        OperatorToken::new("demo".parse().unwrap(), "bob".parse().unwrap(), ca, trust).unwrap()
    }

    #[test]
    fn a_token_comes_back_whole_and_is_none_of_a_host() {
        let token = token();
        let text = token.to_string();
        let back = OperatorToken::parse(&format!(" {text}\n")).unwrap();
        assert_eq!(back.to_string(), text);
        assert_eq!((back.ca_pin(), back.trust_pin()), (token.ca_pin(), token.trust_pin()));
        assert!(JoinToken::parse(&text).is_err(), "a host's and an operator's token are told apart");
        let (ca, trust) = (token.ca_pin(), token.trust_pin());
        let host = JoinToken::new("demo".parse().unwrap(), "bob".parse().unwrap(), ca, trust).unwrap();
        assert_eq!(OperatorToken::parse(&host.to_string()).unwrap_err(), InvalidToken::NotAToken);
    }

    #[test]
    fn damage_is_seen_and_the_secret_is_not() {
        let text = token().to_string();
        for cut in 18..text.len() {
            assert!(OperatorToken::parse(&text[..cut]).is_err(), "{cut}");
        }
        assert_eq!(format!("{:?}", token()), "OperatorToken(demo/bob, ****)");
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,200}", parts in "windlass-operator1(\\.[a-zA-Z0-9_=-]{0,50}){0,7}") {
            let _ = OperatorToken::parse(&text);
            let _ = OperatorToken::parse(&parts);
        }
    }
}
