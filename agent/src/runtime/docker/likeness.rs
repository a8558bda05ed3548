//! Whether a container is made as a release says. What its labels say counts for nothing here.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, HostConfig, ImageInspect, Mount, MountType,
};
use windlass_core::ServiceName;
use windlass_core::network::engine_name;
use windlass_core::reconcile::{Container, Launch, LocalHost, VerifiedRelease};
use windlass_core::release::Spec;

use super::super::RuntimeError;
use super::super::labels::{self, Identity};
use super::engine::DockerEngine;
use super::error::{self, refused};
use super::{create, inspect, pull};

impl DockerEngine {
    /// The name is taken. If an agent that died had made exactly this container, it is what was asked for.
    pub(super) async fn adopt(
        &self,
        name: &str,
        launch: &Launch,
        error: bollard::errors::Error,
    ) -> Result<String, RuntimeError> {
        match self.alike(name, &launch.release).await? {
            Some(seen) if seen.slot == launch.slot && seen.instance == launch.instance => Ok(seen.id),
            Some(_) | None => {
                tracing::warn!(name, error = error::message(&error), "another container has the name");
                Err(RuntimeError::NameTaken(name.to_owned()))
            }
        }
    }

    /// The container, if it is made as the release says.
    pub(super) async fn alike(
        &self,
        id: &str,
        release: &VerifiedRelease,
    ) -> Result<Option<Container>, RuntimeError> {
        let gone = |error: &bollard::errors::Error| error::status(error) == Some(404);
        let seen = match self.docker()?.inspect_container(id, None).await {
            Err(error) if gone(&error) => return Ok(None),
            seen => seen.map_err(refused("inspect a container"))?,
        };
        let image = match self.docker()?.inspect_image(seen.image.as_deref().unwrap_or_default()).await {
            Err(error) if gone(&error) => return Ok(None),
            image => image.map_err(refused("inspect an image"))?,
        };
        let labels = seen.config.as_ref().and_then(|config| config.labels.as_ref());
        let identity = labels.and_then(|labels| labels::identity(labels, &self.local));
        let same = identity.is_some_and(|said| is_made_as(&seen, &said, &image, release, &self.local));
        Ok(inspect::container(&seen, &self.local).filter(|_| same))
    }
}

/// Compares a container and its image with what would be made for the release: image, process, rights, mounts and
/// ports. Limits and restart policy are left out, which anybody may change while it runs.
fn is_made_as(
    seen: &ContainerInspectResponse,
    identity: &Identity,
    image: &ImageInspect,
    release: &VerifiedRelease,
    local: &LocalHost,
) -> bool {
    let (Some(config), Some(host)) = (&seen.config, &seen.host_config) else { return false };
    let spec = &release.release.spec;
    let named = identity.release == release.digest
        && identity.content == release.content
        && identity.counter == release.release.counter
        && identity.slot.service == release.release.service_id();
    named
        && is_of_image(image, spec)
        && has_process(config, identity, image, spec)
        && has_rights(host, spec)
        && has_network(host, local, release)
        && has_devices(host, spec)
        && has_mounts(host, spec)
        && has_ports(host, identity, spec)
}

fn is_of_image(image: &ImageInspect, spec: &Spec) -> bool {
    let digest = format!("@{}", spec.image.digest);
    let names = image.repo_digests.as_deref().unwrap_or_default();
    names.iter().any(|name| name.ends_with(&digest)) && pull::suits(&spec.image.platform, image)
}

fn has_process(config: &ContainerConfig, identity: &Identity, image: &ImageInspect, spec: &Spec) -> bool {
    let of_image = image.config.clone().unwrap_or_default();
    let words = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let says = |words: &Option<Vec<String>>| words.as_ref().is_some_and(|words| !words.is_empty());
    let entrypoint = if says(&spec.command) { &spec.command } else { &of_image.entrypoint };
    // An entry point of its own takes the place of the image's arguments as well.
    let own = says(&spec.command) || says(&spec.args);
    let arguments = if own { &spec.args } else { &of_image.cmd };
    let user = if spec.security.user.is_some() { &spec.security.user } else { &of_image.user };
    let folder = if spec.workdir.is_some() { &spec.workdir } else { &of_image.working_dir };
    let folders = |text: String| if text.is_empty() { "/".to_owned() } else { text };
    words(&config.entrypoint) == words(entrypoint)
        && words(&config.cmd) == words(arguments)
        && text(&config.user) == text(user)
        && folders(text(&config.working_dir)) == folders(text(folder))
        && {
            let wanted = |own: &BTreeMap<String, String>| {
                let mut wanted = variables(of_image.env.as_deref());
                wanted.extend(own.iter().map(|(name, value)| (name.clone(), Some(value.clone()))));
                wanted
            };
            let has = variables(config.env.as_deref());
            let gpus = if spec.resources.gpus.is_some() { identity.gpus.as_slice() } else { &[] };
            // An agent of before named no devices there.
            has == wanted(&create::variables(spec, gpus)) || has == wanted(&spec.env)
        }
}

/// It has devices only if its release asks for some.
fn has_devices(host: &HostConfig, spec: &Spec) -> bool {
    host.device_requests.as_ref().is_none_or(Vec::is_empty) || spec.resources.gpus.is_some()
}

fn variables(all: Option<&[String]>) -> BTreeMap<String, Option<String>> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.clone(), None),
    };
    all.unwrap_or_default().iter().map(pair).collect()
}

fn has_rights(host: &HostConfig, spec: &Spec) -> bool {
    let capabilities = |names: Option<&[String]>| -> BTreeSet<String> {
        let bare = |name: &String| name.trim_start_matches("CAP_").to_owned();
        names.unwrap_or_default().iter().map(bare).collect()
    };
    let is_own = |mode: &Option<String>| {
        mode.as_deref().is_none_or(|mode| matches!(mode, "" | "private" | "shareable"))
    };
    host.privileged != Some(true)
        && host.readonly_rootfs.unwrap_or(false) == spec.security.read_only_root
        && capabilities(host.cap_add.as_deref()) == capabilities(Some(&spec.security.capabilities))
        && capabilities(host.cap_drop.as_deref()) == BTreeSet::from(["ALL".to_owned()])
        && [&host.pid_mode, &host.ipc_mode, &host.uts_mode, &host.userns_mode].into_iter().all(is_own)
        && has_options(host.security_opt.as_deref().unwrap_or_default())
}

/// It is in the engine's usual network, or in the inner one of its environment with the names that it calls.
fn has_network(host: &HostConfig, local: &LocalHost, release: &VerifiedRelease) -> bool {
    let mode = host.network_mode.as_deref().unwrap_or_default();
    let uses = &release.release.spec.uses;
    if uses.is_empty() {
        return matches!(mode, "" | "bridge" | "default");
    }
    let hosts = host.extra_hosts.as_deref().unwrap_or_default();
    let names: BTreeSet<&str> = hosts.iter().filter_map(|pair| Some(pair.split_once(':')?.0)).collect();
    mode == engine_name(&local.fleet, &local.host, &release.release.environment)
        && names == uses.iter().map(ServiceName::as_str).collect()
}

fn has_options(options: &[String]) -> bool {
    let is_plain =
        |option: &String| matches!(option.as_str(), "no-new-privileges" | "no-new-privileges:true");
    !options.is_empty() && options.iter().all(is_plain)
}

fn has_mounts(host: &HostConfig, spec: &Spec) -> bool {
    let plain = host.binds.as_ref().is_none_or(Vec::is_empty)
        && host.volumes_from.as_ref().is_none_or(Vec::is_empty)
        && host.devices.as_ref().is_none_or(Vec::is_empty);
    let mounts = host.mounts.as_deref().unwrap_or_default();
    let targets: BTreeSet<&str> = mounts.iter().filter_map(|mount| mount.target.as_deref()).collect();
    let wanted: BTreeSet<&str> = spec
        .volumes
        .values()
        .map(|volume| volume.mount.as_str())
        .chain(spec.files.keys().map(String::as_str))
        .collect();
    let tmpfs: BTreeSet<&str> = host.tmpfs.iter().flat_map(|all| all.keys().map(String::as_str)).collect();
    plain
        && mounts.len() == targets.len()
        && targets == wanted
        && mounts.iter().all(|mount| is_wanted(mount, spec))
        && tmpfs == spec.security.tmpfs.iter().map(String::as_str).collect::<BTreeSet<_>>()
}

fn is_wanted(mount: &Mount, spec: &Spec) -> bool {
    let target = mount.target.as_deref().unwrap_or_default();
    let Some(volume) = spec.volumes.values().find(|volume| volume.mount == target) else {
        return mount.typ == Some(MountType::BIND) && mount.read_only == Some(true); // a file of the release
    };
    let read_only = mount.read_only.unwrap_or(false) == volume.read_only;
    let source = mount.source.as_deref().unwrap_or_default();
    read_only
        && match &volume.host_path {
            // The bound folder is the one that the path led to when the container was made.
            Some(path) => {
                let real = std::fs::canonicalize(path).ok();
                mount.typ == Some(MountType::BIND)
                    && (source == path || real.is_some_and(|real| real.as_os_str() == source))
            }
            None => mount.typ == Some(MountType::VOLUME) && source.starts_with("windlass."),
        }
}

fn has_ports(host: &HostConfig, identity: &Identity, spec: &Spec) -> bool {
    let mut published = BTreeSet::new();
    for (port, bindings) in host.port_bindings.iter().flatten() {
        let inside = port.strip_suffix("/tcp").unwrap_or(port).to_owned();
        let outside = bindings.iter().flatten().map(|binding| binding.host_port.clone().unwrap_or_default());
        published.extend(outside.map(|outside| (inside.clone(), outside)));
    }
    let of = |(name, port): (&String, &windlass_core::release::Port)| {
        let host = port.host.or_else(|| identity.ports.get(name).copied()).unwrap_or(0);
        (port.container.to_string(), host.to_string())
    };
    published == spec.ports.iter().map(of).collect::<BTreeSet<_>>() && host.publish_all_ports != Some(true)
}

#[cfg(test)]
mod tests;
