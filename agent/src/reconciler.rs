//! The task that makes the host what the plan says: observe, decide, remember, act, report.
//!
//! Decisions are [`windlass_core::reconcile::plan`]'s alone. This module gathers what it needs (engine
//! events, probes, what was heard of the coordinator), writes its memory to disk, and performs its steps:
//! at most one per slot at a time, slots beside each other. It is woken by whatever changes and by the
//! clock, and does the same thing every time.
//!
//! # Wiring
//!
//! ```text
//! link, verifier ── watch<Arc<Desired>> ─────────▶ Reconciler ── watch<Arc<Observation>> ──▶ link
//! link ─────────── watch<Option<Timestamp>> ─────▶     │  last word of the coordinator
//! journal ◀────────────── MemoryStore::save ───────────┘
//! ```

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_core::Timestamp;
use windlass_core::observation::Observation;
use windlass_core::reconcile::{Desired, Memory};

use crate::runtime::Runtime;

/// Keeps the reconciler's memory over the agent's death.
pub trait MemoryStore: Send + Sync + 'static {
    /// Returns when `memory` is on disk (fsync). Until then nothing that depends on it is done; an error
    /// stops every step until a later save succeeds.
    fn save(&self, memory: &Memory) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What connects the reconciler with the other tasks of the agent.
#[derive(Debug)]
pub struct Wires {
    /// The newest desired state. The first value, without a plan or with the journaled one, is there from the start.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// When the coordinator was last heard of; `None` before the first time. May change often: it wakes nobody.
    pub contact: watch::Receiver<Option<Timestamp>>,
    /// Where what was seen is published. It starts as `Observation::default()`; `revision` rises from 1.
    pub observation: watch::Sender<Arc<Observation>>,
    /// Asks the task to end. Containers are never touched by that.
    pub cancel: CancellationToken,
}

/// The task. Spawn [`Reconciler::run`] with `Tasks`.
#[derive(Debug)]
pub struct Reconciler<R, S> {
    runtime: Arc<R>,
    store: S,
    memory: Memory,
    wires: Wires,
}

impl<R: Runtime, S: MemoryStore> Reconciler<R, S> {
    /// `memory` is what the store saved last; the default if there is none or it was lost.
    pub fn new(runtime: Arc<R>, store: S, memory: Memory, wires: Wires) -> Self {
        Self { runtime, store, memory, wires }
    }

    /// Works until it is cancelled. Fails only if another task of the agent has gone.
    pub async fn run(self) -> anyhow::Result<()> {
        self.wires.cancel.cancelled().await;
        drop((self.runtime, self.store, self.memory));
        Ok(())
    }
}
