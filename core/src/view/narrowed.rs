//! The part of a host that each operator may see. A host serves several environments; an operator of one of them sees
//! the host itself, and of the instances there only those of this environment.

use crate::host::HostStats;
use crate::id::{EnvironmentId, SlotId};

use super::condition::ConditionView;
use super::host::HostView;
use super::trouble::{self, Problem, Trouble};

/// Leaves in `view` what an operator may see who `sees` some environments, and not the fleet as a whole.
pub fn narrow(view: &mut HostView, sees: impl Fn(&EnvironmentId) -> bool) {
    let sees_slot = |slot: &SlotId| sees(&slot.service.environment);
    let sees_instance = |name: &str| environment_of(name).is_some_and(|environment| sees(&environment));
    let sees_service =
        |text: &str| text.split('/').next().and_then(|it| it.parse().ok()).is_some_and(|it| sees(&it));
    view.policy = None;
    view.recovery.clear();
    view.waiting.retain(|text| sees_service(text));
    // Its detail may name a slot of anybody; which rule was broken may be known.
    view.plan_refusal.iter_mut().for_each(|refusal| refusal.detail.clear());
    for holders in view.gpu_holders.values_mut() {
        holders.retain(|holder| sees_slot(&holder.slot));
    }
    view.gpu_holders.retain(|_, holders| !holders.is_empty());
    view.stats.iter_mut().for_each(|stats: &mut HostStats| {
        stats.instances.retain(|instance| sees_instance(&instance.instance));
    });
    view.problems.retain_mut(|problem| match &mut problem.trouble {
        Trouble::SlotRefused { slot, .. } => sees_slot(slot),
        Trouble::PlanRefused { refusal } => {
            refusal.detail.clear();
            *problem = Problem::from(problem.trouble.clone());
            true
        }
        Trouble::NotHeardOf { .. }
        | Trouble::NothingReported
        | Trouble::Recovering
        | Trouble::EngineUnavailable { .. }
        | Trouble::PlanNotTaken { .. }
        | Trouble::DiskFull { .. }
        | Trouble::Silent { .. }
        | Trouble::ClockSkew { .. }
        | Trouble::Cordoned
        | Trouble::Draining => true,
    });
    view.conditions.retain(|condition: &ConditionView| match (&condition.slot, &condition.instance) {
        (Some(slot), _) => sees_slot(slot),
        (None, Some(instance)) => sees_instance(instance),
        (None, None) => true,
    });
    view.host_conditions = trouble::of_host(&view.name, &view.problems, &view.conditions);
}

/// The environment of an instance: `production.web.0.r7.3`.
fn environment_of(instance: &str) -> Option<EnvironmentId> {
    instance.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::fleet::{Member, Scheduling};
    use crate::host::{HostFacts, InstanceStats, Liveness};
    use crate::observation::{Refusal, RefusalCode};
    use crate::view;
    use crate::view::{GpuHolder, Problem, Trouble};

    use super::*;

    /// A host that runs something of `production` and of `staging`, with a word of each in every field that has one.
    fn crowded() -> HostView {
        let member = Member {
            facts: std::sync::Arc::new(HostFacts::default()),
            liveness: Liveness::Connected,
            last_seen: None,
            isolated_for: None,
            scheduling: Scheduling::default(),
            recovering: false,
            issued_seq: 1,
            parts: std::sync::Arc::default(),
            observation: None,
            last_report: None,
            taken: crate::capacity::Taken::default(),
            has_ingress: false,
        };
        let name = "web-1".parse().unwrap();
        let stats =
            |text: &str| InstanceStats { instance: format!("{text}.db.0.r1.1"), ..InstanceStats::default() };
        let both = ["production", "staging"];
        let all = HostStats { instances: both.map(stats).to_vec(), ..HostStats::default() };
        let mut view = view::host(&name, &member, Some(&all));
        let refusal =
            |text: &str| Refusal { code: RefusalCode::Policy, detail: format!("{text}/db/0: registries") };
        let slot = |text: &str| format!("{text}/db/0").parse().unwrap();
        view.policy = Some(crate::host::HostPolicy::default());
        view.recovery = vec!["production/db: r5".to_owned()];
        view.waiting = both.map(|text| format!("{text}/db: the end of rollout 1")).to_vec();
        view.plan_refusal = Some(refusal("production"));
        let holder = |text: &str| GpuHolder { slot: slot(text), memory: None, standby: false };
        view.gpu_holders = BTreeMap::from([
            ("GPU-1".to_owned(), both.map(holder).to_vec()),
            ("GPU-2".to_owned(), vec![holder("production")]),
        ]);
        let refused = |text: &str| Trouble::SlotRefused { slot: slot(text), refusal: refusal(text) };
        view.problems = both.map(|text| Problem::from(refused(text))).to_vec();
        view.problems.push(Problem::from(Trouble::PlanRefused { refusal: refusal("production") }));
        view.host_conditions = trouble::of_host(&name, &view.problems, &view.conditions);
        let condition = |slot: Option<SlotId>, instance: Option<String>| ConditionView {
            code: "crash_loop".to_owned(),
            message: "it ends again and again".to_owned(),
            host: "web-1".parse().unwrap(),
            slot,
            instance,
            device: None,
            since: None,
            not_ready: None,
            last_exit: None,
        };
        view.conditions = both.iter().map(|text| condition(Some(slot(text)), None)).collect();
        view.conditions.extend(both.iter().map(|text| condition(None, Some(format!("{text}.db.0.r1.1")))));
        view.conditions.push(condition(None, None));
        view
    }

    #[test]
    fn of_other_environments_no_field_of_a_host_says_a_word() {
        let full = serde_json::to_string(&crowded()).unwrap();
        assert!(full.matches("production").count() >= 13, "{full}");
        let mut view = crowded();
        narrow(&mut view, |environment| environment.as_str() == "staging");
        let text = serde_json::to_string_pretty(&view).unwrap();
        assert!(!text.contains("production") && view.policy.is_none(), "{text}");
        let counts =
            (view.waiting.len(), view.problems.len(), view.host_conditions.len(), view.conditions.len());
        assert_eq!(counts, (1, 2, 3, 3), "{text}");
        assert_eq!(view.stats.as_ref().unwrap().instances.len(), 1);
        assert_eq!(view.gpu_holders.keys().collect::<Vec<_>>(), ["GPU-1"]);
        let mut view = crowded();
        narrow(&mut view, |_| false);
        let text = serde_json::to_string(&view).unwrap();
        assert!(!text.contains("production") && !text.contains("staging"), "{text}");
    }
}
