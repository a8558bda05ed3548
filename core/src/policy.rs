//! Host policy: the check whether a release may run on a host at all. (`docs/formats.md`, verification step 11.)
//!
//! The same function answers for the agent (which enforces it), for placement and for previews on the
//! coordinator (which only save a round trip). Policy can only narrow what a signed release asks for.

mod paths;
mod registry;

use crate::host::{HostFacts, HostPolicy, Users};
use crate::release::{Release, Security, Spec};

use paths::listed;
pub use paths::{FORBIDDEN_MOUNTS, InvalidPath, check_mount, contains, normalise_path};
pub use registry::{InvalidRepository, allows_repository, normalise_repository};

/// A rule of the policy that a release breaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyViolation {
    /// Name of the rule: the key of `policy.toml` that would have to change, or what is never allowed.
    pub rule: &'static str,
    /// The asked value, and the allowed ones.
    pub detail: String,
}

impl std::error::Error for PolicyViolation {}

impl std::fmt::Display for PolicyViolation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

/// Everything in `release` that `policy` does not allow on the host described by `facts`; nothing if it may
/// run. Paths are compared as written; the agent resolves symbolic links on top.
pub fn check(policy: &HostPolicy, facts: &HostFacts, release: &Release) -> Vec<PolicyViolation> {
    let spec = &release.spec;
    let mut found = Vec::new();
    let mut refuse = |rule: &'static str, detail: String| found.push(PolicyViolation { rule, detail });

    if policy.environments.as_ref().is_some_and(|served| !served.contains(&release.environment)) {
        refuse("environments", format!("this host does not serve `{}`", release.environment));
    }
    if !allows_repository(&policy.registries, &spec.image.repository) {
        let (image, allowed) = (&spec.image.repository, listed(policy.registries.iter()));
        refuse("registries", format!("`{image}` is under none of the allowed prefixes ({allowed})"));
    }
    if spec.image.size > policy.max_image.bytes() {
        let (size, most) = (crate::Size::from_bytes(spec.image.size), policy.max_image);
        refuse(
            "max_image",
            format!("the image has {}, at most {} are allowed", size.rounded(), most.rounded()),
        );
    }
    for (name, fixed) in spec.ports.iter().filter_map(|(name, port)| Some((name, port.host?))) {
        if !policy.host_ports.contains(&fixed) {
            refuse(
                "host_ports",
                format!(
                    "port `{name}` asks for {fixed} of the host, which is not listed ({})",
                    listed(policy.host_ports.iter())
                ),
            );
        }
    }
    for (name, volume) in &spec.volumes {
        if let Some(Err(detail)) =
            volume.host_path.as_ref().map(|path| check_mount(&policy.mounts, path, &[]))
        {
            refuse("mounts", format!("volume `{name}`: {detail}"));
        }
    }
    for detail in container_paths(spec) {
        refuse("container_paths", detail);
    }
    for name in &spec.security.capabilities {
        if name == "ALL" || !policy.capabilities.contains(name.as_str()) {
            refuse(
                "capabilities",
                format!("`{name}` is not listed ({})", listed(policy.capabilities.iter())),
            );
        }
    }
    if let (Some(asked), Some(most)) = (spec.resources.gpus, policy.gpus)
        && asked.count > most
    {
        refuse("gpus", format!("{} asked for, at most {most} are allowed", asked.count));
    }
    if let Some(most) = policy.gpus.filter(|most| spec.hooks.most_gpus() > *most) {
        let asked = spec.hooks.most_gpus();
        refuse("gpus", format!("a hook asks for {asked}, at most {most} are allowed"));
    }
    if policy.users == Users::NonRoot
        && let Err(detail) = non_root(&spec.security)
    {
        refuse("users", detail);
    }
    let most = allowed_memory(policy, facts.memory);
    if facts.memory > 0 && spec.resources.memory.bytes() > most {
        let (asked, most) = (spec.resources.memory.rounded(), crate::Size::from_bytes(most).rounded());
        refuse("max_memory", format!("{asked} asked for, at most {most} are allowed"));
    }
    found
}

/// Memory that all releases on a host with `memory` bytes may ask for together.
pub fn allowed_memory(policy: &HostPolicy, memory: u64) -> u64 {
    policy.max_memory.of(memory)
}

/// Places in the container that hide the kernel's interfaces may not be covered: that would undo masked paths.
fn container_paths(spec: &Spec) -> Vec<String> {
    let volumes = spec.volumes.values().map(|volume| volume.mount.as_str());
    let tmpfs = spec.security.tmpfs.iter().map(String::as_str);
    let files = spec.files.keys().map(String::as_str);
    let targets = volumes.chain(tmpfs).chain(files);
    targets
        .filter_map(|path| match normalise_path(path) {
            Err(error) => Some(error.to_string()),
            Ok(path) if path == "/dev/shm" => None,
            Ok(path) if path == "/" => Some("nothing may be mounted over `/`".to_owned()),
            Ok(path) => ["/proc", "/sys", "/dev"]
                .iter()
                .find(|kernel| contains(kernel, &path))
                .map(|kernel| format!("`{path}` lies in `{kernel}`")),
        })
        .collect()
}

fn non_root(security: &Security) -> Result<(), String> {
    let Some(user) = &security.user else {
        return Err(
            "the release names no user, and the image's own may be root; give a numeric one".to_owned()
        );
    };
    let uid = user.split(':').next().unwrap_or_default();
    let numeric = !uid.is_empty() && uid.bytes().all(|b| b.is_ascii_digit());
    match uid.parse::<u32>() {
        Ok(id) if numeric && id != 0 => Ok(()),
        Ok(_) | Err(_) => Err(format!("user `{user}` is not a number other than 0")),
    }
}

#[cfg(test)]
mod tests;
