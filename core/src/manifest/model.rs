//! The manifest as a person writes it, key by key. These types are the one description of it: the
//! JSON Schema, the check of the shape and the defaults all come from here.
//!
//! A key that carries `x-not-yet` is known and refused; its text says what works instead.

mod asks;
mod container;
mod gates;
mod health;
mod hooks;
mod http;
mod later;
mod parts;
mod scalar;
mod strategy;
mod triggers;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{EnvironmentId, ServiceName};
use crate::release::OnFailure;
use crate::units::{Size, Span};

use super::defaults;
pub(super) use asks::{Check, Smoke, WarmUp};
pub(super) use gates::Gate;
pub(super) use health::{Health, Probe};
pub(super) use hooks::{Hook, Hooks};
pub(super) use http::{Expect, Statuses, Tls, Verify};
pub(super) use later::Secret;
pub(super) use parts::{
    File, Gpus, OnLost, Placement, Port, Replicas, Resources, Route, Routes, Security, Volume,
};
pub(super) use scalar::{After, Cpu, Mode, Share, Text};
pub(super) use strategy::{BlueGreen, Canary, CanaryStep, Match, Rolling, StepKeys, Strategy};
pub(super) use triggers::{Failing, FailingIn, RollbackOn, Slow, SlowIn};

/// A service of a Windlass fleet: what runs, where, and how a new version replaces the old one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Windlass manifest")]
pub(super) struct Manifest {
    /// Name of the service, unique in its environment.
    #[schemars(schema_with = "scalar::label")]
    pub(super) service: ServiceName,
    /// Name of the job, instead of a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-not-yet" = "jobs come later; a `service` works now"))]
    pub(super) job: Option<String>,
    /// The environment; by default that of the context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::label")]
    pub(super) environment: Option<EnvironmentId>,
    /// The image, `host[:port]/path[:tag][@sha256:…]`. Pinned to a digest when the release is signed.
    #[schemars(extend("examples" = ["registry.example.com/web:1.5.2"]))]
    pub(super) image: String,
    /// Replaces the image's entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<Vec<String>>,
    /// Replaces the image's arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) args: Option<Vec<String>>,
    /// Working folder, absolute; by default the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) workdir: Option<String>,
    /// The number of instances, or a range in which the service may be scaled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = defaults::REPLICAS))]
    pub(super) replicas: Option<Replicas>,
    /// One instance on every host that the placement allows, instead of `replicas`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) per_host: bool,
    /// The hosts on which instances may run.
    #[serde(default)]
    pub(super) placement: Placement,
    /// Ports by name. The first one is the one probes mean when they name none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) ports: BTreeMap<String, Port>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) env: BTreeMap<String, Text>,
    /// Services of the same environment that it calls by name: `api` answers at `http://api:PORT`, with the port of its container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "scalar::labels", extend("examples" = [["api"]]))]
    pub(super) uses: Vec<ServiceName>,
    /// Secrets: files under /run/secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-not-yet" = "sealed secrets come later; now a folder of the host works: `volumes: { secrets: { mount: /run/app-secrets, host_path: …, read_only: true } }`"))]
    pub(super) secrets: Vec<Secret>,
    /// Files by absolute path in the container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) files: BTreeMap<String, File>,
    /// Volumes by name. A named volume pins its slot to the host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) volumes: BTreeMap<String, Volume>,
    /// Limits and requests.
    #[serde(default)]
    pub(super) resources: Resources,
    /// User, root file system, capabilities. All capabilities are dropped and no new privileges are
    /// gained, whatever stands here.
    #[serde(default)]
    pub(super) security: Security,
    /// Whether the engine's init process runs as process 1; `false` for an image that brings its own.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub(super) init: bool,
    /// Limits of its processes by name, like `nofile: 65536`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) ulimits: BTreeMap<String, container::Limit>,
    /// Size of `/dev/shm`; 64 MiB if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::size")]
    pub(super) shm_size: Option<Size>,
    /// The signal that stops it, like `SIGQUIT`; the image's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stop_signal: Option<String>,
    /// Labels of its containers, for other programs on the host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, Text>,
    /// Probes.
    #[serde(default, skip_serializing_if = "Health::is_empty")]
    pub(super) health: Health,
    /// Checks that a host makes before it starts the first instance of a new release: every one is made, and nothing is
    /// touched if one fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) checks: Vec<Check>,
    /// Requests that warm an instance up before it counts. Their answers decide nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) warm_up: Vec<WarmUp>,
    /// Smoke tests: requests that every new instance has to answer as said. One that fails rolls back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) smoke: Vec<Smoke>,
    /// Names under which clients reach it through the ingress: one, or a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) route: Option<Routes>,
    /// Time for requests that are under way when their instance is to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::span", extend("default" = "10m"))]
    pub(super) drain_timeout: Option<Span>,
    /// Time that a request may wait while a step of a rollout leaves no instance; by default it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::span")]
    pub(super) hold: Option<Span>,
    /// Over which time an instance that became healthy takes its full share of the requests; by default at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scalar::span")]
    pub(super) slow_start: Option<Span>,
    /// The way in which one release replaces another; `rolling` if nothing is said.
    #[serde(default)]
    pub(super) strategy: Strategy,
    /// Time for which the whole service is watched after the last step.
    #[serde(default = "defaults::soak")]
    #[schemars(schema_with = "scalar::span")]
    pub(super) soak: Span,
    /// Time that a rollout may go without progress.
    #[serde(default = "defaults::progress_deadline")]
    #[schemars(schema_with = "scalar::span")]
    pub(super) progress_deadline: Span,
    /// Time for a container to stop after SIGTERM before it is killed.
    #[serde(default = "defaults::stop_timeout")]
    #[schemars(schema_with = "scalar::span")]
    pub(super) stop_timeout: Span,
    /// The fate of the rest of the fleet when an instance failed.
    #[serde(default)]
    pub(super) on_failure: OnFailure,
    /// Triggers that bring the last good release back while a new one is on trial, and for some time after.
    #[serde(default)]
    pub(super) rollback_on: RollbackOn,
    /// The fate of slots when a host is lost.
    #[serde(default)]
    pub(super) on_lost: OnLost,
    /// Never two instances at once, even through a partition: the old one always stops first. A lost host's instance
    /// is replaced only when it must have stopped, which takes `on_lost.stop_isolated_after`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) exclusive: bool,
    /// Questions that the steps of a canary, or of `blue_green`, ask, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) gates: BTreeMap<String, Gate>,
    /// Commands that a rollout runs once, before it touches anything and after its last step.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub(super) hooks: Hooks,
    /// Channels told about the outcome.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-not-yet" = "the exit code and the last JSON line of `windlass deploy` say the outcome"))]
    pub(super) notify: Vec<String>,
    /// A rollback may not go past this release.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(extend("x-not-yet" = "it belongs to jobs, which come later"))]
    pub(super) irreversible: bool,
}

const fn yes() -> bool {
    true
}

// serde asks for a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Manifest {
    /// Everything that says how TLS is spoken, each with the place where it stands.
    pub(super) fn each_tls(&mut self, mut look: impl FnMut(&[String], &mut Tls)) {
        let lists = [
            ("warm_up", self.warm_up.iter_mut().map(|asked| &mut asked.tls).collect::<Vec<_>>()),
            ("smoke", self.smoke.iter_mut().map(|asked| &mut asked.tls).collect()),
            ("checks", self.checks.iter_mut().map(|asked| &mut asked.tls).collect()),
        ];
        for (list, all) in lists {
            for (index, tls) in all.into_iter().enumerate() {
                tls.iter_mut().for_each(|tls| look(&[list.to_owned(), index.to_string()], tls));
            }
        }
        let Health { startup, readiness, liveness, .. } = &mut self.health;
        for (key, probe) in [("startup", startup), ("readiness", readiness), ("liveness", liveness)] {
            let tls = probe.iter_mut().filter_map(|probe| probe.tls.as_mut());
            tls.for_each(|tls| look(&["health".to_owned(), key.to_owned()], tls));
        }
    }

    /// The routes, however they are written.
    pub(super) fn routes(&self) -> &[Route] {
        match &self.route {
            None => &[],
            Some(Routes::One(route)) => std::slice::from_ref(route),
            Some(Routes::Several(routes)) => routes,
        }
    }

    /// The name of the port with this number, for whoever names it by that.
    pub(super) fn port_called(&self, number: &str) -> Option<&str> {
        let number: u16 = number.parse().ok()?;
        let is_it = |port: &Port| match port {
            Port::Container(container) => *container == number,
            Port::Fixed(fixed) => fixed.container == number,
        };
        self.ports.iter().find(|(_, port)| is_it(port)).map(|(name, _)| name.as_str())
    }

    /// Fills in the defaults that depend on other keys; the others come with the types.
    pub(super) fn complete(&mut self, main_port: Option<&str>) {
        if self.replicas.is_none() && !self.per_host {
            self.replicas = Some(Replicas::Count(defaults::REPLICAS));
        }
        if self.strategy.is_empty() {
            self.strategy = Strategy::default();
        }
        self.health.complete(main_port);
        self.hooks.complete();
        self.warm_up.iter_mut().for_each(|warm_up| warm_up.complete(main_port));
        self.smoke.iter_mut().for_each(|smoke| smoke.complete(main_port));
    }
}
