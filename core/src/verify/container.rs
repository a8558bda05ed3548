//! Options of a container.

use super::malformed::{ensure, malformed};
use crate::observation::Refusal;
use crate::release::{ContainerOptions, MAX_LABELS, MAX_ULIMITS, ULIMITS, is_container_label, is_signal};

pub(super) fn check(options: &ContainerOptions) -> Result<(), Refusal> {
    ensure(options.ulimits.len() <= MAX_ULIMITS, "`container.ulimits` has more than 32 entries")?;
    for (name, limit) in &options.ulimits {
        if !ULIMITS.contains(&name.as_str()) || !limit.is_sound() {
            let name: String = name.chars().take(32).collect();
            return Err(malformed(format!(
                "`container.ulimits.{name}` is no limit that a container may have"
            )));
        }
    }
    let shm = options.shm_size.is_none_or(|size| size.bytes() > 0 && i64::try_from(size.bytes()).is_ok());
    ensure(shm, "`container.shm_size` is out of range")?;
    ensure(options.stop_signal.as_deref().is_none_or(is_signal), "`container.stop_signal` is no signal")?;
    ensure(options.labels.len() <= MAX_LABELS, "`container.labels` has more than 64 entries")?;
    let sound = options.labels.iter().all(|(key, value)| is_container_label(key, value));
    ensure(sound, "`container.labels` has one that may not stand on a container")
}
