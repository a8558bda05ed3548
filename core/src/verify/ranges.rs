//! Step 6: values that decode and still make no sense. The detail names the field.

use super::malformed::{ensure, malformed};
use crate::id::Counter;
use crate::observation::Refusal;
use crate::plan::{HostPlan, PLAN_VERSION, PLAN_VERSIONS, PlanSlot};
use crate::policy::{normalise_path, normalise_repository};
use crate::release::{
    Check, File, MAX_DRAIN, MAX_GATES, MAX_HOLD, MAX_ROUTES, MAX_SLOW_START, Probe, RELEASE_VERSION,
    RELEASE_VERSIONS, Release, Scale, Spec, check_uses, is_gate_name, is_hook_name,
};
use crate::traffic::{is_host, is_path};

/// Most slots that a plan may list.
pub const MAX_SLOTS: usize = 1024;
/// Docker refuses a container with less.
const MIN_MEMORY: u64 = 6 << 20;

/// A plan of a version we read, whose slots are ordered and unique.
pub fn check_plan(plan: &HostPlan) -> Result<(), Refusal> {
    if !PLAN_VERSIONS.contains(&plan.version) {
        let detail = format!("`version` is {}, this agent reads up to {PLAN_VERSION}", plan.version);
        return Err(malformed(detail));
    }
    ensure(
        plan.version >= HostPlan::version_for(&plan.slots),
        "`generation`, `task` or `keeps_older` stands in a plan of a version that has none",
    )?;
    ensure(plan.seq > 0, "`seq` is 0")?;
    ensure(plan.expires_at > plan.issued_at, "`expires_at` is not after `issued_at`")?;
    ensure(
        plan.expires_at.since(plan.issued_at) <= super::MAX_PLAN_LIFE,
        "`expires_at` is more than 7 days after `issued_at`",
    )?;
    if plan.slots.len() > MAX_SLOTS {
        return Err(malformed(format!("`slots` has {} entries, more than {MAX_SLOTS}", plan.slots.len())));
    }
    ensure(
        plan.slots.windows(2).all(|pair| pair[0].slot < pair[1].slot),
        "`slots` are not in order, or one is listed twice",
    )?;
    plan.slots.iter().try_for_each(check_slot)
}

fn check_slot(slot: &PlanSlot) -> Result<(), Refusal> {
    let name = &slot.slot;
    let plain = |gpu: &String| (1..=100).contains(&gpu.len()) && gpu.bytes().all(|b| b.is_ascii_graphic());
    if slot.gpus.len() > 64 || !slot.gpus.iter().all(plain) {
        return Err(malformed(format!("`gpus` of {name} are not at most 64 device ids")));
    }
    let mut gpus: Vec<_> = slot.gpus.iter().collect();
    gpus.sort();
    gpus.dedup();
    if gpus.len() != slot.gpus.len() {
        return Err(malformed(format!("`gpus` of {name} name a device twice")));
    }
    if slot.task.as_ref().is_some_and(|task| !is_hook_name(&task.hook)) {
        return Err(malformed(format!("`task` of {name} names no hook")));
    }
    if slot.previous.as_ref().is_some_and(|previous| previous.release == slot.release) {
        return Err(malformed(format!("`previous` of {name} is the release itself")));
    }
    Ok(())
}

/// A release of a version we read, whose values an engine can be given.
pub fn check_release(release: &Release) -> Result<(), Refusal> {
    if !RELEASE_VERSIONS.contains(&release.version) {
        let detail = format!("`version` is {}, this agent reads up to {RELEASE_VERSION}", release.version);
        return Err(malformed(detail));
    }
    ensure(release.version >= release.spec.version(), "`version` is too low for what the release says")?;
    ensure(release.counter > Counter(0), "`counter` is 0")?;
    ensure(release.author.len() <= 256 && plain(&release.author), "`author` is too long or not plain text")?;
    let spec = &release.spec;
    image(spec)?;
    process(spec)?;
    ports_and_probes(spec)?;
    traffic(spec)?;
    super::strategy::check(spec)?;
    spec.rollback_on.check().map_err(|(key, bounds)| malformed(format!("`rollback_on.{key}` {bounds}")))?;
    gates(spec)?;
    super::asks::check(spec)?;
    super::hooks::check(&spec.hooks)?;
    check_uses(&spec.uses).map_err(|error| malformed(format!("`uses` {error}")))?;
    super::container::check(&spec.container)?;
    mounts(spec)?;
    let resources = &spec.resources;
    ensure(resources.cpu_millis > 0, "`resources.cpu_millis` is 0")?;
    ensure(resources.memory.bytes() >= MIN_MEMORY, "`resources.memory` is below 6MiB")?;
    ensure((1..=4_194_304).contains(&resources.pids), "`resources.pids` is not from 1 to 4194304")?;
    ensure(
        resources.gpus.is_none_or(|gpus| (1..=64).contains(&gpus.count)),
        "`resources.gpus` is not 1 to 64",
    )?;
    let scale = match spec.scale {
        Scale::Replicas { min, max } => min <= max && max <= 100_000,
        Scale::PerHost => true,
    };
    ensure(scale, "`scale` is not a range")?;
    ensure(
        spec.placement.require.len() <= 64 && spec.placement.hosts.len() <= 10_000,
        "`placement` is too long",
    )
}

fn image(spec: &Spec) -> Result<(), Refusal> {
    let image = &spec.image;
    let normal = normalise_repository(&image.repository).as_deref() == Ok(image.repository.as_str());
    ensure(normal && image.repository.contains('/'), "`image.repository` is not in its one spelling")?;
    ensure(image.reference.len() <= 512 && plain(&image.reference), "`image.reference` is too long")?;
    let parts = image.platform.split('/').count();
    let named = image
        .platform
        .split('/')
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    ensure((2..=3).contains(&parts) && named, "`image.platform` is not like `linux/amd64`")
}

fn process(spec: &Spec) -> Result<(), Refusal> {
    for words in [&spec.command, &spec.args].into_iter().flatten() {
        ensure(words.len() <= 1024 && words.iter().all(|word| !word.contains('\0')), "`command` or `args`")?;
    }
    ensure(spec.env.len() <= 4096, "`env` has more than 4096 variables")?;
    for (name, value) in &spec.env {
        let named = !name.is_empty() && !name.contains(['=', '\0']);
        ensure(named && !value.contains('\0'), "`env` has a name or value that no process can have")?;
    }
    if let Some(workdir) = &spec.workdir {
        absolute("workdir", workdir)?;
    }
    let security = &spec.security;
    if let Some(user) = &security.user {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
        ensure((1..=128).contains(&user.len()) && user.bytes().all(allowed), "`security.user`")?;
    }
    let capability = |name: &String| {
        (1..=64).contains(&name.len())
            && !name.starts_with("CAP_")
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let capabilities = &security.capabilities;
    ensure(
        capabilities.len() <= 64 && capabilities.iter().all(capability),
        "`security.capabilities` are written like `NET_BIND_SERVICE`",
    )
}

fn ports_and_probes(spec: &Spec) -> Result<(), Refusal> {
    ensure(spec.ports.len() <= 64, "`ports` has more than 64 entries")?;
    for (name, port) in &spec.ports {
        let named = (1..=63).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        ensure(named && port.container > 0 && port.host != Some(0), "`ports` has a bad name or port 0")?;
    }
    let main = spec.main_port.as_ref();
    ensure(main.is_none_or(|name| spec.ports.contains_key(name)), "`main_port` is not among `ports`")?;
    let health = &spec.health;
    for probe in [&health.startup, &health.readiness, &health.liveness].into_iter().flatten() {
        check_probe(spec, probe)?;
    }
    Ok(())
}

fn traffic(spec: &Spec) -> Result<(), Refusal> {
    let traffic = &spec.traffic;
    let within = |span: Option<crate::units::Span>, most| span.is_none_or(|span| span <= most);
    ensure(
        within(traffic.drain_timeout, MAX_DRAIN)
            && within(traffic.hold, MAX_HOLD)
            && within(traffic.slow_start, MAX_SLOW_START),
        "`traffic` has a time that is too long",
    )?;
    ensure(traffic.routes.len() <= MAX_ROUTES, "`traffic.routes` has more than 64 entries")?;
    let mut names = std::collections::BTreeSet::new();
    for route in &traffic.routes {
        ensure(
            is_host(&route.host) && is_path(&route.path),
            "`traffic.routes` has no host name with a path",
        )?;
        let port = spec.ports.get(&route.port).and_then(|port| port.protocol.routed());
        ensure(
            !route.preview || (spec.runs_beside() && !route.host.starts_with("*.")),
            "`traffic.routes` has a preview of nothing, or with a wildcard",
        )?;
        ensure(port.is_some(), "`traffic.routes` leads to a port that no request is routed to")?;
        ensure(names.insert((&route.host, &route.path)), "`traffic.routes` has a name twice")?;
    }
    Ok(())
}

fn gates(spec: &Spec) -> Result<(), Refusal> {
    ensure(spec.gates.len() <= MAX_GATES, "`gates` has more than 16 entries")?;
    for (name, gate) in &spec.gates {
        ensure(is_gate_name(name), "`gates` has a name that is not of a-z, 0-9, `-` and `_`")?;
        gate.check().map_err(|(key, bounds)| malformed(format!("`gates.{name}.{key}` {bounds}")))?;
    }
    Ok(())
}

fn check_probe(spec: &Spec, probe: &Probe) -> Result<(), Refusal> {
    let counted = (1..=10_000).contains(&probe.failures) && (1..=10_000).contains(&probe.successes);
    let often = probe.every.duration().as_millis() >= 100 && probe.timeout.duration().as_millis() >= 1;
    ensure(counted && often, "`health` has a probe that asks too often or counts to 0")?;
    match &probe.check {
        Check::Http { path, port } => {
            let written =
                path.starts_with('/') && path.len() <= 2048 && path.bytes().all(|b| b.is_ascii_graphic());
            ensure(written && spec.ports.contains_key(port), "`health` has a bad path or an unknown port")
        }
        Check::Request(asked) => super::asks::asked(spec, asked),
        Check::Tcp { port } => ensure(spec.ports.contains_key(port), "`health` names an unknown port"),
        Check::Exec { argv } => {
            let words = (1..=256).contains(&argv.len()) && argv.iter().all(|word| !word.contains('\0'));
            ensure(words, "`health` has a command without words")
        }
    }
}

fn mounts(spec: &Spec) -> Result<(), Refusal> {
    ensure(spec.volumes.len() <= 64 && spec.files.len() <= 256, "`volumes` or `files` has too many entries")?;
    let mut targets = Vec::new();
    for (name, volume) in &spec.volumes {
        let named = (1..=63).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        ensure(named, "`volumes` has a bad name")?;
        targets.push(absolute("volumes.mount", &volume.mount)?);
        if let Some(path) = &volume.host_path {
            absolute("volumes.host_path", path)?;
        }
    }
    for (path, File { content, mode }) in &spec.files {
        ensure(*mode <= 0o777, "`files` has a mode above 0777")?;
        ensure(is_base64(content), "`files` has content that is not base64")?;
        targets.push(absolute("files", path)?);
    }
    ensure(spec.security.tmpfs.len() <= 64, "`security.tmpfs` has too many entries")?;
    for path in &spec.security.tmpfs {
        targets.push(absolute("security.tmpfs", path)?);
    }
    let all = targets.len();
    targets.sort();
    targets.dedup();
    ensure(targets.len() == all, "two of `volumes`, `files` and `security.tmpfs` have one place")
}

fn absolute(field: &str, path: &str) -> Result<String, Refusal> {
    // A `:` would begin another field in an engine's short mount syntax.
    match normalise_path(path) {
        Ok(normal) if !path.contains(':') => Ok(normal),
        Ok(_) | Err(_) => Err(malformed(format!("`{field}` has a path that is not absolute and plain"))),
    }
}

fn plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Standard alphabet with padding. The decoder checks the rest when the file is written.
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    text.len().is_multiple_of(4) && text.len() - digits.len() <= 2 && digits.bytes().all(alphabet)
}
