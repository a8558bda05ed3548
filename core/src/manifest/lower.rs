//! A checked manifest becomes the signed specification. Nothing can be wrong here any more.

mod asks;
mod canary;
mod gates;

use std::collections::BTreeMap;

use crate::id::ServiceName;
use crate::release::{self, Image, Scale, Spec};
use crate::traffic::Weight;
use crate::units::Span;

use super::check::capability;
use super::defaults;
use super::model::{
    After, Failing, FailingIn, Gpus, Hook, Hooks, Manifest, Port, Replicas, RollbackOn, Share, Slow, SlowIn,
    Text,
};

pub(super) use asks::{checks, probe, smoke, warm_up};
pub(super) use canary::{is_judged, rules};
pub(super) use gates::gates;

/// The specification, with the pinned image and the content of the files.
pub(super) fn lower(
    manifest: &Manifest,
    main_port: Option<&str>,
    image: Image,
    files: BTreeMap<String, release::File>,
) -> Spec {
    Spec {
        image,
        command: manifest.command.clone(),
        args: manifest.args.clone(),
        workdir: manifest.workdir.clone(),
        scale: scale(manifest),
        placement: release::Placement {
            require: texts(&manifest.placement.require),
            hosts: manifest.placement.hosts.clone(),
            spread: manifest.placement.spread,
        },
        ports: manifest.ports.iter().map(|(name, port)| (name.clone(), lower_port(*port))).collect(),
        main_port: main_port.map(str::to_owned),
        env: env(manifest),
        files,
        volumes: volumes(manifest),
        resources: resources(manifest),
        security: security(manifest),
        health: release::Health {
            startup: manifest.health.startup.as_ref().map(|said| probe(said, &defaults::STARTUP)),
            readiness: manifest.health.readiness.as_ref().map(|said| probe(said, &defaults::READINESS)),
            liveness: manifest.health.liveness.as_ref().map(|said| probe(said, &defaults::LIVENESS)),
            image: manifest.health.image,
        },
        strategy: strategy(manifest),
        soak: manifest.soak,
        progress_deadline: manifest.progress_deadline,
        stop_timeout: manifest.stop_timeout,
        on_failure: manifest.on_failure,
        rollback_on: rollback_on(&manifest.rollback_on),
        on_lost: release::OnLost {
            replace_after: after(manifest.on_lost.replace_after),
            stop_isolated_after: after(manifest.on_lost.stop_isolated_after),
            on_return: manifest.on_lost.on_return,
        },
        exclusive: manifest.exclusive,
        floor: None,
        traffic: traffic(manifest, main_port),
        warm_up: warm_up(manifest),
        smoke: smoke(manifest),
        checks: checks(manifest),
        gates: gates(manifest),
        hooks: hooks(manifest),
        uses: uses(manifest),
        container: container(manifest),
    }
}

fn container(manifest: &Manifest) -> release::ContainerOptions {
    release::ContainerOptions {
        init: manifest.init,
        ulimits: manifest.ulimits.iter().map(|(name, limit)| (name.clone(), limit.lower())).collect(),
        shm_size: manifest.shm_size,
        stop_signal: manifest.stop_signal.clone(),
        labels: texts(&manifest.labels),
    }
}

/// Names are signed in one order, whatever the order they were written in.
fn uses(manifest: &Manifest) -> Vec<ServiceName> {
    let mut uses = manifest.uses.clone();
    uses.sort();
    uses
}

fn hooks(manifest: &Manifest) -> release::Hooks {
    let lower = |hook: &Hook| release::Hook {
        name: hook.name.clone().unwrap_or_default(),
        run: hook.run.clone(),
        gpus: hook.gpus,
        timeout: hook.timeout,
        on: hook.on,
    };
    let Hooks { before, after } = &manifest.hooks;
    release::Hooks { before: before.iter().map(lower).collect(), after: after.iter().map(lower).collect() }
}

fn scale(manifest: &Manifest) -> Scale {
    match manifest.replicas {
        None if manifest.per_host => Scale::PerHost,
        None => Scale::Replicas { min: defaults::REPLICAS, max: defaults::REPLICAS },
        Some(Replicas::Count(count)) => Scale::Replicas { min: count, max: count },
        Some(Replicas::Range(range)) => Scale::Replicas { min: range.min, max: range.max },
    }
}

fn texts(map: &BTreeMap<String, Text>) -> BTreeMap<String, String> {
    map.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

/// `$${` stands for `${`: a value with `${NAME}` is refused, because nothing here replaces it.
fn env(manifest: &Manifest) -> BTreeMap<String, String> {
    texts(&manifest.env).into_iter().map(|(name, value)| (name, value.replace("$${", "${"))).collect()
}

fn lower_port(port: Port) -> release::Port {
    match port {
        Port::Container(container) => {
            release::Port { container, host: None, protocol: release::PortProtocol::Http }
        }
        Port::Fixed(fixed) => {
            release::Port { container: fixed.container, host: fixed.host, protocol: fixed.protocol }
        }
    }
}

/// Routes are signed in one order, whatever the order they were written in.
fn traffic(manifest: &Manifest, main_port: Option<&str>) -> release::Traffic {
    let lower = |route: &super::model::Route| release::Route {
        host: route.host.clone(),
        path: route.path.clone().unwrap_or_else(|| "/".to_owned()),
        port: route.port.as_deref().or(main_port).unwrap_or_default().to_owned(),
        preview: route.preview,
    };
    let mut routes: Vec<_> = manifest.routes().iter().map(lower).collect();
    routes.sort_by(|a, b| (&a.host, &a.path).cmp(&(&b.host, &b.path)));
    let (drain_timeout, hold, slow_start) = (manifest.drain_timeout, manifest.hold, manifest.slow_start);
    release::Traffic { routes, drain_timeout, hold, slow_start }
}

fn volumes(manifest: &Manifest) -> BTreeMap<String, release::Volume> {
    let lower = |(name, volume): (&String, &super::model::Volume)| {
        let lowered = release::Volume {
            mount: volume.mount.clone(),
            host_path: volume.host_path.clone(),
            read_only: volume.read_only,
            shared: volume.shared,
        };
        (name.clone(), lowered)
    };
    manifest.volumes.iter().map(lower).collect()
}

fn resources(manifest: &Manifest) -> release::Resources {
    let resources = &manifest.resources;
    let (count, memory) = match resources.gpus {
        None => (0, None),
        Some(Gpus::Count(count)) => (count, None),
        Some(Gpus::Shared(shared)) => (shared.count, shared.memory),
    };
    release::Resources {
        cpu_millis: resources.cpu.millis,
        memory: resources.memory,
        pids: resources.pids,
        gpus: (count > 0).then_some(release::Gpus { count, memory }),
    }
}

fn security(manifest: &Manifest) -> release::Security {
    let security = &manifest.security;
    let mut capabilities: Vec<String> = security.capabilities.iter().map(|name| capability(name)).collect();
    capabilities.sort();
    capabilities.dedup();
    release::Security {
        user: security.user.as_ref().map(|user| user.0.clone()),
        read_only_root: security.read_only_root,
        tmpfs: security.tmpfs.clone(),
        capabilities,
    }
}

/// The strategy of a manifest.
pub(super) fn strategy(manifest: &Manifest) -> release::Strategy {
    if let Some(recreate) = &manifest.strategy.recreate {
        return release::Strategy::Recreate { min_ready: recreate.min_ready };
    }
    if let Some(blue_green) = &manifest.strategy.blue_green {
        let mut steps: Vec<Weight> = blue_green.steps.iter().map(|share| share.0).collect();
        if steps.last() != Some(&Weight::ALL) {
            steps.push(Weight::ALL);
        }
        return release::Strategy::BlueGreen {
            steps,
            watch: blue_green.watch,
            keep_old: blue_green.keep_old,
            approve: blue_green.approve,
            min_ready: blue_green.min_ready,
        };
    }
    if let Some(canary) = &manifest.strategy.canary {
        return canary::lower(canary, manifest);
    }
    let rolling = manifest.strategy.rolling.clone().unwrap_or_default();
    release::Strategy::Rolling {
        batch: rolling.batch,
        max_surge: rolling.max_surge,
        max_unavailable: rolling.max_unavailable,
        order: rolling.order,
        min_ready: rolling.min_ready,
    }
}

pub(super) fn rollback_on(said: &RollbackOn) -> release::RollbackOn {
    let error_rate = said.error_rate.map(|rate| match rate {
        Failing::Share(Share(max)) => release::ErrorRate { max, min_requests: None, within: None },
        Failing::In(FailingIn { max: Share(max), min_requests, within }) => {
            release::ErrorRate { max, min_requests, within }
        }
    });
    let p95 = said.p95.map(|slow| match slow {
        Slow::Latency(max) => release::Latency { max, min_requests: None, within: None },
        Slow::In(SlowIn { max, min_requests, within }) => release::Latency { max, min_requests, within },
    });
    release::RollbackOn {
        restarts: said.restarts,
        unhealthy_for: said.unhealthy_for,
        crashes: said.crashes,
        gpu_errors: said.gpu_errors,
        error_rate,
        status_5xx: said.status_5xx.map(|most| release::Within { count: most.count, within: most.within }),
        p95,
        watch: said.watch,
    }
}

const fn after(after: After) -> Option<Span> {
    match after {
        After::Never => None,
        After::Span(span) => Some(span),
    }
}
