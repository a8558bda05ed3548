//! Making a join token. Only its hash is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::{Digest, HostId, Timestamp};

use super::EnrolError;
use crate::audit;
use crate::ledger::{Change, WriteBatch};
use crate::store::record::{Membership, TokenRecord};

/// The lifetime of a token.
const LIFETIME: Duration = Duration::from_secs(10 * 60);

pub(super) fn make(
    batch: &mut WriteBatch<'_>,
    hash: Digest,
    host: HostId,
    labels: BTreeMap<String, String>,
    actor: String,
) -> Result<Timestamp, EnrolError> {
    if batch.state.hosts.get(&host).is_some_and(|record| record.standing == Membership::Banned) {
        return Err(EnrolError::Banned(host));
    }
    let expires_at = batch.now + LIFETIME;
    // A second token for a host replaces the first, and those that nobody used are swept out here.
    let now = batch.now;
    let old = batch.state.tokens.values().filter(|token| token.host == host || token.expires_at <= now);
    let old: Vec<Digest> = old.take(64).map(|token| token.hash).collect();
    old.into_iter().for_each(|hash| batch.change(Change::TokenGone(hash)));
    batch.audit(audit::ok(&actor, "host.token", &host));
    batch.change(Change::Token(TokenRecord { hash, host, labels, made_by: actor, expires_at }));
    Ok(expires_at)
}
