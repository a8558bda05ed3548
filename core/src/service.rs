//! The record of a service: its releases, its count, and whether it is to run.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{Counter, HostId, RolloutId, ServiceId, SlotId};
use crate::release::Release;
use crate::slot::Slot;
use crate::time::Timestamp;
use crate::traffic::Split;

/// Good releases that are remembered per service.
pub const HISTORY: usize = 10;

/// A release, named in all the ways that are needed to speak of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ReleaseRef {
    /// Its number.
    pub counter: Counter,
    /// Digest of its payload.
    pub digest: Digest,
    /// Digest of its content, see [`Release::content_digest`].
    pub content: Digest,
}

impl ReleaseRef {
    /// Names `release`, whose payload has `digest`.
    pub fn of(release: &Release, digest: Digest) -> Self {
        Self { counter: release.counter, digest, content: release.content_digest() }
    }
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its identity.
    pub id: ServiceId,
    /// The last counter that was used.
    pub last_counter: u64,
    /// The release its slots are at or move to; `None` before the first rollout.
    pub current: Option<ReleaseRef>,
    /// Releases whose rollout succeeded, the newest first, at most [`HISTORY`], each once.
    pub good: Vec<ReleaseRef>,
    /// Releases that a person rolled back from, by content.
    pub held: Vec<Digest>,
    /// Contents that failed and that a person lets start again with their next rollout.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub cleared: BTreeSet<Digest>,
    /// The number of instances, if it is replicated.
    pub replicas: u32,
    /// Index of the next new slot.
    pub next_index: u32,
    /// The rollout that moves it now.
    pub rollout: Option<RolloutId>,
    /// Whether it is to run.
    #[serde(default)]
    pub mode: Mode,
    /// Restarts so far: the generation of the newest. It only rises.
    #[serde(default)]
    pub generation: u64,
    /// Hosts that have not said yet that nothing of it is left there, once it is removed.
    #[serde(default)]
    pub leaving: BTreeSet<HostId>,
    /// Slots that were given up with an evicted host that has their named volume. Elsewhere they would begin with an
    /// empty one, so they are made again only when a person deploys, rolls back or scales.
    #[serde(default)]
    pub given_up: u32,
    /// The shares of two releases, while a strategy moves its traffic or keeps the old one warm; one pool if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// The watch over the release that it is at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
}

/// The watch over a release whose rollout has succeeded: until it ends, a trigger brings the release before back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The release that is watched.
    pub release: ReleaseRef,
    /// The release before.
    pub from: ReleaseRef,
    /// Since when its requests and exits count: the beginning of its rollout.
    pub since: Timestamp,
    /// When the watch ends.
    pub until: Timestamp,
    /// Restarts of its instances that do not count, by instance.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts_before: BTreeMap<String, u32>,
    /// Errors of their GPUs that do not count, by instance.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gpu_errors_before: BTreeMap<String, u32>,
    /// The watch over its single instances; `None` if it began under a coordinator that did not watch them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<InstanceWatch>,
}

/// The watch over the single instances of a release that has succeeded: by `restarts` and `unhealthy_for`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceWatch {
    /// When the release succeeded.
    pub since: Timestamp,
    /// Restarts that do not count, by slot and instance: those before that, and those at a time that nobody knows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts_before: BTreeMap<SlotId, BTreeMap<String, u32>>,
    /// Slots that were not heard of then, nor since.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unheard: BTreeSet<SlotId>,
    /// Slots whose instance is unready.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unready: BTreeMap<SlotId, Unready>,
}

impl InstanceWatch {
    /// One that begins at `since`.
    pub const fn new(since: Timestamp) -> Self {
        Self { since, restarts_before: BTreeMap::new(), unheard: BTreeSet::new(), unready: BTreeMap::new() }
    }
}

/// An instance that is unready and was ready before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unready {
    /// Which.
    pub instance: String,
    /// Since when, by its host's clock.
    pub since: Timestamp,
    /// Since when the coordinator hears so without a break.
    pub heard_since: Timestamp,
}

/// Whether a service is to run. Set by a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Yes.
    #[default]
    Running,
    /// Not now: its slots stand still, with their ports and images.
    Stopped,
    /// Never again. The record stays, so that its counter never stands for other content.
    Removed,
}

impl Service {
    /// A service that has nothing yet.
    pub fn new(id: ServiceId) -> Self {
        Self {
            id,
            last_counter: 0,
            current: None,
            good: Vec::new(),
            held: Vec::new(),
            cleared: BTreeSet::new(),
            replicas: 0,
            next_index: 0,
            rollout: None,
            mode: Mode::Running,
            generation: 0,
            leaving: BTreeSet::new(),
            given_up: 0,
            split: None,
            watch: None,
        }
    }

    /// The last good release, what a failed rollout goes back to.
    pub fn last_good(&self) -> Option<ReleaseRef> {
        self.good.first().copied()
    }

    /// The last good release that is not the current one and that nobody rolled back from: where
    /// `rollback` goes unless told. So two rollbacks in a row go two releases back.
    pub fn rollback_target(&self) -> Option<ReleaseRef> {
        let current = self.current.map(|current| current.digest);
        let wanted = |good: &&ReleaseRef| Some(good.digest) != current && !self.held.contains(&good.content);
        self.good.iter().find(wanted).copied()
    }

    /// Returns whether a rollout to `release` would change nothing: its content is here and good, nothing moves the
    /// service, and no slot waits for a person to be made again.
    pub fn is_at(&self, release: &ReleaseRef) -> bool {
        let current = self.current.filter(|current| current.content == release.content);
        let settled = self.rollout.is_none() && self.last_good() == current;
        current.is_some() && settled && self.mode == Mode::Running && self.given_up == 0
    }

    /// Returns whether it is removed, and every host has said that nothing of it is left.
    pub fn is_gone(&self, slots: Option<&Slots>) -> bool {
        self.mode == Mode::Removed && self.leaving.is_empty() && slots.is_none_or(Slots::is_empty)
    }

    /// Notes that the rollout of `release` succeeded.
    pub fn mark_good(&mut self, release: ReleaseRef) {
        self.good.retain(|good| good.digest != release.digest);
        self.good.insert(0, release);
        self.good.truncate(HISTORY);
    }

    /// The number of instances of `release`: the service's count, clamped to the release's range.
    pub fn replicas_for(&self, release: &Release) -> Option<u32> {
        release.spec.scale.clamp(self.replicas)
    }
}

/// The slots of one service.
pub type Slots = BTreeMap<SlotId, Slot>;

/// Releases by digest of their payload: every one that a slot or rollout names.
pub type Releases = BTreeMap<Digest, Release>;

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(counter: u64) -> ReleaseRef {
        let digest = Digest::of(&counter.to_be_bytes());
        ReleaseRef { counter: Counter(counter), digest, content: digest }
    }

    #[test]
    fn second_rollback_goes_further_back_past_the_release_left() {
        let mut service = Service::new("production/web".parse().unwrap());
        for counter in 1..=3 {
            service.mark_good(reference(counter));
        }
        service.current = Some(reference(3));
        assert_eq!(service.rollback_target(), Some(reference(2)));
        service.held.push(reference(3).content);
        service.mark_good(reference(2));
        service.current = Some(reference(2));
        assert_eq!(service.rollback_target(), Some(reference(1)));
        service.held.push(reference(2).content);
        service.mark_good(reference(1));
        service.current = Some(reference(1));
        assert_eq!(service.rollback_target(), None);
    }
}
