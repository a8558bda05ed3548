use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_core::Timestamp;
use windlass_core::rollout::{Rollout, Target};

use super::*;
use crate::clock::Clock;
use crate::ledger::{Ledger, state_for_tests};
use crate::store::memory::MemoryStore;

fn rollout(draft: &Draft<'_>) -> Rollout {
    let name = |n: u64| ReleaseRef {
        counter: Counter(n),
        digest: Digest::of(&n.to_be_bytes()),
        content: Digest::of(&n.to_be_bytes()),
    };
    let target = Target {
        release: name(1),
        kind: Kind::Deploy,
        actor: "test".to_owned(),
        supersede: true,
        retry_quarantined: false,
    };
    let service = Service::new("production/web".parse().unwrap());
    rollout::start(&service, None, target, next_ids(draft.state, draft.now)(), draft.now).unwrap().1
}

#[tokio::test]
async fn rollout_ids_rise_with_the_clock_stopped_or_set_back() {
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    let opened = Ledger::open(Arc::new(MemoryStore::new()), state_for_tests(), clock.clone()).await;
    let (ledger, writer) = opened.unwrap();
    let mut set = JoinSet::new();
    set.spawn(writer.run(CancellationToken::new()));
    for back in [0, 0, 3600, 7200, 0] {
        clock.set(Timestamp::from_millis(1_700_000_000_000 - back * 1000));
        ledger.write(|draft| draft.change(Change::Rollout(Box::new(rollout(draft))))).await.unwrap();
    }
    let made = ledger.read(|state| state.rollouts.values().map(|r| r.created_at).collect::<Vec<_>>());
    assert_eq!(made.len(), 5, "each has an id of its own");
    let seconds: Vec<i64> = made.iter().map(|at| 1_700_000_000 - at.as_millis() / 1000).collect();
    assert_eq!(seconds, [0, 0, 3600, 7200, 0], "the order of ids is the order in which they were made");
}
