//! GPUs of the hooks that run before anything of a release starts: a hook has them alone, beside what serves.

use crate::capacity::{GpuTaken, Taken, device_fits};
use crate::fleet::FleetView;
use crate::host::Gpu;
use crate::id::HostId;
use crate::release::{HookHosts, Release, Stage};
use crate::service::{Releases, Slots};

/// A warning for each host on which such a hook would find too few free GPUs. `hosts` get an instance, in the order of its slot;
/// `slots` are those of the service now.
pub(super) fn without_gpus(
    hosts: &[&HostId],
    slots: &Slots,
    releases: &Releases,
    fleet: &FleetView,
    release: &Release,
) -> Vec<String> {
    let mut warnings = Vec::new();
    for hook in release.spec.hooks.of(Stage::Before) {
        let Some(needed) = hook.gpus.filter(|needed| *needed > 0) else { continue };
        let count = if hook.on == HookHosts::Lowest { 1 } else { hosts.len() };
        for host in hosts.iter().copied().take(count) {
            let (free, all) = free(host, slots, releases, fleet);
            if free < needed as usize {
                warnings.push(format!(
                    "hook {} needs {needed} GPUs of {host} alone, and {free} of {all} are free: it would be refused",
                    hook.name
                ));
            }
        }
    }
    warnings.dedup();
    warnings
}

/// The devices of a host that nothing has, and all of them.
fn free(host: &HostId, slots: &Slots, releases: &Releases, fleet: &FleetView) -> (usize, usize) {
    let Some(member) = fleet.members.get(host) else { return (0, 0) };
    let mut taken: Taken = member.taken.clone();
    slots.values().filter(|slot| slot.host() == host).for_each(|slot| taken.add(slot, releases));
    let reserve = member.facts.policy.gpu_reserve.bytes();
    let is_free = |gpu: &&Gpu| {
        let fits = device_fits(gpu, None, GpuTaken::Exclusively, reserve).is_ok();
        gpu.health.is_given() && !taken.gpus.contains_key(&gpu.uuid) && fits
    };
    (member.facts.gpus.iter().filter(is_free).count(), member.facts.gpus.len())
}
