//! Making a join token. Only its hash is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::{Digest, HostId, Timestamp};

use super::EnrolError;
use crate::audit;
use crate::ledger::{Change, Draft};
use crate::store::record::{Standing, TokenRecord};

/// How long a token is good.
const LIFETIME: Duration = Duration::from_secs(10 * 60);

pub(super) fn make(
    draft: &mut Draft<'_>,
    hash: Digest,
    host: HostId,
    labels: BTreeMap<String, String>,
    actor: String,
) -> Result<Timestamp, EnrolError> {
    if draft.state.hosts.get(&host).is_some_and(|record| record.standing == Standing::Banned) {
        return Err(EnrolError::Banned(host));
    }
    let expires_at = draft.now + LIFETIME;
    // A second token for a host replaces the first, and those that nobody used are swept out here.
    let now = draft.now;
    let old = draft.state.tokens.values().filter(|token| token.host == host || token.expires_at <= now);
    let old: Vec<Digest> = old.take(64).map(|token| token.hash).collect();
    old.into_iter().for_each(|hash| draft.change(Change::TokenGone(hash)));
    draft.audit(audit::ok(&actor, "host.token", &host));
    draft.change(Change::Token(TokenRecord { hash, host, labels, made_by: actor, expires_at }));
    Ok(expires_at)
}
