use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_certs::keys::SigningKey;
use windlass_certs::trust::{EnvironmentScope, ReleaseRole, RoleKeys, Roles, TrustDocument, TrustStore};
use windlass_core::Timestamp;
use windlass_core::rollout::{Rollout, Target};

use super::*;
use crate::clock::Clock;
use crate::config::LivenessRules;
use crate::ledger::{Ledger, State, state_for_tests};
use crate::store::memory::MemoryStore;

const RELEASE: &str = r#"{"version":1,"fleet":"lab","environment":"production","service":"web","counter":"r1",
    "created_at":"AT","author":"ada","spec":{"image":{"reference":"registry.lab:5000/web:v1",
    "repository":"registry.lab:5000/web","platform":"linux/amd64","size":1000,
    "digest":"sha256:88d87b611c6f76eaf3ffbcc9ff44c60a0f463aab35bae5e495c371827d5ee792"},
    "scale":{"replicas":{"min":1,"max":1}},"placement":{"spread":"host"},
    "resources":{"cpu_millis":100,"memory":"64MiB","pids":64},"security":{"read_only_root":false},"health":{},
    "strategy":{"recreate":{"min_ready":"5s"}},"soak":"10s","progress_deadline":"2m","stop_timeout":"10s",
    "on_failure":"rollback_all","rollback_on":{"restarts":1,"unhealthy_for":"2m"},"on_lost":{"on_return":"keep_new"}}}"#;

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
    let [root, dispatch, audit] = std::array::from_fn(|_| SigningKey::generate().unwrap());
    let role = |key: &SigningKey| RoleKeys { keys: vec![key.public()], threshold: 1 };
    let release = ReleaseRole {
        environment: EnvironmentScope::Any,
        services: None,
        keys: keys.iter().map(SigningKey::public).collect(),
        retired: Vec::new(),
        threshold,
    };
    let document = TrustDocument {
        fleet: "lab".parse().unwrap(),
        version: 1,
        epoch: 1,
        created_at: clock.now(),
        expires_at: clock.now() + 30 * DAY,
        root: role(&root),
        roles: Roles { release: vec![release], dispatch: role(&dispatch), audit: role(&audit), revoke: None },
        hosts: Default::default(),
        ca: vec![Digest::of(b"ca")],
        coordinators: vec!["127.0.0.1:7443".to_owned()],
        floors: Default::default(),
        revoked: Default::default(),
    };
    let envelope = Envelope::sign(PayloadType::Trust, serde_json::to_vec(&document).unwrap(), &[&root]);
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
    let keys: [SigningKey; 2] = std::array::from_fn(|_| SigningKey::generate().unwrap());
    let begun = Timestamp::from_millis(1_800_000_000_000);
    let made = RELEASE.replace("AT", &begun.to_string()).into_bytes();
    let envelope = Envelope::sign(PayloadType::Release, made, &[&keys[0], &keys[1]]);
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
