//! The terms that an operator promised with a token, beside member and kind: they travel in the token, so that no coordinator can
//! change it on the way.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use windlass_core::Timestamp;

use crate::identity::Grant;
use crate::json;

/// Longer than any terms of ours: a grant for 32 environments has some 2000 characters.
const MAX_LEN: usize = 8 * 1024;
/// `host:port`, with the longest DNS name there is.
const MAX_SERVER: usize = 260;

/// The terms of a token. What is absent was not promised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Terms {
    /// The address of the coordinator, `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Until when the token is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Labels of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Role and scope of the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
}

impl Terms {
    /// Nothing was promised: a token of an older version.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As a token carries them.
    pub(super) fn encode(&self) -> String {
        let json = serde_json::to_vec(self).expect("terms have string keys, so they are JSON");
        URL_SAFE_NO_PAD.encode(json)
    }

    /// Reads what [`Terms::encode`] wrote; any other spelling of the same is none.
    pub(super) fn decode(part: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
        let terms: Self = json::decode_bounded(&bytes, MAX_LEN).ok()?;
        let is_plain = terms.server.as_deref().is_none_or(is_address);
        (is_plain && !terms.is_empty() && terms.encode() == part).then_some(terms)
    }
}

/// Whether `text` looks like `host:port`: printable, without white space, quotes or anything else a shell acts upon.
pub fn is_address(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    text.len() <= MAX_SERVER && text.bytes().all(plain) && matches!(port, Some(Ok(1..)))
}
