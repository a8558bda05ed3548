//! The request that creates a container: an allow-list of fields, hardened.

use std::collections::{BTreeMap, HashMap};

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, DeviceRequest, HealthConfig, HostConfig, HostConfigLogConfig,
    Mount, MountType, PortBinding, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use windlass_core::host::GpuAccess;
use windlass_core::network::gateway;
use windlass_core::reconcile::{GpuClaim, Launch, LocalHost};
use windlass_core::release::{ImageHealth, Spec, Ulimit, volume_name};

use super::super::access::CDI;
use super::super::{RuntimeError, labels, published_on};
use super::error::refused;

/// The request for a container. `files` are binds of files that lie on the host already.
pub(super) fn body(
    launch: &Launch,
    local: &LocalHost,
    access: &GpuAccess,
    files: Vec<Mount>,
) -> ContainerCreateBody {
    let release = &launch.release.release;
    let spec = &release.spec;
    let exposed = launch.ports.values().map(|port| format!("{}/tcp", port.container)).collect();
    // A hook's command takes the place of both.
    let (entrypoint, args) = match &launch.hook {
        Some(hook) => (Some(&hook.run), None),
        None => (spec.command.as_ref(), spec.args.as_ref()),
    };
    let seconds = spec.stop_timeout.duration().as_millis().div_ceil(1000);
    ContainerCreateBody {
        image: Some(launch.image.clone()),
        hostname: Some(hostname(launch)),
        entrypoint: entrypoint.cloned(),
        cmd: args.cloned(),
        working_dir: spec.workdir.clone(),
        user: spec.security.user.clone(),
        env: Some(
            variables(spec, &launch.gpus).iter().map(|(name, value)| format!("{name}={value}")).collect(),
        ),
        labels: Some(labels::of_launch(launch, local)),
        healthcheck: healthcheck(launch),
        exposed_ports: Some(exposed),
        stop_signal: spec.container.stop_signal.clone(),
        stop_timeout: Some(i64::try_from(seconds).unwrap_or(i64::MAX)),
        host_config: Some(host_config(launch, local, access, files)),
        ..Default::default()
    }
}

/// The variable by which NVIDIA's runtime and hook learn which devices a container gets. Images bring it with `all`.
pub(super) const DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";

/// The variables of a container. Where the engine's default runtime is NVIDIA's, a variable is all that it takes to get every
/// GPU of the host: what was signed counts, and nothing else.
pub(super) fn variables(spec: &Spec, gpus: &[GpuClaim]) -> BTreeMap<String, String> {
    let mut all = spec.env.clone();
    let uuids: Vec<&str> = gpus.iter().map(|gpu| gpu.uuid.as_str()).collect();
    all.insert(DEVICES.to_owned(), if uuids.is_empty() { "void".to_owned() } else { uuids.join(",") });
    all
}

/// The image's own HEALTHCHECK is not run where nobody looks at it.
fn healthcheck(launch: &Launch) -> Option<HealthConfig> {
    let spec = &launch.release.release.spec;
    let unasked = launch.hook.is_some()
        || spec.health.readiness.is_some()
        || spec.health.image == Some(ImageHealth::Off);
    unasked.then(|| HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() })
}

fn hostname(launch: &Launch) -> String {
    let slot = &launch.slot;
    let mut name = format!("{}-{}", slot.service.name, slot.index);
    name.truncate(63);
    name
}

fn host_config(launch: &Launch, local: &LocalHost, access: &GpuAccess, files: Vec<Mount>) -> HostConfig {
    let spec = &launch.release.release.spec;
    let memory = i64::try_from(spec.resources.memory.bytes()).unwrap_or(i64::MAX);
    let log = [("max-size", "10m"), ("max-file", "3")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let tmpfs = spec.security.tmpfs.iter().map(|path| (path.clone(), String::new()));
    HostConfig {
        memory: Some(memory),
        memory_swap: Some(memory), // no swap beside it
        nano_cpus: Some(i64::from(spec.resources.cpu_millis) * 1_000_000),
        pids_limit: Some(i64::from(spec.resources.pids)),
        init: Some(spec.container.init),
        shm_size: spec.container.shm_size.map(|size| i64::try_from(size.bytes()).unwrap_or(i64::MAX)),
        ulimits: ulimits(spec),
        privileged: Some(false),
        readonly_rootfs: Some(spec.security.read_only_root),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(spec.security.capabilities.clone()),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        network_mode: Some(launch.network.as_ref().map_or("bridge", |network| &network.name).to_owned()),
        extra_hosts: extra_hosts(launch),
        port_bindings: Some(ports(launch, local)),
        mounts: Some(volumes(launch, spec).chain(files).collect()),
        tmpfs: Some(tmpfs.collect()),
        device_requests: devices(launch, access),
        runtime: (!launch.gpus.is_empty() && *access == GpuAccess::Runtime).then(|| "nvidia".to_owned()),
        log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(log.into()) }),
        // A candidate: whoever starts it again is us, until it has proven itself.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        ..Default::default()
    }
}

/// The services that it calls by name: the ingress answers for each at the gateway of its network.
fn extra_hosts(launch: &Launch) -> Option<Vec<String>> {
    let gateway = gateway(launch.network.as_ref()?.subnet);
    let uses = &launch.release.release.spec.uses;
    Some(uses.iter().map(|name| format!("{name}:{gateway}")).collect())
}

/// Limits of the processes; the engine's own where nothing is said.
fn ulimits(spec: &Spec) -> Option<Vec<ResourcesUlimits>> {
    let limit = |(name, limit): (&String, &Ulimit)| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    };
    let limits = &spec.container.ulimits;
    (!limits.is_empty()).then(|| limits.iter().map(limit).collect())
}

/// Changes whether the engine starts a container again by itself.
pub(super) async fn set_policy(
    docker: &Docker,
    id: &str,
    name: RestartPolicyNameEnum,
) -> Result<(), RuntimeError> {
    let policy = RestartPolicy { name: Some(name), maximum_retry_count: None };
    let body = ContainerUpdateBody { restart_policy: Some(policy), ..Default::default() };
    docker.update_container(id, body).await.map_err(refused("update the restart policy"))
}

/// The published ports, on the addresses of [`published_on`].
fn ports(launch: &Launch, local: &LocalHost) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in launch.ports.values() {
        let all = bindings.entry(format!("{}/tcp", port.container)).or_default().get_or_insert_default();
        for host_ip in published_on(&local.address) {
            all.push(PortBinding {
                host_ip: Some((*host_ip).to_owned()),
                host_port: Some(port.host.to_string()),
            });
        }
    }
    bindings
}

fn volumes(launch: &Launch, spec: &Spec) -> impl Iterator<Item = Mount> {
    let service = &launch.slot.service;
    spec.volumes.iter().map(|(name, volume)| {
        let (typ, source) = match &volume.host_path {
            Some(path) => (MountType::BIND, path.clone()),
            None => (MountType::VOLUME, volume_name(service, name)),
        };
        Mount {
            target: Some(volume.mount.clone()),
            source: Some(source),
            typ: Some(typ),
            read_only: Some(volume.read_only),
            ..Default::default()
        }
    })
}

/// The devices that were signed, asked for in the way that the engine serves. A runtime of NVIDIA's reads the variable instead.
fn devices(launch: &Launch, access: &GpuAccess) -> Option<Vec<DeviceRequest>> {
    let ids = launch.gpus.iter().map(|gpu| gpu.uuid.clone());
    let request = match access {
        _ if launch.gpus.is_empty() => return None,
        GpuAccess::Runtime => return None,
        GpuAccess::Cdi => DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(ids.map(|uuid| format!("{CDI}{uuid}")).collect()),
            ..Default::default()
        },
        GpuAccess::Hook | GpuAccess::No(_) | GpuAccess::Unknown => DeviceRequest {
            device_ids: Some(ids.collect()),
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            ..Default::default()
        },
    };
    Some(vec![request])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(uuid: &str) -> GpuClaim {
        GpuClaim { uuid: uuid.to_owned(), memory: None }
    }

    #[test]
    fn options_of_a_container_are_set_where_they_were_signed() {
        use windlass_core::reconcile::{PlanNumber, VerifiedRelease};
        let local = windlass_testkit::plan::local("web-1", "127.0.0.1");
        let made = |edit: fn(&mut windlass_core::release::ContainerOptions)| {
            let mut release = crate::fixture::release(1);
            edit(&mut release.spec.container);
            let launch = Launch {
                plan: PlanNumber { epoch: 1, seq: 1 },
                slot: "production/web/0".parse().unwrap(),
                instance: "production.web.0.r1.1".to_owned(),
                release: std::sync::Arc::new(VerifiedRelease::new(windlass_core::Digest::of(b"r1"), release)),
                generation: 0,
                image: "sha256:1".to_owned(),
                side: 0,
                ports: BTreeMap::new(),
                gpus: Vec::new(),
                hook: None,
                network: None,
            };
            body(&launch, &local, &GpuAccess::Unknown, Vec::new())
        };
        let plain = made(|_| {});
        let host = plain.host_config.as_ref().unwrap();
        assert_eq!((host.init, host.shm_size, host.ulimits.is_none()), (Some(true), None, true));
        assert_eq!(plain.stop_signal, None);
        let all = made(|options| {
            options.init = false;
            options.shm_size = Some(windlass_core::Size::from_bytes(1 << 28));
            options.stop_signal = Some("SIGQUIT".to_owned());
            options.ulimits.insert("nofile".to_owned(), Ulimit { soft: 1024, hard: -1 });
            options.labels.insert("traefik.enable".to_owned(), "true".to_owned());
            options.labels.insert("windlass.host".to_owned(), "forged".to_owned());
        });
        let host = all.host_config.as_ref().unwrap();
        assert_eq!((host.init, host.shm_size), (Some(false), Some(1 << 28)));
        let limits = host.ulimits.clone().unwrap();
        assert_eq!(
            (limits[0].name.as_deref(), limits[0].soft, limits[0].hard),
            (Some("nofile"), Some(1024), Some(-1))
        );
        assert_eq!(all.stop_signal.as_deref(), Some("SIGQUIT"));
        let labels = all.labels.unwrap();
        assert_eq!(labels["traefik.enable"], "true");
        assert_eq!(labels["windlass.host"], local.host.to_string(), "ours are ours, whatever a release says");
    }

    #[test]
    fn a_container_gets_the_gpus_that_were_signed_and_no_others() {
        let mut spec = crate::fixture::release(1).spec;
        assert_eq!(variables(&spec, &[])[DEVICES], "void", "whatever its image says");
        spec.env.insert(DEVICES.to_owned(), "all".to_owned());
        assert_eq!(variables(&spec, &[])[DEVICES], "void", "whatever its release says");
        assert_eq!(variables(&spec, &[claim("GPU-1"), claim("GPU-2")])[DEVICES], "GPU-1,GPU-2");
    }
}
