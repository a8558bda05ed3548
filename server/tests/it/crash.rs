//! A coordinator that dies at any write: before it was stored, or after.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use windlass_server::store::memory::MemoryStore;
use windlass_server::store::{Entry, Revision, Store, StoreError, Transaction, Watch};

use crate::agent::{Agent, Players};
use crate::fleet::{Fleet, until};
use crate::release::release;
use crate::rollouts::{request, status};

/// A store whose n-th write fails, as a process that is killed there.
struct Mortal {
    inner: Arc<MemoryStore>,
    left: Arc<AtomicI64>,
    /// Whether the last write is stored.
    stored: bool,
}

impl Store for Mortal {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        self.inner.get(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        self.inner.list(prefix)
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        async move {
            if left > 1 {
                return self.inner.commit(transaction).await;
            }
            if left == 1 && self.stored {
                self.inner.commit(transaction).await?;
            }
            Err(StoreError::Failed("killed".into()))
        }
        .boxed()
    }

    fn watch(&self, prefix: &str) -> Watch {
        self.inner.watch(prefix)
    }
}

/// Deploys, dies at a write from the submission on, starts again, and must end well.
async fn die_at(write: i64, stored: bool) {
    let mut fleet = Fleet::start().await;
    fleet.stop().await;
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let inner = Arc::new(MemoryStore::new());
    fleet.replace_store(Mortal { inner, left: left.clone(), stored });
    fleet.run().await;
    let mut players = Players::default();
    for host in ["web-1", "web-2"] {
        players.add(&fleet, Agent::joined(&fleet, host).await).await;
        fleet.wait_for(host, "connected").await;
    }
    let mut control = fleet.control("deployer/default").await;

    left.store(write, Ordering::SeqCst);
    let submitted = control.submit_release(request(&fleet, &release(1, 2, "one"))).await;
    let ended = fleet.died().await;
    assert!(format!("{ended:#}").contains("killed"), "{ended:#}");
    left.store(i64::MAX, Ordering::SeqCst);
    let mut agents = Vec::new();
    for _ in 0..2 {
        agents.push(players.ended().await.0);
    }
    fleet.run().await;
    for agent in agents {
        players.add(&fleet, agent).await;
    }
    if submitted.is_err() {
        // The client asks again, as after any answer that was lost.
        let mut control = fleet.control("deployer/default").await;
        control.submit_release(request(&fleet, &release(1, 2, "one"))).await.unwrap();
    }
    until(&format!("all is well after a death at write {write} (stored: {stored})"), async || {
        let shown = status(&fleet).await;
        shown["healthy"] == 2 && shown["good"] == "r1" && shown["state"] == "steady"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_write_loses_nothing() {
    // The submission, the steps of the rollout, and observations that are copied in between: eight at least.
    let points = (1..8).flat_map(|write| [(write, false), (write, true)]);
    join_all(points.map(|(write, stored)| die_at(write, stored))).await;
}
