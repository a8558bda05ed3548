//! Ids of rollouts: UUIDs of version 7, so that the order of ids is that of time, also where the clock was set back.

use windlass_core::{RolloutId, Timestamp};

use crate::ledger::State;

/// The ids of the next rollouts, each after every one that is stored. What is random in others is drawn here from the
/// audit log's head, which no two writes share.
pub(crate) fn next_ids(state: &State, now: Timestamp) -> impl FnMut() -> RolloutId + use<> {
    let millis = |uuid: uuid::Uuid| u64::try_from(uuid.as_u128() >> 80).unwrap_or(0);
    let newest = state.rollouts.keys().next_back();
    let after = newest.and_then(|id| id.as_str().parse().ok()).map_or(0, |uuid| millis(uuid) + 1);
    let mut next = u64::try_from(now.as_millis()).unwrap_or(0).max(after);
    let mut random = [0; 10];
    random.copy_from_slice(&state.head.hash.as_bytes()[..10]);
    move || {
        let uuid = uuid::Builder::from_unix_timestamp_millis(next, &random).into_uuid();
        next += 1;
        uuid.to_string().parse().expect("a UUID is a rollout id")
    }
}
