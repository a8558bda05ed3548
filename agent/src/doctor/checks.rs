//! The checks that need no engine.

use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};
use std::path::Path;
use std::time::Duration;

use windlass_certs::csr::CertifiedIdentity;
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::files;
use windlass_certs::json;
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::{ClientTls, ConnectOptions, connect};
use windlass_certs::trust::TrustDocument;
use windlass_core::host::GpuAccess;
use windlass_core::verify::SKEW;
use windlass_core::{Size, Timestamp};
use windlass_process::report;

use super::finding::Finding;
use crate::clock;
use crate::config::Config;
use crate::data::DataDir;
use crate::engine;
use crate::gpu::{self, NoAnswer};
use crate::member::Member;
use crate::policy;
use crate::runtime::access::{Says, find};
use crate::state::Journal;
use crate::stats::disk;

/// The longest time to count GPUs.
const GPUS: Duration = Duration::from_secs(20);
const TOOLKIT: &str = "the NVIDIA Container Toolkit has both; until then deploys with GPUs are refused here";
/// The longest time to read the free space of a disk.
const DISK: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn policy(config: &Config) -> Finding {
    match policy::load(&config.policy) {
        Ok(policy) if policy.host.registries.is_empty() => Finding::warn(
            "policy",
            format!("{} allows no registry, so nothing may run", config.policy.display()),
            "add where images may come from: `registries = [\"registry.example.com/team\"]`",
        ),
        Ok(policy) => Finding::ok("policy", format!("images from {}", policy.host.registries.join(", "))),
        Err(error) => Finding::fail("policy", report::chain(&error), error.hint()),
    }
}

/// The memory that is left for workloads. Read from `/proc` alone, which no mount can hang.
pub(super) fn memory() -> Option<Finding> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    let (total, available) = (system.total_memory(), system.available_memory());
    let free = available.checked_mul(100)?.checked_div(total)?;
    let detail = format!(
        "{} of {} are available",
        Size::from_bytes(available).rounded(),
        Size::from_bytes(total).rounded()
    );
    let hint = "see what takes it: `docker stats`, `ps aux --sort=-rss`";
    Some(if free < 10 { Finding::warn("memory", detail, hint) } else { Finding::ok("memory", detail) })
}

/// The disks below the agent's folder and below Docker's usual one.
pub(super) async fn disks(config: &Config) -> Vec<Finding> {
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for path in [config.data.as_path(), Path::new("/var/lib/docker")] {
        let Ok(path) = std::path::absolute(path) else { continue };
        let space = match disk::of(path.clone(), DISK).await {
            Ok(Some(space)) if space.total() > 0 && !seen.contains(&space.disk) => space,
            Ok(_) => continue,
            Err(error) => {
                let detail = format!("the disk of {} does not say how full it is: {error}", path.display());
                found.push(Finding::fail(
                    "disk",
                    detail,
                    Some("is it a mount whose server is gone?".to_owned()),
                ));
                continue;
            }
        };
        seen.push(space.disk);
        let used = 100 - space.free.saturating_mul(100) / space.total();
        let detail = format!("the disk of {} is {used} % full", path.display());
        let hint = "free some space: `docker image prune`, logs, old volumes";
        found.push(match used {
            0..80 => Finding::ok("disk", detail),
            80..95 => Finding::warn("disk", detail, hint),
            _ => Finding::fail("disk", detail, Some(hint.to_owned())),
        });
    }
    found
}

pub(super) async fn gpus(config: &Config) -> Finding {
    let restart = "does `nvidia-smi` work? A driver that was updated needs a restart";
    match gpu::ask_once(GPUS).await {
        Ok(seen) if seen.gpus.is_empty() => Finding::ok("gpu", "none"),
        Ok(seen) => {
            let count = format!("{} GPUs", seen.gpus.len());
            let (access, folders) = access(config).await;
            match access {
                GpuAccess::No(why) => {
                    Finding::warn("gpu", format!("{count}, which no container gets: {why}"), TOOLKIT)
                }
                GpuAccess::Unknown => {
                    Finding::ok("gpu", format!("{count}; whether containers get them shows at a start"))
                }
                GpuAccess::Hook => Finding::ok("gpu", format!("{count}, by NVIDIA's hook")),
                GpuAccess::Runtime => Finding::ok("gpu", format!("{count}, by the runtime `nvidia`")),
                GpuAccess::Cdi => Finding::ok("gpu", format!("{count}, by CDI specifications{folders}")),
            }
        }
        Err(NoAnswer::NoLibrary) if Path::new("/proc/driver/nvidia").exists() => {
            Finding::warn("gpu", "there is an NVIDIA driver, and its library does not answer", restart)
        }
        Err(NoAnswer::NoLibrary) => Finding::ok("gpu", "none"),
        Err(error) => Finding::warn("gpu", format!("{error}; nothing else waits for it"), restart),
    }
}

/// Returns the way in which containers of the engine get GPUs, and the folders of its CDI specifications in words.
async fn access(config: &Config) -> (GpuAccess, String) {
    let info = engine::get(config.engine_socket(), "/info").await.ok().flatten().unwrap_or_default();
    let text = |value: Option<&serde_json::Value>| {
        value.and_then(|text| text.as_str()).unwrap_or_default().to_owned()
    };
    let runtimes = info.get("Runtimes").and_then(|all| all.as_object()).into_iter().flatten();
    let devices = info.get("DiscoveredDevices").and_then(|all| all.as_array()).into_iter().flatten();
    let folders = info.get("CDISpecDirs").and_then(|all| all.as_array()).into_iter().flatten();
    let says = Says {
        runtimes: runtimes.map(|(name, runtime)| (name.clone(), text(runtime.get("path")))).collect(),
        cdi: devices.map(|device| text(device.get("ID"))).collect(),
        cdi_folders: folders.map(|folder| text(Some(folder))).collect(),
    };
    (find(config.engine_socket(), &says).await, says.folders())
}

/// Ports that the kernel hands out to anyone may be taken when a container wants them.
pub(super) fn ports(config: &Config) -> Finding {
    let (first, last) = policy::load(&config.policy).unwrap_or_default().host.port_range;
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut kernel = text.split_whitespace().filter_map(|number| number.parse::<u16>().ok());
    match (kernel.next(), kernel.next()) {
        (Some(low), Some(high)) if first <= high && low <= last => Finding::warn(
            "ports",
            format!("{first}-{last} overlaps the kernel's own range {low}-{high}"),
            "choose another `port_range` in the policy, or change net.ipv4.ip_local_port_range",
        ),
        _ => Finding::ok("ports", format!("{first}-{last}")),
    }
}

/// Whether the address under which others reach the host's ports is one of its own. One that a router translates is not. A name
/// has to have an address here.
fn address(address: &str, behind_nat: bool) -> Finding {
    let Ok(ip) = address.trim_matches(['[', ']']).parse::<IpAddr>() else {
        return match (address, 0).to_socket_addrs() {
            Ok(_) => Finding::ok("address", format!("{address}, a name")),
            Err(error) => Finding::warn(
                "address",
                format!("it joined with the name {address}, which has no address here: {error}"),
                "others look its published ports up by that name: mend the name, or let it join again with `--address`, into a new folder",
            ),
        };
    };
    match UdpSocket::bind((ip, 0)) {
        Ok(_) => Finding::ok("address", address),
        Err(_) if behind_nat => {
            Finding::ok("address", format!("{address}, which a router translates (`behind_nat`)"))
        }
        Err(error) => Finding::warn(
            "address",
            format!("it joined with {address}, which no interface of this host has: {error}"),
            "others reach its published ports there, and its own probes go by loopback meanwhile: if the host has another address \
             now, let it join again with `--address`, into a new folder; if a router translates the address, say so with `behind_nat = true` in policy.toml",
        ),
    }
}

/// Checks of a host that has joined.
pub(super) struct Joined {
    data: DataDir,
    member: Member,
    document: Option<TrustDocument>,
}

impl Joined {
    pub(super) fn load(config: &Config) -> Result<Self, Finding> {
        let failed =
            |error: &dyn std::error::Error, hint| Finding::fail("membership", error.to_string(), hint);
        let data = DataDir::open(&config.data).map_err(|error| failed(&error, error.hint()))?;
        let member = Member::load(&data).map_err(|error| failed(&error, error.hint()))?;
        let limit = PayloadType::Trust.max_len();
        let document = files::read_secret(&data.trust())
            .ok()
            .and_then(|bytes| Envelope::parse(&bytes, limit).ok())
            .and_then(|envelope| json::decode_bounded(envelope.payload_bytes(), limit).ok());
        Ok(Self { data, member, document })
    }

    pub(super) fn describe(&self) -> String {
        format!("`{}` of fleet `{}`, reached at {}", self.member.host, self.member.fleet, self.member.address)
    }

    pub(super) fn address(&self, config: &Config) -> Finding {
        let behind_nat = policy::load(&config.policy).is_ok_and(|policy| policy.behind_nat);
        address(&self.member.address, behind_nat)
    }

    pub(super) fn state(&self) -> Finding {
        match Journal::open(&self.data.journal()) {
            Ok(journal) => {
                let seq = journal.state().plan.as_ref().map_or(0, |plan| plan.seq);
                Finding::ok("state", format!("journal is sound, plan seq {seq}"))
            }
            Err(error) => Finding::fail("state", report::chain(&error), error.hint()),
        }
    }

    /// Against the newest time that somebody signed: a clock that is behind refuses good plans.
    pub(super) fn clock(&self) -> Finding {
        let signed = Journal::open(&self.data.journal()).map_or(Timestamp::ZERO, |j| j.state().trusted_time);
        let now = clock::now();
        if signed > now + SKEW {
            let detail = format!("it says {now}, and a document of {signed} was accepted");
            return Finding::fail(
                "clock",
                detail,
                Some("set the clock; use NTP (chrony, systemd-timesyncd)".to_owned()),
            );
        }
        Finding::ok("clock", format!("{now}"))
    }

    pub(super) fn trust(&self) -> Finding {
        let Some(document) = &self.document else {
            let hint = Some(crate::state::REJOIN.to_owned());
            return Finding::fail("trust", "the trust document cannot be read", hint);
        };
        let (version, expires, now) = (document.version, document.expires_at, clock::now());
        let hint = "whoever has the root key renews it: `windlass trust renew --expires 365d`";
        if now >= expires {
            Finding::warn(
                "trust",
                format!("version {version} expired at {expires}: no new release is taken"),
                hint,
            )
        } else if now + DAY * 14 >= expires {
            Finding::warn("trust", format!("version {version} expires at {expires}"), hint)
        } else {
            Finding::ok("trust", format!("version {version}, until {expires}"))
        }
    }

    pub(super) fn certificate(&self) -> Finding {
        let identity = match CertifiedIdentity::load(&self.data.identity()) {
            Ok(identity) => identity,
            Err(error) => return Finding::fail("certificate", report::chain(&error), error.hint()),
        };
        let (peer, now) = (identity.peer(), clock::now());
        if now < peer.not_before {
            let hint = Some("set the clock".to_owned());
            Finding::fail("certificate", format!("valid only from {}", peer.not_before), hint)
        } else if now < peer.not_after {
            Finding::ok("certificate", format!("until {}, generation {}", peer.not_after, peer.generation))
        } else if now < peer.not_after + DAY * 30 {
            let detail = format!("expired at {}", peer.not_after);
            Finding::warn(
                "certificate",
                detail,
                "a running agent renews it by itself; what runs does not need it",
            )
        } else {
            let detail = format!("expired at {}, more than 30 days ago", peer.not_after);
            let hint =
                "join again: stop the agent, move its folder away, `windlass-agent join` with a new token";
            Finding::fail("certificate", detail, Some(hint.to_owned()))
        }
    }

    pub(super) fn agent(&self) -> Finding {
        if self.data.is_running() {
            Finding::ok("agent", "running")
        } else {
            Finding::warn("agent", "not running", "start it: `windlass-agent run`")
        }
    }

    /// A connection as the agent makes it; anonymous if the certificate has expired.
    pub(super) async fn coordinator(&self, config: &Config) -> Finding {
        let pins = self.document.as_ref().map(|document| document.ca.clone()).unwrap_or_default();
        let fleet = self.member.fleet.clone();
        let identity = CertifiedIdentity::load(&self.data.identity()).ok();
        let valid = identity.filter(|identity| identity.peer().is_valid_at(clock::now()));
        let tls = match &valid {
            Some(identity) => ClientTls::new(fleet, pins, identity, Revocations::new()),
            None => ClientTls::anonymous(fleet, pins, Revocations::new()),
        };
        let tls = match tls {
            Ok(tls) => tls,
            Err(error) => return Finding::fail("coordinator", report::chain(&error), None),
        };
        let named = self.document.iter().flat_map(|document| &document.coordinators);
        let mut last = None;
        for address in config.server.iter().chain([&self.member.server]).chain(named) {
            match connect(address, &tls, &ConnectOptions::default()).await {
                Ok(_) => return Finding::ok("coordinator", format!("{address} accepts this host")),
                Err(error) => last = last.or(Some(error)),
            }
        }
        match last {
            Some(error) => {
                Finding::fail("coordinator", report::chain(&error), error.hint().map(str::to_owned))
            }
            None => Finding::fail(
                "coordinator",
                "no address is known",
                Some("give one: `--server HOST:PORT`".to_owned()),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn an_address_that_the_host_has_lost_is_a_warning() {
        for (own, want) in
            [("127.0.0.1", Verdict::Ok), ("localhost", Verdict::Ok), ("192.0.2.77", Verdict::Warn)]
        {
            let found = address(own, false);
            assert_eq!(found.verdict, want, "{}", found.detail);
        }
        assert!(address("banana.invalid", true).hint.unwrap().contains("mend the name"));
        assert!(address("192.0.2.77", false).hint.unwrap().contains("--address"));
        assert_eq!(address("192.0.2.77", true).hint, None, "a router translates it");
    }

    #[test]
    fn sizes_are_told_as_people_read_them() {
        let detail = memory().unwrap().detail;
        assert!(!detail.contains("KiB"), "{detail}");
    }
}
