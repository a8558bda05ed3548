//! Whether there is a GPU that a gate or a trigger can look at.

use crate::manifest::model::{Gpus, Manifest};

pub(super) const NONE: &str = "looks at GPUs, and the service has none";
pub(super) const HINT: &str = "`resources: { gpus: 1 }`";

pub(super) fn has(manifest: &Manifest) -> bool {
    manifest.resources.gpus.is_some_and(|gpus| match gpus {
        Gpus::Count(count) => count > 0,
        Gpus::Shared(shared) => shared.count > 0,
    })
}
