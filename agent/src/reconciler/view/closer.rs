//! A closer look: which containers are made as their release says, and which images are held for a way back.

use std::collections::BTreeSet;

use windlass_core::Digest;
use windlass_core::reconcile::{Desired, Likeness, Memory, is_task};

use super::View;
use crate::runtime::{Runtime, RuntimeError, answer};

impl<R: Runtime> View<R> {
    /// Looks closer at what the journal does not know.
    pub(super) async fn compare(&mut self, desired: &Desired, memory: &Memory) -> Result<(), RuntimeError> {
        let known = memory.containers();
        let new = self.containers.iter().filter(|(id, _)| !known.contains(id.as_str()));
        let new = new.filter(|(_, seen)| !is_task(&seen.instance));
        for (id, seen) in new {
            let Some(release) = desired.releases.get(&seen.release) else { continue };
            if self.alike.contains_key(id) {
                continue;
            }
            match answer(self.runtime.is_made_as(id, release)).await {
                Ok(same) => {
                    let likeness = if same { Likeness::Same } else { Likeness::Other };
                    self.alike.insert(id.clone(), likeness);
                }
                Err(error) if error.is_unavailable() => return Err(error),
                Err(error) => tracing::warn!(container = id, %error, "a container cannot be compared"),
            }
        }
        self.hold(desired).await
    }

    /// Holds what may be started again, which includes what a slot would go back to.
    async fn hold(&mut self, desired: &Desired) -> Result<(), RuntimeError> {
        let needed = desired.releases.values().map(|release| release.release.spec.image.digest);
        let needed: BTreeSet<Digest> = needed.filter(|digest| self.images.contains_key(digest)).collect();
        if desired.plan.is_none() || needed == self.held {
            return Ok(());
        }
        match answer(self.runtime.hold(&needed)).await {
            Err(error) if error.is_unavailable() => return Err(error),
            Err(error) => tracing::warn!(%error, "images cannot be held"),
            Ok(()) => {}
        }
        self.held = needed; // what was refused is asked for again when the images are looked at
        Ok(())
    }
}
