use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use windlass_certs::dsse::PayloadType;
use windlass_certs::files;
use windlass_certs::trust::TrustDocument;
use windlass_core::host::HostPolicy;
use windlass_core::release::Release;

use super::offer::HISTORY;
use super::*;
use crate::fixture::{self, Fleet, counter};
use crate::state::TrustMark;

/// A coordinator that has some releases, and counts how often it was asked.
#[derive(Default)]
struct Shelf {
    releases: BTreeMap<Digest, Vec<u8>>,
    asked: AtomicUsize,
    broken: bool,
}

impl Source for Shelf {
    async fn fetch(&self, digest: &Digest) -> anyhow::Result<Option<Vec<u8>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        anyhow::ensure!(!self.broken, "connection reset");
        Ok(self.releases.get(digest).cloned())
    }
}

/// A host that has joined, in a folder of its own.
struct Host {
    fleet: Fleet,
    folder: tempfile::TempDir,
    facts: watch::Sender<Arc<HostFacts>>,
    shelf: Shelf,
}

impl Host {
    fn joined() -> Self {
        let (fleet, folder) = (Fleet::new(), tempfile::tempdir().unwrap());
        let policy =
            HostPolicy { registries: vec!["registry.example.com".to_owned()], ..HostPolicy::default() };
        let facts = HostFacts {
            labels: [("role".to_owned(), "app".to_owned())].into(),
            memory: 1 << 30,
            platform: crate::facts::platform().to_owned(),
            policy,
            ..HostFacts::default()
        };
        let host =
            Self { fleet, folder, facts: watch::Sender::new(Arc::new(facts)), shelf: Shelf::default() };
        let data = host.data();
        let trust = host.fleet.trust(&host.fleet.document());
        files::replace_secret(&data.trust(), trust.envelope()).unwrap();
        let mark = TrustMark { version: 1, digest: trust.digest() };
        Journal::create(&data.journal(), State::joined(mark, Timestamp::ZERO)).unwrap();
        host
    }

    fn data(&self) -> DataDir {
        DataDir::create(&self.folder.path().join("agent")).unwrap()
    }

    /// Starts the keeper, as after a restart of the agent.
    async fn open(&self) -> DocumentStore {
        let member = Member {
            fleet: fixture::fleet(),
            host: fixture::host(),
            address: "127.0.0.1".to_owned(),
            labels: BTreeMap::new(),
            server: "127.0.0.1:1".to_owned(),
            trust_pin: Digest::of(b"pin"),
        };
        let (data, facts) = (self.data(), self.facts.subscribe());
        DocumentStore::open(Opened { data, member, facts, own: Vec::new() }).await.unwrap()
    }

    /// Signs a release and puts it on the shelf.
    fn release(&mut self, number: u64, change: impl Fn(&mut Release)) -> Digest {
        let mut release = fixture::release(number);
        change(&mut release);
        let (digest, envelope) = self.fleet.sign_release(&release);
        self.shelf.releases.insert(digest, envelope);
        digest
    }

    fn plan(&self, seq: u64, releases: &[Digest]) -> Vec<u8> {
        self.fleet.sign_plan(&self.fleet.plan(seq, releases))
    }
}

fn seq(keeper: &DocumentStore) -> u64 {
    keeper.desired().borrow().plan.as_ref().map_or(0, |plan| plan.seq)
}

fn refused(keeper: &DocumentStore) -> Option<RefusalCode> {
    keeper.desired().borrow().plan_refusal.as_ref().map(|refusal| refusal.code)
}

#[tokio::test]
async fn an_accepted_plan_survives_the_agent_and_needs_nobody() {
    let mut host = Host::joined();
    let r1 = host.release(1, |_| {});
    let keeper = host.open().await;
    assert_eq!(seq(&keeper), 0);
    keeper.offer(&host.plan(1, &[r1, r1]), &host.shelf).await.unwrap();
    assert_eq!((seq(&keeper), refused(&keeper)), (1, None));
    assert_eq!(host.shelf.asked.load(Ordering::SeqCst), 1, "each release is fetched once");
    keeper.offer(&host.plan(1, &[r1, r1]), &host.shelf).await.unwrap();
    assert_eq!(host.shelf.asked.load(Ordering::SeqCst), 1, "and kept");
    assert_eq!(keeper.plan().map(|mark| (mark.epoch, mark.seq)), Some((1, 1)));
    assert_eq!(keeper.kept_releases(), [r1].into());
    assert_eq!(keeper.kept_release(&r1).as_ref(), host.shelf.releases.get(&r1), "as it came");
    assert_eq!(keeper.kept_release(&Digest::of(b"another")), None);
    drop(keeper);
    let again = host.open().await;
    assert_eq!(seq(&again), 1);
    assert!(again.desired().borrow().releases.contains_key(&r1));
    assert!(again.desired().borrow().refusals.is_empty());
}

#[tokio::test]
async fn a_refused_plan_changes_nothing_and_is_reported() {
    let mut host = Host::joined();
    let (r1, r2) = (host.release(1, |_| {}), host.release(2, |_| {}));
    let keeper = host.open().await;
    keeper.offer(&host.plan(5, &[r1]), &host.shelf).await.unwrap();
    let journal = std::fs::read(host.data().journal()).unwrap();
    let asked = host.shelf.asked.load(Ordering::SeqCst);
    let forged = host.fleet.sign(
        windlass_certs::dsse::PayloadType::Plan,
        &host.fleet.plan(6, &[r2]),
        &[&host.fleet.second],
    );
    for (bytes, want) in [
        (host.plan(4, &[r2]), RefusalCode::Stale),
        (host.plan(5, &[r2]), RefusalCode::Equivocation),
        (forged, RefusalCode::UnknownKey),
        (b"nonsense".to_vec(), RefusalCode::Malformed),
    ] {
        keeper.offer(&bytes, &host.shelf).await.unwrap();
        assert_eq!((seq(&keeper), refused(&keeper)), (5, Some(want)));
        assert_eq!(keeper.counters().snapshot()[&want], 1);
    }
    assert_eq!(std::fs::read(host.data().journal()).unwrap(), journal);
    assert_eq!(host.shelf.asked.load(Ordering::SeqCst), asked, "nothing was fetched");
    assert!(!host.open().await.releases.contains(&r2));
    keeper.offer(&host.plan(6, &[r2]), &host.shelf).await.unwrap();
    assert_eq!((seq(&keeper), refused(&keeper)), (6, None));
}

#[tokio::test]
async fn a_fetch_that_fails_is_no_refusal() {
    let mut host = Host::joined();
    let r1 = host.release(1, |_| {});
    host.shelf.broken = true;
    let keeper = host.open().await;
    let offered = keeper.offer(&host.plan(1, &[r1]), &host.shelf).await;
    assert!(matches!(offered, Err(OfferError::Fetch { .. })));
    assert_eq!((seq(&keeper), refused(&keeper)), (0, None));
    host.shelf.broken = false;
    keeper.offer(&host.plan(1, &[r1]), &host.shelf).await.unwrap();
    assert_eq!(seq(&keeper), 1);
}

#[tokio::test]
async fn one_bad_slot_refuses_itself_alone() {
    let mut host = Host::joined();
    let (r1, unknown) = (host.release(1, |_| {}), Digest::of(b"nobody has it"));
    let elsewhere = host.release(3, |release| release.spec.image.repository = "other.example.com/web".into());
    let keeper = host.open().await;
    keeper.offer(&host.plan(1, &[r1, unknown, elsewhere]), &host.shelf).await.unwrap();
    let desired = keeper.desired().borrow().clone();
    let refusals: Vec<_> =
        desired.refusals.iter().map(|(slot, refusal)| (slot.index, refusal.code)).collect();
    assert_eq!(refusals, [(1, RefusalCode::UnsignedRelease), (2, RefusalCode::Policy)]);
    assert_eq!(desired.releases.keys().collect::<Vec<_>>(), [&r1]);
    // A release counts each time that it is judged, a slot when it is refused anew.
    let counted = |code| keeper.counters().snapshot()[&code];
    assert_eq!((counted(RefusalCode::UnsignedRelease), counted(RefusalCode::Policy)), (2, 1));
    keeper.offer(&host.plan(1, &[r1, unknown, elsewhere]), &host.shelf).await.unwrap();
    assert_eq!((counted(RefusalCode::UnsignedRelease), counted(RefusalCode::Policy)), (3, 1));
}

#[tokio::test]
async fn a_lost_journal_is_not_an_empty_one() {
    let mut host = Host::joined();
    let r1 = host.release(1, |_| {});
    host.open().await.offer(&host.plan(9, &[r1]), &host.shelf).await.unwrap();
    std::fs::write(host.data().journal(), b"windlass-journal 1 0\n{}").unwrap();
    let keeper = host.open().await;
    assert_eq!(seq(&keeper), 0, "nothing is started");
    assert!(keeper.desired().borrow().releases.contains_key(&r1), "but what runs is still probed");
    keeper.offer(&host.plan(1, &[r1]), &host.shelf).await.unwrap();
    assert_eq!(
        (seq(&keeper), refused(&keeper)),
        (0, Some(RefusalCode::Stale)),
        "an old plan does not come back"
    );
    assert!(matches!(keeper.take_trust(&[]).await, Err(TakeError::Adopting)));
}

#[tokio::test]
async fn a_new_trust_document_judges_again() {
    let mut host = Host::joined();
    let r1 = host.release(1, |_| {});
    let keeper = host.open().await;
    keeper.offer(&host.plan(1, &[r1]), &host.shelf).await.unwrap();
    let mut second = host.fleet.document();
    second.version = 2;
    second.revoked.releases.insert(r1);
    assert_eq!(keeper.take_trust(&[host.fleet.sign_trust(&second)]).await.unwrap(), 1);
    let codes: Vec<_> = keeper.desired().borrow().refusals.values().map(|refusal| refusal.code).collect();
    assert_eq!(codes, [RefusalCode::Revoked]);
    let again = host.open().await;
    assert_eq!(again.trust().version(), 2);
    assert_eq!(again.desired().borrow().refusals.len(), 1);
    // Neither a forged version nor an older one.
    let mut third = second.clone();
    third.version = 3;
    let forged = host.fleet.sign(windlass_certs::dsse::PayloadType::Trust, &third, &[&host.fleet.second]);
    assert!(keeper.take_trust(&[forged]).await.is_err());
    let mut fork = second.clone();
    fork.revoked.releases.clear();
    assert!(keeper.take_trust(&[host.fleet.sign_trust(&fork)]).await.is_err());
    assert_eq!(keeper.trust().version(), 2);
}

#[tokio::test]
async fn a_new_epoch_freezes_the_host_until_its_first_plan() {
    let mut host = Host::joined();
    let r1 = host.release(1, |_| {});
    let keeper = host.open().await;
    keeper.offer(&host.plan(9, &[r1]), &host.shelf).await.unwrap();
    let mut second = host.fleet.document();
    (second.version, second.epoch) = (2, 2);
    keeper.take_trust(&[host.fleet.sign_trust(&second)]).await.unwrap();
    assert_eq!(seq(&keeper), 0);
    keeper.offer(&host.plan(10, &[r1]), &host.shelf).await.unwrap();
    assert_eq!(refused(&keeper), Some(RefusalCode::WrongEpoch));
    let mut first = host.fleet.plan(1, &[r1]);
    first.epoch = 2;
    keeper.offer(&host.fleet.sign_plan(&first), &host.shelf).await.unwrap();
    assert_eq!((seq(&keeper), refused(&keeper)), (1, None), "numbers begin again");
    assert_eq!(seq(&host.open().await), 1);
}

#[tokio::test]
async fn a_crash_between_the_trust_file_and_the_journal_is_survived() {
    let host = Host::joined();
    let mut second = host.fleet.document();
    second.version = 2;
    let envelope = host.fleet.sign_trust(&second);
    files::replace_secret(&host.data().trust(), &envelope).unwrap();
    assert_eq!(host.open().await.trust().version(), 2);
    assert_eq!(
        host.open().await.journal().unwrap().state().trust.version,
        2,
        "what counts here is journaled"
    );
    // But a file that was put back is seen.
    host.open().await.take_trust(&[envelope]).await.unwrap();
    let keeper = host.open().await;
    let mut third = second.clone();
    third.version = 3;
    keeper.take_trust(&[host.fleet.sign_trust(&third)]).await.unwrap();
    files::replace_secret(&host.data().trust(), &host.fleet.sign_trust(&host.fleet.document())).unwrap();
    let opened = Opened {
        data: host.data(),
        member: keeper.member().clone(),
        facts: host.facts.subscribe(),
        own: Vec::new(),
    };
    assert!(matches!(DocumentStore::open(opened).await, Err(OpenError::Trust(_))));
}

#[tokio::test]
async fn a_good_release_raises_the_floor_for_ever() {
    let mut host = Host::joined();
    let r1 = host.release(1, |_| {});
    let r2 = host.release(2, |release| release.spec.floor = Some(counter(2)));
    let keeper = host.open().await;
    let mut plan = host.fleet.plan(1, &[r2]);
    keeper.offer(&host.fleet.sign_plan(&plan), &host.shelf).await.unwrap();
    keeper.offer(&host.plan(2, &[r1]), &host.shelf).await.unwrap();
    assert!(keeper.desired().borrow().refusals.is_empty(), "not good yet, so no floor");
    (plan.seq, plan.slots[0].good) = (3, true);
    keeper.offer(&host.fleet.sign_plan(&plan), &host.shelf).await.unwrap();
    keeper.offer(&host.plan(4, &[r1]), &host.shelf).await.unwrap();
    let codes = |keeper: &DocumentStore| {
        keeper.desired().borrow().refusals.values().map(|refusal| refusal.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&keeper), [RefusalCode::BelowFloor]);
    assert_eq!(codes(&host.open().await), [RefusalCode::BelowFloor]);
}

#[tokio::test]
async fn a_clock_that_was_set_back_brings_no_old_plan_back() {
    let mut host = Host::joined();
    let r1 = host.release(1, |_| {});
    let keeper = host.open().await;
    // A plan of the day before yesterday is too late, whatever this clock would say.
    let mut old = host.fleet.plan(1, &[r1]);
    old.issued_at = host.fleet.now - Duration::from_secs(200_000);
    old.expires_at = old.issued_at + Duration::from_secs(86_400);
    keeper.journal().unwrap().update(|state| state.witness(host.fleet.now)).await.unwrap();
    keeper.offer(&host.fleet.sign_plan(&old), &host.shelf).await.unwrap();
    assert_eq!(refused(&keeper), Some(RefusalCode::Expired));
    keeper.offer(&host.plan(1, &[r1]), &host.shelf).await.unwrap();
    assert!(keeper.journal().unwrap().state().trusted_time >= host.fleet.now);
}

#[tokio::test]
async fn a_checkpoint_is_kept_and_a_shorter_history_is_not() {
    let host = Host::joined();
    let keeper = host.open().await;
    keeper.witness(&host.fleet.sign_checkpoint(5, Digest::of(b"5"))).await.unwrap();
    keeper.witness(&host.fleet.sign_checkpoint(3, Digest::of(b"3"))).await.unwrap();
    keeper.witness(b"nonsense").await.unwrap();
    assert_eq!(host.open().await.witnessed().unwrap().size, 5);
    assert_eq!(keeper.counters().snapshot()[&RefusalCode::Stale], 1);
}

#[tokio::test]
async fn lost_release_is_missing_until_a_source_has_it() {
    let mut host = Host::joined();
    let r1 = host.release(1, |_| {});
    host.open().await.offer(&host.plan(1, &[r1]), &host.shelf).await.unwrap();
    std::fs::remove_dir_all(host.data().releases()).unwrap();
    let keeper = host.open().await;
    let details: Vec<_> = keeper.desired().borrow().refusals.values().map(ToString::to_string).collect();
    let [detail] = details.as_slice() else { panic!("one slot is refused: {details:?}") };
    assert!(detail.starts_with("unsigned_release") && detail.contains("not on this host"), "{detail}");
    assert_eq!(detail.matches("unsigned_release").count(), 1, "said once: {detail}");
    keeper.offer(&host.plan(1, &[r1]), &host.shelf).await.unwrap();
    assert!(keeper.desired().borrow().refusals.is_empty());
}

#[tokio::test]
async fn only_a_wrong_clock_refuses_a_plan_for_now() {
    let mut host = Host::joined();
    let r1 = host.release(1, |_| {});
    let keeper = host.open().await;
    assert!(!keeper.is_refused_for_now());
    let (day, mut early, mut late) =
        (Duration::from_secs(86_400), host.fleet.plan(2, &[r1]), host.fleet.plan(2, &[r1]));
    (early.issued_at, early.expires_at) = (early.issued_at + day, early.expires_at + day);
    (late.issued_at, late.expires_at) = (late.issued_at - 2 * day, late.expires_at - 2 * day);
    for (plan, want) in [(early, RefusalCode::NotYetValid), (late, RefusalCode::Expired)] {
        keeper.offer(&host.fleet.sign_plan(&plan), &host.shelf).await.unwrap();
        assert_eq!((refused(&keeper), keeper.is_refused_for_now()), (Some(want), true));
    }
    keeper.offer(b"nonsense", &host.shelf).await.unwrap();
    assert!(!keeper.is_refused_for_now());
    keeper.offer(&host.plan(2, &[r1]), &host.shelf).await.unwrap();
    assert!(!keeper.is_refused_for_now());
}

#[tokio::test]
async fn what_no_plan_names_any_more_is_forgotten_after_a_while() {
    let mut host = Host::joined();
    let r1 = host.release(1, |_| {});
    let keeper = host.open().await;
    for n in 0..=HISTORY {
        keeper.releases.put(&Digest::of(&n.to_be_bytes()), b"{}").unwrap();
    }
    keeper.offer(&host.plan(1, &[r1]), &host.shelf).await.unwrap();
    let kept = keeper.kept_releases();
    assert_eq!((kept.len(), kept.contains(&r1)), (HISTORY + 1, true));
}

#[tokio::test]
async fn the_agents_own_files_are_never_bound_whatever_policy_allows() {
    let host = Host::joined();
    let member = host.open().await.member().clone();
    let (data, facts) = (host.data(), host.facts.subscribe());
    let own = vec![PathBuf::from("policy.toml"), PathBuf::from("/etc/windlass")];
    let keeper = DocumentStore::open(Opened { data, member, facts, own }).await.unwrap();
    let here = std::env::current_dir().unwrap().join("policy.toml");
    let agent = host.folder.path().join("agent");
    let want =
        [here.as_path(), Path::new("/etc/windlass"), agent.as_path()].map(|path| path.to_str().unwrap());
    assert_eq!(keeper.mounts().own, want, "as absolute paths");
}

#[tokio::test]
async fn trust_file_is_written_only_for_a_newer_version() {
    let host = Host::joined();
    let keeper = host.open().await;
    let first = host.fleet.sign_trust(&host.fleet.document());
    std::fs::remove_file(host.data().trust()).unwrap();
    assert_eq!(keeper.take_trust(&[]).await.unwrap(), 0);
    assert_eq!(keeper.take_trust(&[first]).await.unwrap(), 0);
    assert!(!host.data().trust().exists());
    let error = DocumentStore::open(Opened {
        data: host.data(),
        member: keeper.member().clone(),
        facts: host.facts.subscribe(),
        own: Vec::new(),
    })
    .await
    .unwrap_err();
    assert!(matches!(error, OpenError::File(_)), "{error}");
    assert!(error.hint().unwrap().contains("join again"));
}

#[test]
fn a_journaled_plan_is_a_plan_and_the_one_that_was_journaled() {
    let fleet = Fleet::new();
    let plan = fleet.plan(3, &[Digest::of(b"r1")]);
    let envelope = fleet.sign_plan(&plan);
    let digest = fixture::digest_of(&envelope);
    assert_eq!(open::journaled_plan(&envelope, &digest), Some(plan.clone()));
    assert_eq!(open::journaled_plan(&envelope, &Digest::of(b"another")), None);
    let routes = fleet.sign(windlass_certs::dsse::PayloadType::Routes, &plan, &[&fleet.keys.dispatch]);
    assert_eq!(open::journaled_plan(&routes, &digest), None);
    assert_eq!(open::journaled_plan(&routes, &Digest::of(b"another")), None);
}

#[tokio::test]
async fn a_revocation_list_is_kept_and_only_a_newer_one_replaces_it() {
    use windlass_certs::dsse::PayloadType;
    use windlass_certs::revocation::{RevocationList, RevokedSet};
    let host = Host::joined();
    let list = |version| {
        let evicted = "spiffe://demo/coordinator/c1".parse().unwrap();
        let revoked = RevokedSet { identities: [(evicted, version)].into(), ..RevokedSet::default() };
        RevocationList { fleet: fixture::fleet(), version, issued_at: host.fleet.now, revoked }
    };
    let signed =
        |list: &RevocationList| host.fleet.sign(PayloadType::Revocation, list, &[&host.fleet.keys.root]);
    let keeper = host.open().await;
    assert_eq!(keeper.revocations_version(), 0);
    keeper.revoke(&signed(&list(4))).await.unwrap();
    let in_force = |keeper: &DocumentStore| (keeper.revocations_version(), keeper.revocations().current());
    let fourth = (4, Arc::new(list(4).revoked));
    assert_eq!(in_force(&keeper), fourth);
    // The same again is no attack; an older one is, and one of nobody's.
    keeper.revoke(&signed(&list(4))).await.unwrap();
    assert_eq!(keeper.counters().snapshot(), BTreeMap::new());
    keeper.revoke(&signed(&list(3))).await.unwrap();
    let forged = host.fleet.sign(PayloadType::Revocation, &list(5), &[&host.fleet.keys.dispatch]);
    keeper.revoke(&forged).await.unwrap();
    let elsewhere = RevocationList { fleet: "other".parse().unwrap(), ..list(5) };
    keeper.revoke(&signed(&elsewhere)).await.unwrap();
    let want =
        [RefusalCode::Stale, RefusalCode::UnknownKey, RefusalCode::WrongAudience].map(|code| (code, 1));
    assert_eq!(keeper.counters().snapshot(), want.into());
    assert_eq!(in_force(&keeper), fourth);
    // It outlives the agent, and in its place nothing else is taken for it.
    assert_eq!(in_force(&host.open().await), fourth);
    let mistaken = host.fleet.sign(PayloadType::Routes, &list(6), &[&host.fleet.keys.root]);
    for wrong in [mistaken, signed(&elsewhere), b"nonsense".to_vec()] {
        files::replace_secret(&host.data().revocations(), &wrong).unwrap();
        assert_eq!(in_force(&host.open().await), (0, Arc::default()));
    }
}

#[tokio::test]
async fn versions_of_the_trust_document_are_kept_for_an_ingress() {
    let host = Host::joined();
    let keeper = host.open().await;
    let version = |version| TrustDocument { version, ..host.fleet.document() };
    let chain = [2, 3].map(|number| host.fleet.sign_trust(&version(number)));
    let forged = host.fleet.sign(PayloadType::Trust, &version(4), &[&host.fleet.second]);
    keeper.take_trust(&chain).await.unwrap();
    assert_eq!(keeper.trust_after(1, 64).await, chain);
    assert_eq!(keeper.trust_after(2, 64).await, chain[1..]);
    assert_eq!(keeper.trust_after(0, 64).await, chain[1..], "whoever has none begins with the newest");
    assert_eq!(keeper.trust_after(1, 1).await, chain[..1]);
    assert!(keeper.trust_after(3, 64).await.is_empty());
    // A version that is not believed is not kept, whatever comes with it.
    let fourth = host.fleet.sign_trust(&version(4));
    keeper.take_trust(&[forged.clone(), fourth.clone()]).await.unwrap_err();
    keeper.take_trust(std::slice::from_ref(&fourth)).await.unwrap();
    drop(keeper);
    let keeper = host.open().await;
    assert_eq!(keeper.trust_after(1, 64).await, [&chain[..], &[fourth]].concat());
}

/// A thief of the revoke key of before has used its numbers up, and revoked every coordinator there may be.
#[tokio::test]
async fn a_new_epoch_lets_go_of_a_list_that_its_keys_did_not_sign() {
    use windlass_certs::dsse::PayloadType;
    use windlass_certs::revocation::{RevocationList, RevokedSet};
    use windlass_certs::trust::RoleKeys;
    let host = Host::joined();
    let one = |key: &windlass_certs::keys::SigningKey| RoleKeys { keys: vec![key.public()], threshold: 1 };
    let [stolen, honest] = [0; 2].map(|_| windlass_certs::keys::SigningKey::generate().unwrap());
    let version = |version, epoch, key| {
        let mut next = TrustDocument { version, epoch, ..host.fleet.document() };
        next.roles.revoke = Some(one(key));
        host.fleet.sign_trust(&next)
    };
    let list = |version, key| {
        let all = "spiffe://demo/coordinator/main".parse().unwrap();
        let revoked = RevokedSet { identities: [(all, u64::MAX)].into(), ..RevokedSet::default() };
        let list = RevocationList { fleet: fixture::fleet(), version, issued_at: host.fleet.now, revoked };
        host.fleet.sign(PayloadType::Revocation, &list, &[key])
    };
    let keeper = host.open().await;
    keeper.take_trust(&[version(2, 1, &stolen)]).await.unwrap();
    keeper.revoke(&list(u64::MAX, &stolen)).await.unwrap();
    assert_eq!(keeper.revocations_version(), 0, "no number is taken that leaves no later one");
    keeper.revoke(&list(1 << 48, &stolen)).await.unwrap();
    assert_eq!(keeper.revocations_version(), 1 << 48);
    // Another version of one epoch changes nothing: what was revoked stays revoked.
    keeper.take_trust(&[version(3, 1, &honest)]).await.unwrap();
    assert_eq!(keeper.revocations_version(), 1 << 48);
    keeper.take_trust(&[version(4, 2, &honest)]).await.unwrap();
    assert_eq!((keeper.revocations_version(), keeper.revocations().current()), (0, Arc::default()));
    drop(keeper);
    let keeper = host.open().await;
    assert_eq!(keeper.revocations_version(), 0, "also after a restart");
    keeper.revoke(&list(1, &honest)).await.unwrap();
    assert_eq!(keeper.revocations_version(), 1);
    // A list of the keys that still count goes on through the next epoch.
    keeper.take_trust(&[version(5, 3, &honest)]).await.unwrap();
    assert_eq!(keeper.revocations_version(), 1);
}

#[tokio::test]
async fn a_checkpoint_of_a_stolen_key_bars_no_later_one() {
    let mut host = Host::joined();
    let keeper = host.open().await;
    keeper.witness(&host.fleet.sign_checkpoint(u64::MAX, Digest::of(b"made up"))).await.unwrap();
    assert_eq!(keeper.witnessed(), None, "so many entries no log has at once");
    keeper.witness(&host.fleet.sign_checkpoint(1 << 48, Digest::of(b"made up"))).await.unwrap();
    keeper.witness(&host.fleet.sign_checkpoint(5, Digest::of(b"5"))).await.unwrap();
    assert_eq!(keeper.witnessed().unwrap().size, 1 << 48);
    let replaced = windlass_certs::keys::SigningKey::generate().unwrap();
    host.fleet.keys.audit = replaced;
    let next = TrustDocument { version: 2, ..host.fleet.document() };
    keeper.take_trust(&[host.fleet.sign_trust(&next)]).await.unwrap();
    keeper.witness(&host.fleet.sign_checkpoint(5, Digest::of(b"5"))).await.unwrap();
    assert_eq!(keeper.witnessed().unwrap().size, 5);
    let shown = keeper.checkpoint_envelope().unwrap();
    assert_eq!(shown, host.fleet.sign_checkpoint(5, Digest::of(b"5")));
}

#[tokio::test]
async fn large_documents_are_verified_beside_the_loop() {
    let host = Host::joined();
    let keeper = host.open().await;
    let large = vec![b' '; PayloadType::Plan.max_len()];
    let mut taken = std::pin::pin!(keeper.take_routes(&large));
    assert!(futures_util::poll!(taken.as_mut()).is_pending(), "the loop had to wait for the table");
    assert!(
        matches!(taken.await.unwrap(), routes::Taken::Refused(refusal) if refusal.code == RefusalCode::Malformed)
    );
    let mut offered = std::pin::pin!(keeper.offer(&large, &host.shelf));
    assert!(futures_util::poll!(offered.as_mut()).is_pending(), "the loop had to wait for the plan");
    offered.await.unwrap();
    assert_eq!(refused(&keeper), Some(RefusalCode::Malformed));
}
