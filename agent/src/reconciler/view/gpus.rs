//! The GPUs of the host, as decisions see them.

use std::sync::Arc;

use tokio::sync::watch;
use windlass_core::condition::Condition;
use windlass_core::host::Gpu;
use windlass_core::reconcile::Container;
use windlass_core::reconcile::room::Capacity;

use super::Options;
use crate::gpu::{self, strangers::Strangers};

/// What is seen of them.
pub(super) struct Gpus {
    seen: watch::Receiver<gpu::Shared>,
    /// What the last decision knew.
    decided: gpu::Shared,
    strangers: Strangers,
    /// Where it is published what strangers hold.
    held: watch::Sender<Arc<gpu::Held>>,
}

impl Gpus {
    pub(super) fn new(options: &Options) -> Self {
        let (seen, held) = (options.gpus.clone(), options.strangers.clone());
        Self { seen, decided: gpu::Shared::default(), strangers: Strangers::default(), held }
    }

    /// Waits until they are others than those that were decided by. How they do changes all the time, and wakes nobody.
    /// Cancel-safe.
    pub(super) async fn changed(&mut self) {
        let decided = &self.decided;
        let differs =
            |seen: &gpu::Shared| !seen.decides_as(decided) || (decided.at.is_none() && seen.at.is_some());
        if self.seen.wait_for(differs).await.is_err() {
            std::future::pending::<()>().await; // the probe has gone, and the agent with it
        }
    }

    /// A container is seen to be another than before.
    pub(super) fn note(&mut self, before: Option<&Container>, now: Option<&Container>) {
        let had = before.is_some_and(|seen| seen.state.is_up() && !seen.gpus.is_empty());
        if had && !now.is_some_and(|seen| seen.state.is_up()) {
            self.strangers.freed();
        }
    }

    /// Writes down what there is for the next decision. `containers` are ours.
    pub(super) fn measure<'a>(
        &mut self,
        containers: impl Iterator<Item = &'a Container> + Clone,
        capacity: &mut Capacity,
    ) {
        let seen = self.seen.borrow_and_update().clone();
        if self.strangers.look(&seen, containers) {
            self.held.send_replace(Arc::new(self.strangers.held().clone()));
        }
        let held = self.strangers.held();
        let known = seen.gpus.iter().map(|gpu| {
            let strangers = held.get(&gpu.uuid).copied().unwrap_or(0);
            (gpu.uuid.clone(), Gpu { strangers, ..gpu.clone() })
        });
        capacity.gpus = known.collect();
        // What was known before an agent that began again has asked may not be so any more.
        let unasked = (seen.at.is_none() && !seen.gpus.is_empty()).then(|| "not asked yet".to_owned());
        capacity.gpus_silent = seen.silent.as_ref().map(|silent| silent.why.clone()).or(unasked);
        self.decided = seen;
    }

    /// What a person has to know of them.
    pub(super) fn conditions(&self) -> Vec<Condition> {
        self.decided.conditions.clone()
    }
}
