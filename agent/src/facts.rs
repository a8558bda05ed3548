//! What this host is. Read once at the start; the engine's version and the GPUs are added when they are known.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_core::host::HostFacts;
use windlass_core::plan::PLAN_VERSIONS;
use windlass_core::release::RELEASE_VERSIONS;

use crate::gpu;
use crate::keeper::Keeper;
use crate::member::Member;
use crate::policy::Policy;
use crate::runtime::Runtime;

/// How often the engine is asked who it is.
const EVERY: Duration = Duration::from_secs(60);
/// How soon it is asked again while it does not answer.
const AGAIN: Duration = Duration::from_secs(5);

/// What can be said without an engine.
pub fn of_host(member: &Member, policy: &Policy, gpus: &gpu::Seen) -> HostFacts {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    HostFacts {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        plan_versions: PLAN_VERSIONS.to_vec(),
        release_versions: RELEASE_VERSIONS.to_vec(),
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
        policy: policy.host.clone(),
        silent: gpus.silent.iter().cloned().collect(),
    }
}

/// Keeps the engine's version up to date.
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
                    let changed = facts.engine_version != info.version;
                    if changed {
                        Arc::make_mut(facts).engine_version = info.version;
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

/// Keeps the GPUs up to date: what is placed here is judged by them.
pub async fn follow_gpus(
    keeper: Arc<Keeper>,
    facts: watch::Sender<Arc<HostFacts>>,
    mut seen: watch::Receiver<gpu::Shared>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let new = seen.borrow_and_update().clone();
        let others = facts.borrow().gpus != new.gpus;
        facts.send_if_modified(|facts| {
            let silent: Vec<_> = new.silent.iter().cloned().collect();
            let changed = others || facts.silent != silent;
            if changed {
                let facts = Arc::make_mut(facts);
                (facts.gpus, facts.silent) = (new.gpus.clone(), silent);
            }
            changed
        });
        if others {
            keeper.judge_again().await;
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            changed = seen.changed() => changed?, // error: the probe has gone
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
