//! Looking at the engine: at what changed, and at everything now and then.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::events::ready;
use super::{SETTLE, View};
use crate::runtime::{Runtime, RuntimeError, answer};
use crate::stats::disk;

/// Containers that are inspected at a time.
const INSPECTED: usize = 8;
/// Time until the engine is asked again for a container over which it hung.
const STUCK: Duration = Duration::from_secs(60);
/// Images change rarely behind our back.
const IMAGES: Duration = Duration::from_secs(60);

impl<R: Runtime> View<R> {
    pub(super) async fn look(&mut self) -> Result<(), RuntimeError> {
        while let Some(event) = ready(&mut self.events) {
            self.note(event);
        }
        if Instant::now() >= self.resync_at {
            self.look_at_everything().await?;
        }
        self.look_closer().await
    }

    /// Inspects what changed, all at once.
    async fn look_closer(&mut self) -> Result<(), RuntimeError> {
        let now = Instant::now();
        self.stuck.retain(|id, again_at| self.dirty.contains(id) && *again_at > now);
        let due: Vec<String> =
            self.dirty.iter().filter(|id| !self.stuck.contains_key(*id)).cloned().collect();
        let runtime = &self.runtime;
        let looks = due.into_iter().map(|id| async move {
            let seen = answer(runtime.inspect(&id)).await;
            (id, seen)
        });
        let looks: Vec<_> = stream::iter(looks).buffer_unordered(INSPECTED).collect().await;
        let mut away = Vec::new();
        for (id, seen) in looks {
            match seen {
                Ok(seen) => {
                    self.dirty.remove(&id);
                    self.put(id, seen);
                }
                Err(error) if error.is_unavailable() => away.push((id, error)),
                Err(error) => {
                    self.dirty.remove(&id);
                    tracing::warn!(container = id, %error, "a container cannot be inspected");
                }
            }
        }
        if away.is_empty() {
            return Ok(());
        }
        // An engine may hang over one container (a volume on a dead mount) and answer for all others. What is known of
        // that one stands; if nothing is, nothing can be decided.
        answer(self.runtime.list()).await?;
        for (id, error) in away {
            if !self.containers.contains_key(&id) {
                return Err(error);
            }
            tracing::warn!(container = id, %error, "a container cannot be inspected; the others can");
            self.stuck.insert(id, Instant::now() + STUCK);
        }
        Ok(())
    }

    async fn look_at_everything(&mut self) -> Result<(), RuntimeError> {
        let reopened = self.events.is_none();
        if self.info.is_none() {
            let info = answer(self.runtime.info()).await?;
            self.capacity.gpu_access = info.gpu_access.clone();
            disk::found_at(&info.data_root);
            self.info = Some(info);
        }
        let listed = answer(self.runtime.list()).await?;
        let here: BTreeSet<&String> = listed.iter().map(|seen| &seen.id).collect();
        let gone: Vec<String> = self.containers.keys().filter(|id| !here.contains(id)).cloned().collect();
        gone.into_iter().for_each(|id| self.put(id, None));
        for seen in listed {
            let same =
                self.words.get(&seen.id) == Some(&seen.state) && self.containers.contains_key(&seen.id);
            if !same || reopened {
                self.dirty.insert(seen.id.clone());
            }
            self.words.insert(seen.id, seen.state);
        }
        if reopened || Instant::now() >= self.images_at {
            match self.runtime.images().await {
                Ok(images) => {
                    self.images = images;
                    self.held.clear(); // somebody may have taken our hold away
                }
                Err(error) if self.images.is_empty() => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "the images cannot be listed; what is known of them stands")
                }
            }
            self.images_at = Instant::now() + IMAGES;
        }
        self.measure();
        self.resync_at = Instant::now() + self.resync;
        if reopened {
            self.events = Some(self.runtime.events());
            self.resync_at = Instant::now() + SETTLE;
        }
        Ok(())
    }
}
