//! Facts of this host. Read once at the start; the engine's version and the GPUs are added when they are known.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use windlass_core::host::{GpuAccess, HostFacts};
use windlass_core::plan::PLAN_VERSIONS;
use windlass_core::release::RELEASE_VERSIONS;

use crate::document_store::DocumentStore;
use crate::gpu;
use crate::member::Member;
use crate::policy::Policy;
use crate::runtime::Runtime;

/// The time between two questions for the engine's version.
const EVERY: Duration = Duration::from_secs(60);
/// The time until the next question while it does not answer.
const AGAIN: Duration = Duration::from_secs(5);
/// The shortest time between two reports of GPU memory that strangers hold.
const RARELY: Duration = Duration::from_secs(30);

/// Returns the facts that need no engine.
pub fn of_host(member: &Member, policy: &Policy, gpus: &gpu::Seen) -> HostFacts {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    HostFacts {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        plan_versions: PLAN_VERSIONS.to_vec(),
        release_versions: RELEASE_VERSIONS.to_vec(),
        routes_versions: windlass_core::traffic::ROUTES_VERSIONS.to_vec(),
        address: member.address.clone(),
        labels: policy.labels.clone().unwrap_or_else(|| member.labels.clone()),
        hostname: line("/proc/sys/kernel/hostname"),
        os: os_name(),
        kernel: line("/proc/sys/kernel/osrelease"),
        platform: platform().to_owned(),
        cpu_millis: u64::try_from(processors).unwrap_or(u64::MAX).saturating_mul(1000),
        memory: memory(),
        engine_version: String::new(),
        gpus: gpus.gpus.clone(),
        gpus_lost: gpus.lost.clone(),
        gpu_access: GpuAccess::Unknown,
        gpu_driver: gpus.driver.clone(),
        policy: policy.host.clone(),
        silent: gpus.silent.iter().cloned().collect(),
    }
}

/// Keeps up to date what the engine says of itself.
pub async fn run<R: Runtime>(
    runtime: Arc<R>,
    facts: watch::Sender<Arc<HostFacts>>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let asked = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            asked = runtime.info() => asked,
        };
        let wait = match asked {
            Ok(info) => {
                facts.send_if_modified(|facts| {
                    let changed = facts.engine_version != info.version || facts.gpu_access != info.gpu_access;
                    if changed {
                        let facts = Arc::make_mut(facts);
                        (facts.engine_version, facts.gpu_access) = (info.version, info.gpu_access);
                    }
                    changed
                });
                EVERY
            }
            Err(_) => AGAIN, // the reconciler says so
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Keeps the GPUs up to date: what is placed here is judged by them. What strangers hold of their memory changes often, and is
/// told rarely.
pub async fn follow_gpus(
    keeper: Arc<DocumentStore>,
    facts: watch::Sender<Arc<HostFacts>>,
    (mut seen, mut held): (watch::Receiver<gpu::Shared>, watch::Receiver<Arc<gpu::Held>>),
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let mut told = (seen.borrow().clone(), Instant::now());
    loop {
        let new = seen.borrow_and_update().clone();
        let strangers = held.borrow_and_update().clone();
        let mut gpus = new.gpus.clone();
        gpus.iter_mut().for_each(|gpu| gpu.strangers = strangers.get(&gpu.uuid).copied().unwrap_or(0));
        let silent: Vec<_> = new.silent.iter().cloned().collect();
        let waits = new.decides_as(&told.0) && told.1.elapsed() < RARELY;
        let (others, differs) = {
            let facts = facts.borrow();
            let others = facts.gpus != gpus;
            let own = facts.gpus_lost != new.lost || facts.silent != silent || facts.gpu_driver != new.driver;
            (others, others || own)
        };
        if differs && !waits {
            facts.send_modify(|facts| {
                let facts = Arc::make_mut(facts);
                (facts.gpus, facts.gpus_lost, facts.silent) = (gpus, new.lost.clone(), silent);
                facts.gpu_driver = new.driver.clone();
            });
            told = (new, Instant::now());
            if others {
                keeper.judge_again().await;
            }
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            changed = seen.changed() => changed?, // error: the probe has gone
            changed = held.changed() => changed?,
            () = sleep_until(told.1 + RARELY), if differs && waits => {}
        }
    }
}

/// Platform of images that this machine runs.
pub const fn platform() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "linux/amd64"
    } else if cfg!(target_arch = "aarch64") {
        "linux/arm64"
    } else {
        ""
    }
}

fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().chars().take(255).collect()
}

fn os_name() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').chars().take(255).collect()
}

/// Bytes of memory; 0 if the kernel does not say.
fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0).saturating_mul(1024)
}
