//! The agent's own `/metrics`, where it is switched on: the last measurement of host, disks, GPUs and instances, under the names
//! that the coordinator uses. Read one of the two, or keep them apart by `job`.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use windlass_core::host::{DISK_SIZE, DiskStats, GpuStats, HostStats, InstanceStats, ProbeStats, XID_ERRORS};

use crate::readers;

/// After the address could not be listened on.
const PAUSE: Duration = Duration::from_secs(30);

/// A family of one value for each `T`: name, type, help, value.
type Family<T> = (&'static str, &'static str, &'static str, fn(&T) -> f64);

/// The same where not each `T` has a value.
type Told<T> = (&'static str, &'static str, &'static str, fn(&T) -> Option<f64>);

/// Serves the newest measurement at `address` until `cancel`. An address that cannot be listened on is tried again, and logged.
pub(crate) async fn run(
    address: SocketAddr,
    host: String,
    stats: watch::Receiver<Arc<HostStats>>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                let write = move || text(&host, &stats.borrow().clone());
                readers::serve(Arc::new(write), listener, cancel).await;
                return Ok(());
            }
            Err(error) => {
                tracing::warn!(%error, %address, "cannot listen for readers of metrics; will try again")
            }
        }
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = sleep(PAUSE) => {}
        }
    }
}

/// A measurement as text. Nothing is told before the first one.
fn text(host: &str, stats: &HostStats) -> String {
    let mut out = String::with_capacity(8 << 10);
    if stats.at.is_none() {
        return out;
    }
    let of_host = format!("host=\"{host}\"");
    write_each(&mut out, &HOST, &[(of_host.clone(), stats)]);
    let disks = stats.disks.iter().map(|disk| (format!("{of_host},mount=\"{}\"", escape(&disk.mount)), disk));
    write_each(&mut out, &DISK, &disks.collect::<Vec<_>>());
    let gpus = stats.gpus.iter().map(|gpu| (format!("{of_host},gpu=\"{}\"", escape(&gpu.uuid)), gpu));
    let gpus: Vec<_> = gpus.collect();
    write_each(&mut out, &GPU, &gpus);
    write_told(&mut out, &READINGS, &gpus);
    let xids = gpus.iter().flat_map(|(labels, gpu)| {
        gpu.xids_by_cause().map(|(cause, count)| (format!("{labels},cause=\"{cause}\""), number(count)))
    });
    write_one(&mut out, ("gpu_xid_errors_total", "counter", XID_ERRORS), xids);
    let instances = stats.instances.iter();
    let instances = instances.map(|of| (format!("{of_host},id=\"{}\"", escape(&of.instance)), of));
    write_each(&mut out, &INSTANCE, &instances.collect::<Vec<_>>());
    let probes = stats
        .instances
        .iter()
        .filter_map(|of| Some((format!("{of_host},id=\"{}\"", escape(&of.instance)), of.probe.as_ref()?)));
    write_each(&mut out, &PROBE, &probes.collect::<Vec<_>>());
    out
}

fn write_each<T>(out: &mut String, families: &[Family<T>], samples: &[(String, &T)]) {
    for (name, kind, help, value) in families {
        write_one(out, (name, kind, help), samples.iter().map(|(labels, of)| (labels, value(of))));
    }
}

fn write_told<T>(out: &mut String, families: &[Told<T>], samples: &[(String, &T)]) {
    for (name, kind, help, value) in families {
        let told = samples.iter().filter_map(|(labels, of)| Some((labels, value(of)?)));
        write_one(out, (name, kind, help), told);
    }
}

/// Writes a family: its head, if it has a sample, and its samples.
fn write_one(
    out: &mut String,
    (name, kind, help): (&str, &str, &str),
    samples: impl Iterator<Item = (impl fmt::Display, f64)>,
) {
    for (number, (labels, value)) in samples.enumerate() {
        if number == 0 {
            let _infallible = writeln!(out, "# HELP windlass_{name} {help}\n# TYPE windlass_{name} {kind}");
        }
        let _infallible = writeln!(out, "windlass_{name}{{{labels}}} {value}");
    }
}

/// A label's value as the format wants it.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[expect(clippy::cast_precision_loss, reason = "bytes: a figure of Prometheus has 53 bits")]
const fn number(value: u64) -> f64 {
    value as f64
}

const HOST: [Family<HostStats>; 11] = [
    ("host_load1", "gauge", "Load average over a minute", |of| of.load[0]),
    ("host_cpu_seconds_total", "counter", "Processor time in use since the host started", |of| {
        of.counters.cpu_seconds
    }),
    ("host_memory_used_bytes", "gauge", "Memory in use", |of| number(of.memory_used)),
    ("host_memory_size_bytes", "gauge", "Memory in all", |of| number(of.memory_total)),
    ("host_swap_used_bytes", "gauge", "Swap in use", |of| number(of.swap_used)),
    ("host_network_receive_bytes_total", "counter", "Bytes received", |of| {
        number(of.counters.network_rx_bytes)
    }),
    ("host_network_transmit_bytes_total", "counter", "Bytes sent", |of| number(of.counters.network_tx_bytes)),
    ("host_disk_read_bytes_total", "counter", "Bytes read from disks", |of| {
        number(of.counters.disk_read_bytes)
    }),
    ("host_disk_written_bytes_total", "counter", "Bytes written to disks", |of| {
        number(of.counters.disk_written_bytes)
    }),
    ("host_oom_kills_total", "counter", "Processes killed for memory", |of| number(of.counters.oom_kills)),
    ("host_measurement_timestamp_seconds", "gauge", "When the host was measured, since the epoch", |of| {
        of.at.map_or(0.0, |at| at.as_millis() as f64 / 1000.0)
    }),
];

const DISK: [Family<DiskStats>; 4] = [
    ("host_disk_used_bytes", "gauge", "In use on a file system", |of| number(of.used)),
    ("host_disk_size_bytes", "gauge", DISK_SIZE, |of| number(of.total)),
    ("host_disk_inodes_used", "gauge", "Inodes in use", |of| number(of.inodes_used)),
    ("host_disk_inodes", "gauge", "Inodes in all; 0 where they are made as needed", |of| {
        number(of.inodes_total)
    }),
];

const GPU: [Family<GpuStats>; 1] =
    [("gpu_ecc_uncorrected_errors_total", "counter", "Errors of its memory that were not corrected", |of| {
        number(of.ecc_uncorrected)
    })];

const READINGS: [Told<GpuStats>; 5] = [
    ("gpu_memory_used_bytes", "gauge", "Memory in use on a GPU", |of| {
        of.memory().map(|(used, _)| number(used))
    }),
    ("gpu_memory_size_bytes", "gauge", "Memory of a GPU", |of| of.memory().map(|(_, total)| number(total))),
    ("gpu_busy_ratio", "gauge", "Share of time in which a GPU was busy", |of| {
        of.readings.utilization.map(|percent| percent / 100.0)
    }),
    ("gpu_temperature_celsius", "gauge", "Temperature of a GPU", |of| of.readings.temperature),
    ("gpu_power_watts", "gauge", "Power that a GPU takes", |of| of.readings.power),
];

const INSTANCE: [Family<InstanceStats>; 6] = [
    ("instance_cpu_seconds_total", "counter", "Processor time of an instance", |of| of.counters.cpu_seconds),
    ("instance_throttled_seconds_total", "counter", "Time in which its limit held it back", |of| {
        of.counters.throttled_seconds
    }),
    ("instance_memory_bytes", "gauge", "Memory that it uses, without page cache", |of| {
        number(of.memory_used)
    }),
    ("instance_memory_limit_bytes", "gauge", "Its limit of memory", |of| number(of.memory_limit)),
    ("instance_oom_kills_total", "counter", "Its processes that were killed for memory", |of| {
        number(of.counters.oom_kills)
    }),
    ("instance_pids", "gauge", "Its processes", |of| number(of.pids)),
];

const PROBE: [Family<ProbeStats>; 4] = [
    ("instance_probe_success", "gauge", "Whether the last answer to its probe was good", |of| {
        f64::from(u8::from(of.ok))
    }),
    ("instance_probe_duration_seconds", "gauge", "Time that the last answer took", |of| of.seconds),
    ("instance_probe_answers_total", "counter", "Answers to its probe in its present run", |of| {
        number(of.answers)
    }),
    ("instance_probe_failures_total", "counter", "The bad ones of them", |of| number(of.failures)),
];

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use windlass_core::host::GpuReadings;

    use super::*;

    #[tokio::test]
    async fn the_last_measurement_is_served() {
        let disk = DiskStats { mount: "/a \"b\"".to_owned(), used: 1, total: 2, ..DiskStats::default() };
        let probe = ProbeStats { ok: true, seconds: 0.25, answers: 4, failures: 1 };
        let instance = InstanceStats {
            instance: "p.web.0.r1.1".to_owned(),
            memory_used: 7,
            probe: Some(probe),
            ..InstanceStats::default()
        };
        let stats = HostStats {
            at: Some(crate::clock::now()),
            memory_used: 3,
            disks: vec![disk],
            instances: vec![instance],
            ..HostStats::default()
        };
        let gpu = GpuStats { uuid: "GPU-1".to_owned(), xid_count: 2, ..GpuStats::default() };
        let with_gpu = super::text("web-1", &HostStats { gpus: vec![gpu.clone()], ..stats.clone() });
        assert!(
            with_gpu
                .contains("windlass_gpu_xid_errors_total{host=\"web-1\",gpu=\"GPU-1\",cause=\"device\"} 2"),
            "{with_gpu}"
        );
        windlass_testkit::promtool::promtool(&["check", "metrics"], &with_gpu);
        for untold in ["gpu_temperature_celsius", "gpu_memory_size_bytes", "gpu_memory_used_bytes"] {
            assert!(!with_gpu.contains(untold), "it cannot tell: {with_gpu}");
        }
        let gpu = GpuStats { memory_used: 5, memory_total: 8, ..gpu };
        let known = super::text("web-1", &HostStats { gpus: vec![gpu.clone()], ..stats.clone() });
        assert!(
            known.contains("windlass_gpu_memory_size_bytes{host=\"web-1\",gpu=\"GPU-1\"} 8\n"),
            "{known}"
        );
        let gpu = GpuStats { readings: GpuReadings { power: Some(0.0), ..GpuReadings::default() }, ..gpu };
        let idle = super::text("web-1", &HostStats { gpus: vec![gpu], ..stats.clone() });
        assert!(idle.contains("windlass_gpu_power_watts{host=\"web-1\",gpu=\"GPU-1\"} 0\n"), "{idle}");
        let (publish, stats_of) = watch::channel(Arc::new(HostStats::default()));
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let cancel = CancellationToken::new();
        let serving = run(address, "web-1".to_owned(), stats_of, cancel.clone());
        let asking = async {
            publish.send_replace(Arc::new(stats));
            let mut tcp = loop {
                match TcpStream::connect(address).await {
                    Ok(tcp) => break tcp,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            tcp.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
            let mut text = String::new();
            tcp.read_to_string(&mut text).await.unwrap();
            cancel.cancel();
            text
        };
        let (served, text) = tokio::join!(serving, asking);
        served.unwrap();
        for line in [
            "windlass_host_memory_used_bytes{host=\"web-1\"} 3",
            "windlass_host_disk_size_bytes{host=\"web-1\",mount=\"/a \\\"b\\\"\"} 2",
            "windlass_instance_memory_bytes{host=\"web-1\",id=\"p.web.0.r1.1\"} 7",
            "# TYPE windlass_instance_cpu_seconds_total counter",
            "windlass_instance_probe_duration_seconds{host=\"web-1\",id=\"p.web.0.r1.1\"} 0.25",
            "windlass_instance_probe_failures_total{host=\"web-1\",id=\"p.web.0.r1.1\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(!text.contains("windlass_gpu_"), "{text}");
    }
}
