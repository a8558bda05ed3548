//! The lines that a log request asks for, read once and bounded.

use std::collections::BTreeMap;

use windlass_core::observation::{Instance, Observation};
use windlass_core::{Counter, ServiceId, Timestamp};
use windlass_process::merge::Position;
use windlass_proto::limits::MAX_LOG_TAIL;
use windlass_proto::pb;

/// Instances that one request may read at a time.
const MAX_INSTANCES: usize = 64;

/// Which lines of which containers.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) service: Option<ServiceId>,
    instances: Vec<String>,
    release: Option<Counter>,
    /// Last lines of each; all that are kept if absent.
    pub(super) tail: Option<u32>,
    pub(super) follow: bool,
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    pub(super) previous: bool,
    /// Positions up to which instances were read.
    pub(super) after: BTreeMap<String, Position>,
}

/// A container to be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) instance: String,
    pub(super) container: String,
}

impl Wanted {
    /// Reads a request; the error is for the person who asked.
    pub(super) fn read(request: &pb::LogRequest) -> Result<Self, String> {
        let release = match request.release.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| format!("`{}` is no release", text.escape_debug()))?),
        };
        let after = request.after.iter().take(4 * MAX_INSTANCES);
        Ok(Self {
            service: request.service.parse().ok(),
            instances: request.instances.iter().take(MAX_INSTANCES).cloned().collect(),
            release,
            tail: (!request.all).then(|| request.tail.min(MAX_LOG_TAIL)),
            follow: request.follow && !request.previous,
            since: request.since.map(Timestamp::from_millis),
            until: request.until.map(Timestamp::from_millis),
            previous: request.previous,
            after: after
                .map(|after| (after.instance.clone(), Position { nanos: after.nanos, older: after.older }))
                .collect(),
        })
    }

    /// Returns whether only some instances are meant.
    pub(super) fn names_instances(&self) -> bool {
        !self.instances.is_empty()
    }

    /// Returns whether only instances of one release are meant.
    pub(super) fn names_release(&self) -> bool {
        self.release.is_some()
    }

    /// The containers that are meant, of those there are.
    pub(super) fn targets(&self, seen: &Observation) -> Vec<Target> {
        let is_meant = |instance: &&Instance| {
            (self.instances.is_empty() || self.instances.contains(&instance.id))
                && self.release.is_none_or(|release| instance.counter == release)
        };
        seen.slots
            .iter()
            .filter(|slot| self.service.as_ref() == Some(&slot.slot.service))
            .flat_map(|slot| &slot.instances)
            .filter(is_meant)
            .filter_map(|instance| {
                Some(Target { instance: instance.id.clone(), container: instance.container.clone()? })
            })
            .take(MAX_INSTANCES)
            .collect()
    }
}
