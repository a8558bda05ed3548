//! Services and their newest rollouts.

use std::collections::BTreeMap;
use std::fmt;

use windlass_core::Timestamp;
use windlass_core::rollout::{Kind, Reason, Rollout, Waiting};
use windlass_core::view::StatusView;

use super::out::{Out, count, number, seconds, yes};

/// A service, and what moved it last.
#[derive(Debug)]
pub(super) struct Service {
    view: StatusView,
    environment: String,
    name: String,
    conditions: BTreeMap<String, usize>,
    rollout: Option<Newest>,
}

/// Its newest rollout.
#[derive(Debug)]
struct Newest {
    state: &'static str,
    is_final: bool,
    created_at: Timestamp,
    state_since: Timestamp,
    step: Option<u32>,
    /// Whether a trigger began it, after the release that it leaves had succeeded.
    is_triggered: bool,
    release: u64,
    /// The things that it waits for, by kind.
    waits: BTreeMap<String, usize>,
}

impl Service {
    pub(super) const fn view(&self) -> &StatusView {
        &self.view
    }

    fn labels(&self) -> [(&'static str, &str); 2] {
        [("environment", &self.environment), ("service", &self.name)]
    }
}

/// A service as `status` shows it, with its newest rollout and what that waits for.
pub(super) fn look(view: StatusView, rollout: Option<&Rollout>, waiting: &[Waiting]) -> Service {
    let mut conditions = BTreeMap::new();
    for condition in &view.conditions {
        *conditions.entry(condition.code.clone()).or_insert(0) += 1;
    }
    let mut waits = BTreeMap::new();
    for waiting in waiting {
        *waits.entry(waiting.kind()).or_insert(0) += 1;
    }
    let rollout = rollout.map(|rollout| Newest {
        state: rollout.state.as_str(),
        is_final: rollout.state.is_final(),
        created_at: rollout.created_at,
        state_since: rollout.state_since,
        step: rollout.shift.as_ref().map(|shift| shift.taken),
        is_triggered: rollout.kind == Kind::Rollback
            && matches!(rollout.reason, Some(Reason::Trigger { .. })),
        release: rollout.to.counter.0,
        waits,
    });
    let (environment, name) = (view.environment.to_string(), view.service.to_string());
    Service { view, environment, name, conditions, rollout }
}

pub(super) fn write(out: &mut Out<'_>, services: &[Service], now: Timestamp) -> fmt::Result {
    /// Writes a gauge of each service that has the figure.
    macro_rules! each {
        ($name:literal, $help:literal, |$service:ident| $value:expr) => {
            let of = |$service: &Service| -> Option<f64> { $value };
            let samples = services.iter().filter_map(|service| Some((service.labels(), of(service)?)));
            out.gauge($name, $help, samples)?;
        };
    }
    let states = services.iter().map(|service| {
        let [environment, name] = service.labels();
        ([environment, name, ("state", service.view.state.as_str())], 1.0)
    });
    out.gauge("service_state", "The state of a service, which is 1", states)?;
    each!("service_release", "Number of the release that it is at or moves to", |of| of
        .view
        .release
        .map(|release| number(release.0)));
    each!("service_wanted_instances", "Instances that it is to have", |of| Some(f64::from(of.view.wanted)));
    each!("service_minimum_instances", "Instances that are to be healthy, in a rollout too", |of| Some(
        f64::from(of.view.minimum)
    ));
    each!("service_healthy_instances", "Instances that are healthy", |of| Some(f64::from(of.view.healthy)));
    each!("service_available_instances", "Slots that were healthy for min ready", |of| Some(f64::from(
        of.view.available
    )));
    each!("service_in_doubt_instances", "Healthy ones whose host is silent", |of| Some(f64::from(
        of.view.in_doubt
    )));
    each!("service_instance_restarts", "Restarts of the instances that it has now", |of| Some(f64::from(
        of.view.restarts
    )));
    each!("service_cpu_cores", "Cores that its instances use", |of| {
        let used: Vec<f64> = of.view.instances.iter().filter_map(|i| i.cpu_percent).collect();
        (!used.is_empty()).then(|| used.iter().sum::<f64>() / 100.0)
    });
    each!("service_memory_bytes", "Memory that its instances use", |of| {
        let used: Vec<u64> = of.view.instances.iter().filter_map(|i| i.memory_used).collect();
        (!used.is_empty()).then(|| number(used.iter().fold(0, |sum, used| sum.saturating_add(*used))))
    });
    let serving = services.iter().flat_map(|service| {
        service.view.serving.iter().map(move |(release, healthy)| {
            let [environment, name] = service.labels();
            let text = |(key, value): (&'static str, &str)| (key, value.to_owned());
            ([text(environment), text(name), ("release", release.to_string())], f64::from(*healthy))
        })
    });
    out.gauge("service_serving_instances", "Healthy instances by release", serving)?;
    let conditions = services.iter().flat_map(|service| {
        service.conditions.iter().map(move |(code, found)| {
            let [environment, name] = service.labels();
            ([environment, name, ("code", code.as_str())], count(*found))
        })
    });
    out.gauge("service_conditions", "What is wrong with its instances and slots, by code", conditions)?;

    let newest = services.iter().filter_map(|service| Some((service, service.rollout.as_ref()?)));
    let states = newest.map(|(service, rollout)| {
        let [environment, name] = service.labels();
        ([environment, name, ("state", rollout.state)], 1.0)
    });
    out.gauge("rollout_state", "The state of the newest rollout of a service, which is 1", states)?;
    let waits = services.iter().filter_map(|service| Some((service, service.rollout.as_ref()?)));
    let waits = waits.flat_map(|(service, rollout)| {
        rollout.waits.iter().map(move |(kind, found)| {
            let [environment, name] = service.labels();
            ([environment, name, ("kind", kind.as_str())], count(*found))
        })
    });
    out.gauge("rollout_waits", "Things that the active rollout of a service waits for, by kind", waits)?;
    each!("rollout_active", "Whether a rollout of the service is active", |of| Some(yes(of
        .rollout
        .as_ref()
        .is_some_and(|rollout| !rollout.is_final))));
    each!("rollout_triggered", "Whether a trigger began it, to leave a release that had succeeded", |of| {
        Some(yes(of.rollout.as_ref()?.is_triggered))
    });
    each!("rollout_release", "Number of the release that the newest rollout goes to", |of| Some(number(
        of.rollout.as_ref()?.release
    )));
    each!("rollout_step", "Steps that its traffic has taken", |of| of.rollout.as_ref()?.step.map(f64::from));
    each!("rollout_start_timestamp_seconds", "When it was made, since the epoch", |of| Some(seconds(
        of.rollout.as_ref()?.created_at
    )));
    each!("rollout_state_timestamp_seconds", "When it came to its state, since the epoch", |of| Some(
        seconds(of.rollout.as_ref()?.state_since)
    ));
    each!("rollout_duration_seconds", "From its making to its end, or to now", |of| {
        let rollout = of.rollout.as_ref()?;
        let end = if rollout.is_final { rollout.state_since } else { now };
        Some(end.since(rollout.created_at).as_secs_f64())
    });
    Ok(())
}
