use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_certs::keys::SigningKey;
use windlass_certs::trust::{ReleaseRole, Roles, TrustDocument, TrustStore};
use windlass_core::Timestamp;
use windlass_core::release::Release;
use windlass_core::rollout::{Rollout, Target};
use windlass_testkit::keys::{self as testkit, Keys, seal};

use super::*;
use crate::clock::Clock;
use crate::config::LivenessRules;
use crate::ledger::{Ledger, State, state_for_tests};
use crate::store::memory::MemoryStore;

fn rollout(batch: &WriteBatch<'_>) -> Rollout {
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
    rollout::start(&service, None, target, next_ids(batch.state, batch.now)(), batch.now).unwrap().1
}

/// A ledger at `clock` whose trust document asks for `threshold` of these signatures.
async fn ledger(keys: &[SigningKey], threshold: u32, clock: &Clock) -> (Ledger, JoinSet<anyhow::Result<()>>) {
    let own = Keys::generate();
    let usual = own.document(clock.now());
    let release = ReleaseRole { threshold, ..testkit::releases(&keys.iter().collect::<Vec<_>>()) };
    let roles = Roles { release: vec![release], ..usual.roles };
    let document = TrustDocument { roles, ..usual };
    let envelope = seal(PayloadType::Trust, &document, &[&own.root]);
    let trust = TrustStore::pinned(&document.fleet, envelope.digest(), &envelope.to_bytes()).unwrap();
    let opened = Ledger::open(Arc::new(MemoryStore::new()), State::new(trust), clock.clone()).await;
    let (ledger, writer) = opened.unwrap();
    let mut set = JoinSet::new();
    set.spawn(writer.run(CancellationToken::new()));
    (ledger, set)
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn signatures_of_several_people_count_for_a_week() {
    let keys: [SigningKey; 2] = std::array::from_fn(|_| testkit::key());
    let begun = Timestamp::from_millis(1_800_000_000_000);
    let release = Release { created_at: begun, ..windlass_testkit::release::release(1, json!({})) };
    let envelope = seal(PayloadType::Release, &release, &[&keys[0], &keys[1]]);
    for (threshold, days, taken) in [(2, 0, true), (2, 6, true), (2, 7, false), (1, 7, true), (1, 25, true)] {
        let clock = Clock::manual(begun);
        let (ledger, _writer) = ledger(&keys, threshold, &clock).await;
        clock.set(begun + days * DAY);
        let submission = Submission {
            envelope: envelope.clone(),
            supersede: false,
            retry_quarantined: false,
            preview: None,
            actor: "operator/ada".to_owned(),
        };
        let submit = async |ledger: &Ledger| {
            let (registry, submission) =
                (Registry::new(LivenessRules::default(), clock.clone()), submission.clone());
            ledger.write(move |batch| take(batch, &registry, submission)).await.unwrap()
        };
        match submit(&ledger).await {
            Ok(_) => assert!(taken, "{threshold} {days}"),
            Err(error) => {
                assert!(!taken && matches!(error, ReleaseError::SignaturesExpired { .. }), "{error}");
                assert!(error.hint().unwrap().contains("windlass release sign"));
                continue;
            }
        }
        // A client that did not hear the answer asks again, however late.
        clock.set(begun + 20 * DAY);
        assert!(submit(&ledger).await.is_ok(), "{threshold} {days}");
    }
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
        ledger.write(|batch| batch.change(Change::Rollout(Box::new(rollout(batch))))).await.unwrap();
    }
    let made = ledger.read(|state| state.rollouts.values().map(|r| r.created_at).collect::<Vec<_>>());
    assert_eq!(made.len(), 5, "each has an id of its own");
    let seconds: Vec<i64> = made.iter().map(|at| 1_700_000_000 - at.as_millis() / 1000).collect();
    assert_eq!(seconds, [0, 0, 3600, 7200, 0], "the order of ids is the order in which they were made");
}
