//! The gates of a rollout, with the newest verdict of each.

use serde::{Deserialize, Serialize};

use crate::gate::{GateCourse, Newest};
use crate::rollout::Rollout;
use crate::service::Releases;
use crate::time::Timestamp;

/// A gate of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GateView {
    /// Its name.
    pub gate: String,
    /// The step that it is asked in.
    pub step: u32,
    /// Windows of the step that have passed.
    pub passed: u32,
    /// Windows that have to.
    #[serde(default)]
    pub desired: u32,
    /// `desired`, as version 0.1 names it.
    #[schemars(extend("deprecated" = true))]
    pub wanted: u32,
    /// Whether it decides nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Whether a person has to know that its provider could not be asked for 10 min.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pages: bool,
    /// The newest verdict; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Newest>,
}

/// The gates of the step that a rollout is at.
pub(super) fn gates(rollout: &Rollout, releases: &Releases, now: Timestamp) -> Vec<GateView> {
    let (Some(course), Some(release)) = (&rollout.gates, releases.get(&rollout.to.digest)) else {
        return Vec::new();
    };
    // After a resume the course has no step, until its next window begins in the one that was taken last.
    let taken = rollout.shift.as_ref().map_or(1, |shift| shift.taken.max(1));
    let view = |(name, of): (&String, &GateCourse)| {
        let gate = release.spec.gates.get(name)?;
        Some(GateView {
            gate: name.clone(),
            step: if course.step == 0 { taken } else { course.step },
            // More may pass, while another gate is waited for.
            passed: of.passes.min(gate.passes),
            desired: gate.passes,
            wanted: gate.passes,
            dry_run: gate.dry_run,
            pages: of.pages(now) && !rollout.state.is_final(),
            newest: of.newest.clone(),
        })
    };
    course.gates.iter().filter_map(view).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::{at, fleet, reference, release, steady};
    use crate::gate::Course;
    use crate::rollout::{Kind, Target, start};

    /// A gate that asks two windows, with a course at `step` in which `passes` have passed; `taken` steps are taken.
    fn shown(step: u32, taken: u32, passes: u32) -> GateView {
        let gates = json!({ "errors": { "ask": { "error_rate": { "max": 10, "min_requests": 100, "baseline": true } }, "window": "20s", "passes": 2, "fails": 2 } });
        let new = release(2, |json| {
            json["version"] = 4.into();
            json["spec"]["gates"] = gates;
        });
        let (service, _, mut releases) = steady(&release(1, |_| {}), 1, &mut fleet(1));
        let to = reference(&new);
        let target = Target {
            release: to,
            kind: Kind::Deploy,
            actor: "operator/alice".to_owned(),
            supersede: false,
            retry_quarantined: false,
        };
        let id = "0193ab00-0000-7000-8000-000000000001".parse().unwrap();
        let (_, mut rollout, _) = start(&service, None, target, id, at(1)).unwrap();
        releases.insert(to.digest, new);
        let mut course = Course::begin(None, (step, at(1)), Default::default());
        course.gates.insert("errors".to_owned(), GateCourse { passes, ..GateCourse::default() });
        rollout.gates = Some(course);
        let mut shift = crate::rollout::Shift::new(at(1));
        shift.taken = taken;
        rollout.shift = Some(shift);
        super::gates(&rollout, &releases, at(9)).remove(0)
    }

    #[test]
    fn a_gate_shows_the_step_that_is_taken_after_a_resume() {
        assert_eq!(shown(2, 2, 0).step, 2);
        assert_eq!(shown(0, 3, 0).step, 3, "the course has no step until its next window");
        assert_eq!(shown(0, 0, 0).step, 1, "steps count from 1");
    }

    #[test]
    fn no_more_windows_have_passed_than_are_wanted() {
        assert_eq!((shown(1, 1, 1).passed, shown(1, 1, 3).passed), (1, 2));
    }
}
