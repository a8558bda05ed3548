//! `status`.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{Cell, Color};
use windlass_core::host::Liveness;
use windlass_core::observation::InstanceState;
use windlass_core::time::display_duration;
use windlass_core::traffic::Weight;
use windlass_core::view::{
    HostProblems, InstanceView, Problem, RolloutView, SharesView, StatusView, WatchView,
};
use windlass_core::{Counter, EnvironmentId, Timestamp};

use super::{ago, fields, grid, or_dash, printable, state, usage};
use crate::printer::Colour;

/// All services; `elsewhere` is the one environment that is shown, with the number of services in others.
pub(crate) fn services(
    services: &[StatusView],
    elsewhere: Option<(&EnvironmentId, usize)>,
    colour: Colour,
) -> String {
    if services.is_empty() {
        return match elsewhere {
            Some((environment, others @ 1..)) => {
                format!("no services in {environment}; {others} in other environments\n")
            }
            Some(_) | None => {
                "no services yet, or none that you may see; make one with `windlass deploy -f FILE`\n"
                    .to_owned()
            }
        };
    }
    let row = |status: &StatusView| {
        let (cpu, memory) = usage::of_service(status);
        vec![
            Cell::new(format!("{}/{}", status.environment, status.service)),
            Cell::new(or_dash(status.release)),
            state(standing(status)),
            Cell::new(healthy(status)),
            Cell::new(status.restarts),
            Cell::new(cpu),
            Cell::new(memory),
            Cell::new(standing_in_doubt(status)),
            Cell::new(or_dash(status.image.as_ref())),
            Cell::new(why(status)),
        ]
    };
    let rows = services.iter().map(row).collect();
    let headers =
        ["SERVICE", "RELEASE", "STATE", "HEALTHY", "RESTARTS", "CPU", "MEM", "SERVING", "IMAGE", "WHY"];
    grid(&headers, rows, colour)
}

/// The first reason why the service is not as desired.
fn why(status: &StatusView) -> String {
    status.why().map_or_else(|| "-".to_owned(), |why| printable(&why))
}

/// One service with its instances; `last` is its newest rollout, where nothing runs.
pub(crate) fn service(
    status: &StatusView,
    last: Option<&RolloutView>,
    now: Timestamp,
    colour: Colour,
) -> String {
    let mut text = fields(&[
        ("service", Some(format!("{}/{}", status.environment, status.service))),
        ("release", Some(or_dash(status.release))),
        ("last good", status.good.filter(|good| Some(*good) != status.release).map(|good| good.to_string())),
        ("image", status.image.clone()),
        ("state", Some(standing(status).replace('_', " "))),
        ("waiting", Some(status.waiting.join(", ")).filter(|text| !text.is_empty())),
        ("rollout", status.rollout.as_ref().map(ToString::to_string)),
        ("reason", status.reason.as_deref().map(printable)),
        ("traffic", status.traffic.map(|shares| shared(shares, now))),
        ("watched", status.watch.map(watched)),
        ("healthy", Some(format!("{} of {}{}", status.healthy, status.desired, in_doubt(status)))),
        ("serving", Some(standing_in_doubt(status))),
    ]);
    if let Some(rollout) = status.rollout.as_ref().filter(|_| status.state == "paused") {
        text.push_str(&format!(
            "\nits rollout is paused: go on with `windlass rollout resume {rollout}`, or back with `windlass rollout abort {rollout}`\n"
        ));
    }
    if status.instances.is_empty() {
        // While a rollout prepares hosts there is no instance yet; conditions are shown all the same.
        if status.rollout.is_some() {
            text.push_str("\nno instances yet: its rollout goes on.\n");
        } else {
            text.push_str(&no_instances(status, last));
        }
        text.push_str(&super::conditions(&status.conditions, now));
        text.push_str(&problems(status));
        return text;
    }
    let row = |instance: &InstanceView| {
        let endpoints: Vec<String> =
            instance.endpoints.iter().map(|(name, address)| format!("{name}={address}")).collect();
        let host = match instance.host_state.as_str() {
            "connected" => instance.host.to_string(),
            gone => format!("{} ({gone})", instance.host),
        };
        let (cpu, memory) = usage::of_instance(instance);
        vec![
            Cell::new(instance.slot.index),
            Cell::new(host),
            Cell::new(instance.release),
            standing_of(instance, now),
            Cell::new(or_dash(instance.since.map(|at| ago(at, now)))),
            Cell::new(instance.restarts),
            Cell::new(cpu),
            Cell::new(memory),
            Cell::new(or_dash(instance.last_exit.map(|exit| format!("{exit}, {}", ago(exit.at, now))))),
            Cell::new(if endpoints.is_empty() { "-".to_owned() } else { endpoints.join(" ") }),
            Cell::new(if instance.instance.is_empty() { "-" } else { &instance.instance }),
        ]
    };
    let headers = [
        "SLOT",
        "HOST",
        "RELEASE",
        "STATE",
        "SINCE",
        "RESTARTS",
        "CPU",
        "MEM",
        "LAST EXIT",
        "ENDPOINTS",
        "INSTANCE",
    ];
    text.push('\n');
    text.push_str(&grid(&headers, status.instances.iter().map(row).collect(), colour));
    text.push_str(&super::conditions(&status.conditions, now));
    text.push_str(&problems(status));
    for instance in status.instances.iter().filter(|instance| !instance.gpus.is_empty()) {
        let (slot, host, gpus) = (instance.slot.index, &instance.host, instance.gpus.join(", "));
        let line = format!("slot {slot} on {host}, {}: GPU {gpus}", instance.release);
        text.push('\n');
        text.push_str(&super::printable(&line));
    }
    if status.instances.iter().any(|instance| !instance.gpus.is_empty()) {
        text.push('\n');
    }
    for instance in &status.instances {
        if let Some(refusal) = &instance.refused {
            text.push_str(&format!(
                "\nslot {} is refused by {}: {refusal}\n",
                instance.slot.index, instance.host
            ));
        }
    }
    text
}

/// The reason why nothing runs, where no rollout is active: the outcome of the last one, or where to look.
fn no_instances(status: &StatusView, last: Option<&RolloutView>) -> String {
    let service = format!("{}/{}", status.environment, status.service);
    match last {
        Some(last) => {
            let state = last.state.as_str().replace('_', " ");
            let reason =
                last.reason.as_ref().map(|reason| format!(": {}", printable(reason))).unwrap_or_default();
            format!(
                "\nno instances: {} {state}{reason}; see `windlass rollout show {service}`.\n",
                last.release
            )
        }
        None => format!(
            "\nno instances. `windlass rollout ls {service}` shows its rollouts, `windlass host ls` the hosts, and \
             `windlass plan -f FILE` where a deploy would put it.\n"
        ),
    }
}

/// The shares of two releases, and until when the one without traffic is kept warm.
fn shared(shares: SharesView, now: Timestamp) -> String {
    let SharesView { release, weight, other, alone, warm_until } = shares;
    let warm = if weight == Weight::ALL { Some(other) } else { (weight == Weight::NONE).then_some(release) };
    let until = warm.zip(warm_until).map(|(warm, until)| {
        let left = display_duration(Duration::from_secs(until.since(now).as_secs()));
        format!("; {warm} stays warm for {left}")
    });
    let alone = self::alone(alone, (release, other));
    format!("{release} {weight}, {other} {}{}{alone}", weight.rest(), until.unwrap_or_default())
}

/// The end of a sentence about shares, where one of the two releases has every request all the same.
pub(super) fn alone(alone: Option<Counter>, (new, old): (Counter, Counter)) -> String {
    let Some(serves) = alone else { return String::new() };
    let silent = if serves == new { old } else { new };
    format!("; {serves} has every request meanwhile: {silent} has no instance that answers")
}

/// Until when `rollback_on` looks at a release whose rollout is over.
fn watched(watch: WatchView) -> String {
    format!("until {}; {} goes back to {} if a trigger fires", watch.until, watch.release, watch.back_to)
}

/// An instance's state, and since when that is not known to be so any more.
pub(super) fn standing_of(instance: &InstanceView, now: Timestamp) -> Cell {
    let text = instance.state.as_str();
    match (&instance.doubt, instance.as_of) {
        (None, _) => state(text),
        (Some(_), Some(at)) => Cell::new(format!("{text}? ({})", ago(at, now))).fg(Color::Yellow),
        (Some(_), None) => Cell::new(format!("{text}?")).fg(Color::Yellow),
    }
}

/// The healthy instances of those that it is to have: `1/3 (2 unknown)`.
pub(crate) fn healthy(status: &StatusView) -> String {
    format!("{}/{}{}", status.healthy, status.desired, in_doubt(status))
}

/// The number of healthy instances whose state is unknown now.
fn in_doubt(status: &StatusView) -> String {
    match status.unknown {
        0 => String::new(),
        n => format!(" ({n} unknown)"),
    }
}

/// The problems of its hosts.
fn problems(status: &StatusView) -> String {
    let line = |of: &HostProblems| -> Vec<String> {
        let one = |problem: &Problem| format!("host {}: {}\n", of.host, printable(&problem.text));
        of.problems.iter().map(one).collect()
    };
    let lines: Vec<String> = status.problems.iter().flat_map(line).collect();
    if lines.is_empty() { String::new() } else { format!("\n{}", lines.concat()) }
}

/// The state; a service that nothing runs is not called steady.
fn standing(status: &StatusView) -> &str {
    if status.state == "steady" && status.instances.is_empty() { "no instances" } else { &status.state }
}

/// The releases that serve, and those that served when their host was last heard of: `1 × r6, unknown (last: 2 × r7)`.
fn standing_in_doubt(status: &StatusView) -> String {
    let mut last: BTreeMap<Counter, u32> = BTreeMap::new();
    for instance in &status.instances {
        if instance.state == InstanceState::Healthy && instance.host_state == Liveness::Lost {
            *last.entry(instance.release).or_default() += 1;
        }
    }
    match (status.serving.is_empty(), last.is_empty()) {
        (_, true) => serving(&status.serving),
        (true, false) => format!("unknown (last: {})", serving(&last)),
        (false, false) => format!("{}, unknown (last: {})", serving(&status.serving), serving(&last)),
    }
}

/// `2 × r7, 1 × r6`.
pub(super) fn serving(serving: &BTreeMap<Counter, u32>) -> String {
    let parts: Vec<String> =
        serving.iter().rev().map(|(release, count)| format!("{count} × {release}")).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}
