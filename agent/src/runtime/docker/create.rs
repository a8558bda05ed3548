//! The request that creates a container: an allow-list of fields, hardened.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, DeviceRequest, HealthConfig, HostConfig, HostConfigLogConfig,
    Mount, MountType, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use windlass_core::reconcile::{Launch, LocalHost};
use windlass_core::release::{ImageHealth, Spec, volume_name};

use super::super::{RuntimeError, labels};
use super::error::refused;

/// What the engine is asked for. `files` are binds of files that lie on the host already.
pub(super) fn body(launch: &Launch, local: &LocalHost, files: Vec<Mount>) -> ContainerCreateBody {
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
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(labels::of_launch(launch, local)),
        healthcheck: healthcheck(launch),
        exposed_ports: Some(exposed),
        stop_timeout: Some(i64::try_from(seconds).unwrap_or(i64::MAX)),
        host_config: Some(host_config(launch, local, files)),
        ..Default::default()
    }
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

fn host_config(launch: &Launch, local: &LocalHost, files: Vec<Mount>) -> HostConfig {
    let spec = &launch.release.release.spec;
    let memory = i64::try_from(spec.resources.memory.bytes()).unwrap_or(i64::MAX);
    let log = [("max-size", "10m"), ("max-file", "3")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let tmpfs = spec.security.tmpfs.iter().map(|path| (path.clone(), String::new()));
    HostConfig {
        memory: Some(memory),
        memory_swap: Some(memory), // no swap beside it
        nano_cpus: Some(i64::from(spec.resources.cpu_millis) * 1_000_000),
        pids_limit: Some(i64::from(spec.resources.pids)),
        init: Some(true),
        privileged: Some(false),
        readonly_rootfs: Some(spec.security.read_only_root),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(spec.security.capabilities.clone()),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        network_mode: Some("bridge".to_owned()),
        port_bindings: Some(ports(launch, local)),
        mounts: Some(volumes(launch, spec).chain(files).collect()),
        tmpfs: Some(tmpfs.collect()),
        device_requests: devices(launch),
        log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(log.into()) }),
        // A candidate: whoever starts it again is us, until it has proven itself.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        ..Default::default()
    }
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

/// On loopback only if that is where the host is reached; else on every address.
fn ports(launch: &Launch, local: &LocalHost) -> HashMap<String, Option<Vec<PortBinding>>> {
    let loopback = local.address == "localhost"
        || local.address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let host_ip = if loopback { "127.0.0.1" } else { "0.0.0.0" };
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in launch.ports.values() {
        let binding =
            PortBinding { host_ip: Some(host_ip.to_owned()), host_port: Some(port.host.to_string()) };
        let all = bindings.entry(format!("{}/tcp", port.container)).or_default();
        all.get_or_insert_default().push(binding);
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

fn devices(launch: &Launch) -> Option<Vec<DeviceRequest>> {
    let ids: Vec<String> = launch.gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
    (!ids.is_empty()).then(|| {
        vec![DeviceRequest {
            device_ids: Some(ids),
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            ..Default::default()
        }]
    })
}
