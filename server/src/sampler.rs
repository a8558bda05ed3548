//! The task that puts figures of hosts and services into their rings every 10 s, from what is known then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use windlass_core::fleet::Fleet as _;
use windlass_core::host::{HostStats, Liveness};
use windlass_core::observation::{Instance, InstanceState};
use windlass_core::{HostId, ServiceId, Timestamp};

use crate::coordinator::Coordinator;
use crate::history::{OfHost, OfService};
use crate::ledger::State;
use crate::registry::Registry;

/// Time between two figures.
const EVERY: Duration = Duration::from_secs(10);

/// Puts figures in until it is cancelled.
pub(crate) async fn run(coordinator: Arc<Coordinator>, cancel: CancellationToken) -> anyhow::Result<()> {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        sample(&coordinator, coordinator.ledger.now());
    }
}

/// Puts in how everybody does now, and forgets who has gone.
fn sample(coordinator: &Coordinator, now: Timestamp) {
    let (registry, history) = (&coordinator.registry, &coordinator.history);
    let fresh = registry.fresh_stats(now);
    let (hosts, services): (Vec<HostId>, Vec<ServiceId>) = coordinator.ledger.read(|state| {
        let members = state.hosts.values().filter(|record| record.is_member());
        (members.map(|record| record.name.clone()).collect(), state.services.keys().cloned().collect())
    });
    history.keep_only(&hosts, &services);
    for (host, stats) in fresh.iter().filter(|(host, _)| hosts.binary_search(host).is_ok()) {
        history.put_host(host.clone(), now, &of_host(stats));
    }
    // One at a time: a look at all of them at once would keep the writer waiting.
    for service in services {
        let figures = coordinator.ledger.read(|state| of_service(state, registry, &fresh, &service, now));
        history.put_service(service, now, &figures);
    }
}

/// The figures of a host.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a plot needs no 24 bits")]
fn of_host(stats: &HostStats) -> OfHost {
    let pressure = |of: fn(&windlass_core::host::Pressure) -> f64| {
        stats.pressure.as_ref().map_or(f32::NAN, |pressure| of(pressure) as f32)
    };
    let busy: Vec<f64> = stats.gpus.iter().filter_map(|gpu| gpu.readings.utilization).collect();
    let memory = stats.gpus.iter().fold(0.0, |sum, gpu| sum + gpu.memory_used as f32);
    [
        stats.cpu_percent as f32,
        stats.load[0] as f32,
        stats.memory_used as f32,
        stats.swap_used as f32,
        stats.disk_used as f32,
        stats.network_rx as f32,
        stats.network_tx as f32,
        pressure(|of| of.cpu.some),
        pressure(|of| of.memory.some),
        pressure(|of| of.io.some),
        (busy.iter().sum::<f64>() / busy.len() as f64) as f32, // no number without one
        if stats.gpus.is_empty() { f32::NAN } else { memory },
    ]
}

/// The figures of a service.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a plot needs no 24 bits")]
fn of_service(
    state: &State,
    registry: &Registry,
    fresh: &BTreeMap<HostId, Arc<HostStats>>,
    service: &ServiceId,
    now: Timestamp,
) -> OfService {
    let fleet = registry.around(state, service, now);
    let (mut cpu, mut throttled, mut memory) = (f32::NAN, f32::NAN, f32::NAN);
    let (mut healthy, mut restarts) = (0_u32, 0_u32);
    for (slot, assignment) in state.slots.get(service).into_iter().flatten() {
        let member = fleet.member(assignment.host()).filter(|member| member.liveness != Liveness::Lost);
        let seen = member.and_then(|member| member.observation.as_deref()?.slot(slot));
        let stats = fresh.get(assignment.host());
        for instance in seen.into_iter().flat_map(|seen| &seen.instances) {
            healthy += u32::from(instance.state == InstanceState::Healthy);
            restarts = restarts.saturating_add(instance.restarts);
            let is_it = |used: &&windlass_core::host::InstanceStats| used.instance == id(instance);
            let Some(used) = stats.and_then(|stats| stats.instances.iter().find(is_it)) else { continue };
            // A sum with what is no number would be none.
            cpu = cpu.max(0.0) + used.cpu_percent as f32;
            throttled = throttled.max(used.throttled_percent as f32);
            memory = memory.max(0.0) + used.memory_used as f32;
        }
    }
    [cpu, throttled, memory, healthy as f32, restarts as f32]
}

fn id(instance: &Instance) -> &str {
    &instance.id
}

#[cfg(test)]
mod tests {
    use windlass_core::host::{GpuReadings, GpuStats};
    use windlass_core::series::HOST;

    use super::*;

    #[test]
    fn figures_stand_in_the_order_of_their_columns() {
        let gpu = |utilization| {
            let readings = GpuReadings { utilization, ..GpuReadings::default() };
            GpuStats { readings, memory_used: 7, ..GpuStats::default() }
        };
        let stats = HostStats {
            cpu_percent: 12.0,
            load: [1.5, 0.0, 0.0],
            memory_used: 3,
            gpus: vec![gpu(Some(80.0)), gpu(Some(40.0)), gpu(None)],
            ..HostStats::default()
        };
        let figures = of_host(&stats);
        let figure = |name: &str| figures[HOST.columns.iter().position(|column| *column == name).unwrap()];
        assert_eq!((figure("cpu_percent"), figure("load1"), figure("memory_bytes")), (12.0, 1.5, 3.0));
        assert_eq!((figure("gpu_percent"), figure("gpu_memory_bytes")), (60.0, 21.0));
        assert!(figure("io_pressure_percent").is_nan(), "the kernel does not tell");
        assert!(of_host(&HostStats::default())[10].is_nan(), "there is no GPU");
    }
}
