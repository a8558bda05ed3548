//! The GPUs of the host, as decisions see them.

use std::sync::Arc;

use tokio::sync::watch;
use windlass_core::Timestamp;
use windlass_core::condition::{Condition, ConditionCode};
use windlass_core::host::Gpu;
use windlass_core::reconcile::room::Capacity;
use windlass_core::reconcile::{Container, is_task};

use super::Options;
use crate::gpu::faults::{self, Faults};
use crate::gpu::{self, strangers::Strangers};

/// The GPUs as the agent sees them.
pub(super) struct Gpus {
    seen: watch::Receiver<gpu::Shared>,
    /// The GPUs that the last decision knew.
    decided: gpu::Shared,
    strangers: Strangers,
    faults: Faults,
    /// Publishes the memory that strangers hold.
    held: watch::Sender<Arc<gpu::Held>>,
    /// Publishes the memory that our containers use.
    used: watch::Sender<Arc<gpu::Use>>,
}

impl Gpus {
    pub(super) fn new(options: &Options) -> Self {
        let (seen, held) = (options.gpus.clone(), options.strangers.clone());
        let used = options.gpu_use.clone();
        Self {
            seen,
            decided: gpu::Shared::default(),
            strangers: Strangers::default(),
            faults: Faults::default(),
            held,
            used,
        }
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
        now: Timestamp,
    ) {
        let seen = self.seen.borrow_and_update().clone();
        self.faults.look(&seen, containers.clone(), now);
        if self.strangers.look(&seen, containers) {
            self.held.send_replace(Arc::new(self.strangers.held().clone()));
        }
        if **self.used.borrow() != *self.strangers.used() {
            self.used.send_replace(Arc::new(self.strangers.used().clone()));
        }
        let held = self.strangers.held();
        let known = seen.gpus.iter().map(|gpu| {
            let strangers = held.get(&gpu.uuid).copied().unwrap_or(0);
            (gpu.uuid.clone(), Gpu { strangers, ..gpu.clone() })
        });
        capacity.gpus = known.collect();
        // Knowledge from before a restart of the agent may be out of date until it has asked.
        let unasked = (seen.at.is_none() && !seen.gpus.is_empty()).then(|| "not asked yet".to_owned());
        capacity.gpus_silent = seen.silent.as_ref().map(|silent| silent.why.clone()).or(unasked);
        self.decided = seen;
    }

    /// Errors that the containers which hold them have seen.
    pub(super) const fn errors(&self) -> &faults::Counted {
        self.faults.counted()
    }

    /// Conditions of the GPUs, and of slots that run on one that is lost, for people.
    pub(super) fn conditions<'a>(&self, containers: impl Iterator<Item = &'a Container>) -> Vec<Condition> {
        let up = containers.filter(|seen| seen.state.is_up() && !is_task(&seen.instance));
        let of_slots = up.flat_map(|seen| {
            let lost =
                self.decided.lost.iter().filter(|lost| seen.gpus.iter().any(|gpu| gpu.uuid == lost.uuid));
            lost.map(|lost| {
                let message = format!(
                    "its GPU {} is lost ({}); it gets another one when one of this host is free",
                    lost.uuid, lost.why
                );
                let found = Condition::of_device(ConditionCode::GpuLost, &lost.uuid, message);
                Condition { slot: Some(seen.slot.clone()), ..found }
            })
        });
        self.decided.conditions.iter().cloned().chain(of_slots).collect()
    }
}
