use std::time::Duration;

use windlass_certs::dsse::PayloadType;
use windlass_certs::trust::TrustStore;
use windlass_core::audit::verify;
use windlass_testkit::keys::{Keys, seal};

use super::*;
use crate::audit;
use crate::store::memory::MemoryStore;

pub(crate) fn state() -> State {
    let keys = Keys::generate();
    let document = keys.document(Clock::system().now());
    let envelope = seal(PayloadType::Trust, &document, &[&keys.root]);
    TrustStore::pinned(&document.fleet, envelope.digest(), &envelope.to_bytes()).map(State::new).unwrap()
}

struct Running {
    ledger: Ledger,
    stop: CancellationToken,
    writer: tokio::task::JoinSet<anyhow::Result<()>>,
}

async fn run(store: &Arc<dyn Store>, state: State) -> Running {
    let (ledger, writer) = Ledger::open(store.clone(), state, Clock::system()).await.unwrap();
    let (stop, mut set) = (CancellationToken::new(), tokio::task::JoinSet::new());
    set.spawn(writer.run(stop.clone()));
    Running { ledger, stop, writer: set }
}

fn note(batch: &mut WriteBatch<'_>, text: &str) {
    batch.audit(audit::ok("test", "test", &text));
    batch.event("test", text, "happened");
}

#[tokio::test]
async fn what_was_written_is_in_memory_in_the_store_and_in_the_chain() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let first = state();
    let trust = first.trust.clone();
    let mut running = run(&store, first).await;
    for n in 0..150 {
        running.ledger.write(move |batch| note(batch, &n.to_string())).await.unwrap();
    }
    running.stop.cancel();
    running.writer.join_next().await.unwrap().unwrap().unwrap();
    let again = run(&store, State::new(trust)).await;
    let (head, events) = again.ledger.read(|state| (state.head, state.events.len()));
    assert_eq!((head.size, events), (150, 150));
    let mut entries = Vec::new();
    for page in 0..2 {
        entries.extend(again.ledger.audit_page(page).await.unwrap().into_iter().map(|(_, bytes)| bytes));
    }
    assert_eq!(entries.len(), 150);
    assert!(verify(&entries, &[]).is_sound());
}

#[tokio::test]
async fn second_writer_on_a_store_is_refused_at_its_first_write() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let first = state();
    let trust = first.trust.clone();
    let one = run(&store, first).await;
    let mut two = run(&store, State::new(trust)).await;
    one.ledger.write(|batch| note(batch, "one")).await.unwrap();
    let lost = two.ledger.write(|batch| note(batch, "two")).await;
    assert_eq!(lost, Err(WriteError::Stopping));
    let ended = two.writer.join_next().await.unwrap().unwrap().unwrap_err();
    assert!(ended.to_string().contains("changed by somebody else"), "{ended}");
    one.ledger.write(|batch| note(batch, "three")).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_memory_and_store_together() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let running = run(&store, state()).await;
    for n in 0..20 {
        // Polled once, then dropped, as a handler is whose client hangs up.
        let write = running.ledger.write(move |batch| note(batch, &n.to_string()));
        drop(tokio::time::timeout(Duration::ZERO, write).await);
    }
    running.ledger.write(|_| ()).await.unwrap();
    let (size, next) = running.ledger.read(|state| (state.head.size, state.next_event));
    assert_eq!(store.list(keys::EVENT).await.unwrap().len() as u64, next);
    assert_eq!(store.list(keys::AUDIT).await.unwrap().len() as u64, size);
}

#[tokio::test]
async fn old_events_are_forgotten_in_memory_and_in_the_store() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let running = run(&store, state()).await;
    for _ in 0..3 {
        running
            .ledger
            .write(|batch| (0..1000).for_each(|n| batch.event("test", n.to_string(), "happened")))
            .await
            .unwrap();
    }
    assert_eq!(running.ledger.read(|state| state.events.len() as u64), state::EVENTS_KEPT);
    assert_eq!(store.list(keys::EVENT).await.unwrap().len() as u64, state::EVENTS_KEPT);
}

#[tokio::test]
async fn the_store_of_another_fleet_is_refused() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(run(&store, state()).await);
    let mut other = state();
    other.fleet = "other".parse().unwrap();
    let error = Ledger::open(store, other, Clock::system()).await.err().unwrap();
    assert!(matches!(error, LoadError::OtherFleet { .. }), "{error:?}");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn refusals_without_end_do_not_grow_the_log_without_end() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let running = run(&store, state()).await;
    for n in 0..500 {
        let refuse = move |batch: &mut WriteBatch<'_>| {
            batch.audit(audit::fact(
                "operator/bob",
                "release.submit",
                &format!("web {n}"),
                None,
                "refused: no",
            ));
        };
        running.ledger.write(refuse).await.unwrap();
    }
    let size = running.ledger.read(|state| state.head.size);
    assert!((32..40).contains(&size), "{size}");
    running.ledger.write(|batch| note(batch, "done")).await.unwrap();
    assert_eq!(running.ledger.read(|state| state.head.size), size + 1);
}
