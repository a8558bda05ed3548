//! Statistics on their way to the coordinator: the newest measurement, cut to what a message may have.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use windlass_core::host::HostStats;
use windlass_proto::json;
use windlass_proto::limits::{MAX_STATS_IN_HEARTBEAT, MAX_STATS_REPORT};

/// The newest measurement for a report; `None` if nothing was measured yet.
pub(super) fn report(stats: &watch::Receiver<Arc<HostStats>>) -> Option<Bytes> {
    let stats = stats.borrow().clone();
    stats.at.is_some().then(|| fitting(&stats, MAX_STATS_REPORT))
}

/// The newest measurement for a heartbeat. Nothing was measured yet, or the measuring task is stuck: life goes on.
pub(super) fn in_heartbeat(stats: &watch::Receiver<Arc<HostStats>>) -> Bytes {
    let stats = stats.borrow().clone();
    if stats.at.is_some() { fitting(&stats, MAX_STATS_IN_HEARTBEAT) } else { Bytes::new() }
}

/// The JSON, without as many of the containers at its end as make it too long.
fn fitting(stats: &HostStats, most: usize) -> Bytes {
    let whole = json::encode(stats);
    if whole.len() <= most {
        return whole;
    }
    let mut fewer = stats.clone();
    loop {
        let kept = fewer.instances.len() / 2;
        fewer.left_out =
            fewer.left_out.saturating_add(u32::try_from(fewer.instances.len() - kept).unwrap_or(u32::MAX));
        fewer.instances.truncate(kept);
        let shorter = json::encode(&fewer);
        if shorter.len() <= most || kept == 0 {
            return shorter;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use windlass_core::Timestamp;
    use windlass_core::host::{
        CpuModes, DiskStats, HostCounters, InstanceCounters, InstanceStats, Pressure, ProbeStats, Stall,
    };

    use super::*;

    #[test]
    fn a_host_of_many_containers_says_what_it_left_out() {
        let instance = |n: usize| InstanceStats { instance: format!("web.{n}"), ..InstanceStats::default() };
        let stats = HostStats {
            at: Some(Timestamp::ZERO),
            instances: (0..2048).map(instance).collect(),
            ..HostStats::default()
        };
        let whole = fitting(&stats, MAX_STATS_REPORT);
        assert_eq!(
            serde_json::from_slice::<HostStats>(&whole).unwrap(),
            stats,
            "a full report has room for all"
        );
        let cut = fitting(&stats, MAX_STATS_IN_HEARTBEAT);
        assert!(cut.len() <= MAX_STATS_IN_HEARTBEAT, "{}", cut.len());
        let cut: HostStats = serde_json::from_slice(&cut).unwrap();
        assert!(!cut.instances.is_empty());
        assert_eq!(cut.instances.len() + usize::try_from(cut.left_out).unwrap(), 2048);
    }

    /// A host with containers that work, at its `look`-th measurement.
    fn measured(containers: u32, look: u32) -> HostStats {
        let number =
            |seed: u32, most: f64| f64::from((seed * 7919 + look * 104_729) % 99_991) / 99_991.0 * most;
        let bytes = |seed: u32| u64::from(seed * 7919 + look * 104_729) * 4096;
        let instance = |n: u32| InstanceStats {
            instance: format!("production.web.{n}.r12.3"),
            cpu_percent: number(n, 40.0),
            memory_used: bytes(n),
            memory_limit: 256 << 20,
            pids: 12,
            pids_limit: 256,
            probe: Some(ProbeStats {
                ok: true,
                seconds: number(n, 0.01),
                answers: u64::from(500 + look),
                failures: 0,
            }),
            counters: InstanceCounters {
                cpu_seconds: number(n, 10_000.0),
                network_rx_bytes: bytes(n + 100),
                network_tx_bytes: bytes(n + 200),
                block_read_bytes: 12_345_678,
                block_written_bytes: bytes(n + 300),
                ..InstanceCounters::default()
            },
            ..InstanceStats::default()
        };
        let stall = Stall { some: number(5, 1.0), full: 0.0 };
        let disk = DiskStats {
            mount: "/var/lib/docker".to_owned(),
            used: bytes(9),
            total: 500 << 30,
            inodes_used: bytes(8),
            inodes_total: 32 << 20,
        };
        HostStats {
            at: Some(Timestamp::from_millis(1_790_000_000_000 + i64::from(look) * 5000)),
            cpu_percent: number(1, 100.0),
            cpu: Some(CpuModes {
                user: number(2, 60.0),
                system: number(3, 30.0),
                iowait: number(4, 9.0),
                steal: 0.0,
            }),
            load: [number(5, 4.0), number(6, 4.0), number(7, 4.0)],
            memory_used: bytes(10),
            memory_total: 16 << 30,
            disk_used: disk.used,
            disk_total: disk.total,
            disks: vec![DiskStats { mount: "/".to_owned(), ..disk.clone() }, disk],
            network_rx: number(11, 1e6),
            network_tx: number(12, 1e6),
            counters: HostCounters {
                cpu_seconds: number(13, 1e6),
                network_rx_bytes: bytes(14),
                network_tx_bytes: bytes(15),
                disk_read_bytes: bytes(16),
                disk_written_bytes: bytes(17),
                oom_kills: 0,
            },
            pressure: Some(Pressure { cpu: stall, memory: Stall::default(), io: stall }),
            instances: (0..containers).map(instance).collect(),
            ..HostStats::default()
        }
    }

    /// The parts of a document that are others than before.
    fn difference(before: &Value, now: &Value) -> Option<Value> {
        match (before, now) {
            (Value::Object(before), Value::Object(now)) => {
                let parts = now.iter().filter_map(|(key, now)| {
                    Some((key.clone(), difference(before.get(key).unwrap_or(&Value::Null), now)?))
                });
                let parts: serde_json::Map<String, Value> = parts.collect();
                (!parts.is_empty()).then_some(Value::Object(parts))
            }
            (Value::Array(before), Value::Array(now)) if before.len() == now.len() => {
                let parts = now.iter().zip(before).map(|(now, before)| difference(before, now));
                let parts: Vec<Value> = parts.map(Option::unwrap_or_default).collect();
                parts.iter().any(|part| !part.is_null()).then_some(Value::Array(parts))
            }
            (before, now) => (before != now).then(|| now.clone()),
        }
    }

    /// The figures of ADR 56: why a measurement is sent whole.
    #[test]
    fn most_of_a_report_is_new_in_each_and_it_is_small() {
        for (containers, most) in [(0, 1536), (20, 12 << 10), (200, 100 << 10)] {
            let of = |look| fitting(&measured(containers, look), MAX_STATS_REPORT);
            let (before, now) = (of(1), of(2));
            let parse = |bytes: &Bytes| serde_json::from_slice::<Value>(bytes).unwrap();
            let changed = difference(&parse(&before), &parse(&now)).unwrap().to_string().len();
            assert!(now.len() <= most, "{} bytes of {containers} containers", now.len());
            assert!(changed * 2 > now.len(), "{changed} of {} bytes are new", now.len());
        }
    }
}
