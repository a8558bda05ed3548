//! Views as people and scripts get them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fixture::{at, fleet, reference, release, report, steady};
use crate::fleet::{FleetView, Scheduling};
use crate::host::Liveness;
use crate::observation::{EngineState, InstanceState, Refusal, RefusalCode};
use crate::placement::StopFirst;
use crate::plan::{Order, Phase, Previous};
use crate::rollout::{Failure, Kind, Reason, Rollout, State, Target, Waiting, start};
use crate::service::{Releases, Service, Slots};

use super::{Action, PreviewView, preview, rollout, status};

mod gpus;
mod waiting;

/// Three slots on three hosts in the middle of a rollout from r1 to r2: one is there, one is on its way, and
/// the third one's host is lost.
fn midway() -> (Service, Slots, Releases, Rollout, FleetView) {
    let mut fleet = fleet(3);
    let (service, mut slots, mut releases) = steady(&release(1, |_| {}), 3, &mut fleet);
    let next = release(2, |_| {});
    let (old, new) = (service.current.unwrap().digest, reference(&next));
    releases.insert(new.digest, next);
    let target = Target {
        release: new,
        kind: Kind::Deploy,
        actor: "ada".into(),
        supersede: false,
        retry_quarantined: false,
    };
    let (service, mut rollout, _) =
        start(&service, None, target, "00000007".parse().unwrap(), at(60)).unwrap();
    rollout.state = State::Advancing;
    rollout.changed = true;
    for (index, assignment) in slots.values_mut().enumerate() {
        assignment.edit(|want| {
            (want.release, want.good, want.fallback) = (new.digest, false, Some(old));
            want.phase = if index < 2 { Phase::Running } else { Phase::Pulled };
            let phase = if index == 0 { Phase::Standby } else { Phase::Running };
            want.previous = Some(Previous { release: old, phase });
        });
    }
    report(&slots, &releases, &mut fleet, InstanceState::Healthy);
    fleet.members.get_mut(&"h0002".parse().unwrap()).unwrap().liveness = Liveness::Lost;
    (service, slots, releases, rollout, fleet)
}

/// One line per field, digests left out: they change with every field of a release.
fn shown(view: impl serde::Serialize) -> String {
    let mut value = serde_json::to_value(view).unwrap();
    strip(&mut value);
    serde_json::to_string_pretty(&value).unwrap()
}

fn strip(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.retain(|name, _| name != "digest");
            fields.values_mut().for_each(strip);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(strip),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

#[test]
fn a_service_in_the_middle_of_a_rollout() {
    let (service, slots, releases, rollout, fleet) = midway();
    let view = status(&service, &slots, Some(&rollout), &releases, &fleet, &BTreeMap::new(), &[]);
    insta::assert_snapshot!(shown(&view), @r#"
    {
      "available": 2,
      "conditions": [],
      "desired": 3,
      "environment": "production",
      "good": "r1",
      "healthy": 2,
      "host_conditions": [
        {
          "code": "not_heard_of",
          "host": "h0002",
          "message": "lost: no contact since 1970-01-01T00:00:00.000Z; its data is of then",
          "since": "1970-01-01T00:00:00.000Z"
        }
      ],
      "image": "registry.lab:5000/web:v2",
      "in_doubt": 1,
      "instances": [
        {
          "container": "c0ffee",
          "endpoints": {
            "http": "10.0.0.1:20000"
          },
          "host": "h0000",
          "host_state": "connected",
          "id": "web.0.r2",
          "instance": "web.0.r2",
          "release": "r2",
          "restarts": 0,
          "since": "1970-01-01T00:00:05.000Z",
          "slot": "production/web/0",
          "state": "healthy"
        },
        {
          "container": "c0ffee",
          "endpoints": {
            "http": "10.0.0.1:20001"
          },
          "host": "h0001",
          "host_state": "connected",
          "id": "web.1.r2",
          "instance": "web.1.r2",
          "release": "r2",
          "restarts": 0,
          "since": "1970-01-01T00:00:05.000Z",
          "slot": "production/web/1",
          "state": "healthy"
        },
        {
          "as_of": "1970-01-01T00:00:00.000Z",
          "container": "c0ffee",
          "doubt": "lost: no contact since 1970-01-01T00:00:00.000Z; its data is of then",
          "endpoints": {
            "http": "10.0.0.1:20002"
          },
          "host": "h0002",
          "host_state": "lost",
          "id": "web.2.r1",
          "instance": "web.2.r1",
          "release": "r1",
          "restarts": 0,
          "since": "1970-01-01T00:00:05.000Z",
          "slot": "production/web/2",
          "state": "healthy"
        }
      ],
      "minimum": 2,
      "problems": [
        {
          "host": "h0002",
          "problems": [
            {
              "last_seen": "1970-01-01T00:00:00.000Z",
              "problem": "not_heard_of",
              "state": "lost",
              "text": "lost: no contact since 1970-01-01T00:00:00.000Z; its data is of then"
            }
          ]
        }
      ],
      "reason": null,
      "release": "r2",
      "replicas": null,
      "restarts": 0,
      "rollout": "00000007",
      "service": "web",
      "serving": {
        "r2": 2
      },
      "state": "advancing",
      "unknown": 1,
      "waiting": [],
      "wanted": 3
    }
    "#);
}

#[test]
fn a_rollout_that_failed_on_one_host() {
    let (service, slots, releases, mut active, fleet) = midway();
    active.state = State::Paused;
    active.reason =
        Some(Reason::SlotFailed("production/web/1 on host h0001: refused: no_room: memory".into()));
    let refusal = Some(Refusal { code: RefusalCode::NoRoom, detail: "memory".into() });
    let (slot, host) = ("production/web/1".parse().unwrap(), "h0001".parse().unwrap());
    active.failures.push(Failure { host, slot, evidence: None, refusal });
    let waiting = [Waiting::Person];
    let view = rollout(&active, &service, &slots, &releases, &fleet, &waiting, at(90));
    insta::assert_snapshot!(shown(&view), @r#"
    {
      "actor": "ada",
      "available": 2,
      "changed": true,
      "conditions": [],
      "created_at": "1970-01-01T00:01:00.000Z",
      "duration_ms": 30000,
      "environment": "production",
      "failures": [
        {
          "evidence": null,
          "host": "h0001",
          "message": "refused by the host: no_room: memory",
          "refused": {
            "code": "no_room",
            "detail": "memory"
          },
          "slot": "production/web/1"
        }
      ],
      "from": "r1",
      "kind": "deploy",
      "left": "r1",
      "outcome": "paused",
      "reason": "production/web/1 on host h0001: refused: no_room: memory",
      "release": "r2",
      "rollout": "00000007",
      "service": "web",
      "serving": {
        "r2": 2
      },
      "slots": [
        {
          "available": true,
          "host": "h0000",
          "host_state": "connected",
          "order": "start_first",
          "phase": "running",
          "pull": null,
          "refused": null,
          "release": "r2",
          "restarts": 0,
          "slot": "production/web/0",
          "state": "healthy"
        },
        {
          "available": true,
          "host": "h0001",
          "host_state": "connected",
          "order": "start_first",
          "phase": "running",
          "pull": null,
          "refused": null,
          "release": "r2",
          "restarts": 0,
          "slot": "production/web/1",
          "state": "healthy"
        },
        {
          "available": false,
          "host": "h0002",
          "host_state": "lost",
          "order": "start_first",
          "phase": "pulled",
          "pull": null,
          "refused": null,
          "release": "r2",
          "restarts": 0,
          "slot": "production/web/2",
          "state": null
        }
      ],
      "state": "paused",
      "state_since": "1970-01-01T00:01:00.000Z",
      "step": 0,
      "steps": 0,
      "stragglers": [],
      "total": 3,
      "waiting": [
        "manual action"
      ]
    }
    "#);
}

fn previewed(edit: impl FnOnce(&mut serde_json::Value), change: impl FnOnce(&mut FleetView)) -> PreviewView {
    let mut fleet = fleet(4);
    let (service, slots, releases) = steady(&release(1, |_| {}), 3, &mut fleet);
    change(&mut fleet);
    let next = release(2, edit);
    preview(&service, &slots, &releases, &fleet, &next, reference(&next).digest, at(60))
}

#[test]
fn a_plan_warns_of_the_problems_of_its_hosts() {
    let dead = |reason: &'static str| {
        move |fleet: &mut FleetView| {
            let member = fleet.members.get_mut(&"h0001".parse().unwrap()).unwrap();
            let mut seen = member.observation.as_deref().unwrap().clone();
            seen.engine = EngineState::Unavailable(reason.to_owned());
            member.observation = Some(Arc::new(seen));
        }
    };
    let edit = |json: &mut serde_json::Value| json["spec"]["env"] = serde_json::json!({ "A": "b" });
    let view = previewed(edit, dead("no answer"));
    let said: Vec<String> = view
        .problems
        .iter()
        .flat_map(|of| of.problems.iter().map(|problem| format!("{}: {}", of.host, problem.text)))
        .collect();
    assert_eq!(said, ["h0001: engine unavailable: no answer; the data of its containers is older"]);
    let [condition] = &view.host_conditions[..] else { panic!("{:?}", view.host_conditions) };
    assert_eq!((condition.host.as_str(), condition.code.as_str()), ("h0001", "engine_unavailable"));
    assert_eq!(
        view.digest,
        previewed(edit, dead("another word")).digest,
        "what comes and goes makes no plan stale"
    );
    assert!(previewed(edit, |_| {}).problems.is_empty());
}

/// A preview once had its own rule for the order, without the exclusiveness of the release that runs.
#[test]
fn a_plan_stops_an_exclusive_release_first_as_the_engine_does() {
    let mut fleet = fleet(2);
    let exclusive = |json: &mut serde_json::Value| json["spec"]["exclusive"] = true.into();
    let (service, slots, releases) = steady(&release(1, exclusive), 1, &mut fleet);
    let next =
        release(2, |json| json["spec"]["image"]["digest"] = serde_json::json!(crate::Digest::of(b"other")));
    let view = preview(&service, &slots, &releases, &fleet, &next, reference(&next).digest, at(60));
    let planned = view.slots.iter().find(|slot| slot.action == Action::Replace).expect("one is replaced");
    assert_eq!(planned.order, Some(Order::StopFirst));
    assert_eq!(planned.reason.as_deref(), Some(StopFirst::Exclusive.to_string().as_str()));
}

#[test]
fn a_release_that_moves_a_slot_and_stops_first() {
    let view = previewed(
        |json| {
            json["spec"]["image"]["digest"] = serde_json::json!(crate::Digest::of(b"other"));
            json["spec"]["ports"] = serde_json::json!({ "http": { "container": 80, "host": 8080 } });
        },
        |fleet| {
            fleet.members.get_mut(&"h0001".parse().unwrap()).unwrap().scheduling = Scheduling::Draining;
        },
    );
    insta::assert_snapshot!(shown(&view), @r#"
    {
      "changes": [
        {
          "new": "sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa",
          "old": "sha256:cd2662154e6d76b2b2b92e70c0cac3ccf534f9b74eb5b89819ec509083d00a50",
          "path": "image.digest"
        },
        {
          "new": "registry.lab:5000/web:v2",
          "old": "registry.lab:5000/web:v1",
          "path": "image.reference"
        },
        {
          "new": "80",
          "old": null,
          "path": "ports.http.container"
        },
        {
          "new": "8080",
          "old": null,
          "path": "ports.http.host"
        }
      ],
      "current": "r1",
      "environment": "production",
      "error": null,
      "refused": [
        {
          "host": "h0001",
          "reason": "the host is draining"
        }
      ],
      "release": "r2",
      "service": "web",
      "slots": [
        {
          "action": "replace",
          "host": "h0000",
          "order": "stop_first",
          "reason": "port 8080 of the host is fixed",
          "slot": "production/web/0"
        },
        {
          "action": "remove",
          "host": "h0001",
          "order": null,
          "reason": null,
          "slot": "production/web/1"
        },
        {
          "action": "replace",
          "host": "h0002",
          "order": "stop_first",
          "reason": "port 8080 of the host is fixed",
          "slot": "production/web/2"
        },
        {
          "action": "create",
          "host": "h0003",
          "order": null,
          "reason": null,
          "slot": "production/web/3"
        }
      ],
      "unchanged": false,
      "warnings": []
    }
    "#);
}

#[test]
fn a_release_that_fits_nowhere() {
    let view = previewed(|json| json["spec"]["image"]["platform"] = "linux/s390x".into(), |_| {});
    assert!(view.slots.is_empty());
    let error = view.error.unwrap();
    assert!(error.starts_with("no host takes it: h0000: its platform is linux/amd64"), "{error}");
    assert_eq!(view.refused.len(), 4);
}

#[test]
fn a_host_that_was_not_heard_of_yet_is_waited_for() {
    let view = previewed(
        |json| json["spec"]["scale"] = serde_json::json!({ "replicas": { "min": 60, "max": 60 } }),
        |fleet| {
            fleet.members.get_mut(&"h0003".parse().unwrap()).unwrap().liveness = Liveness::Unknown;
        },
    );
    assert_eq!(view.error, None);
    assert_eq!(view.warnings, ["waits for host h0003, which is unknown"]);
}

#[test]
fn the_same_content_again_is_unchanged_whatever_its_counter() {
    let view = previewed(
        |json| {
            let old = serde_json::to_value(release(1, |_| {})).unwrap();
            json["spec"] = old["spec"].clone();
        },
        |_| {},
    );
    assert!(view.unchanged && view.changes.is_empty());
    assert!(view.slots.iter().all(|slot| slot.action == super::Action::Keep));
}

#[test]
fn a_preview_is_a_digest_of_what_it_shows() {
    let same = || previewed(|_| {}, |_| {});
    assert_eq!(same().digest, same().digest);
    let other = previewed(|_| {}, |fleet| drop(fleet.members.pop_last()));
    assert_eq!(same().digest == other.digest, same() == other);
}

#[test]
fn what_is_shown_of_a_host_that_is_not_heard_of_says_so() {
    let (service, slots, releases, rollout, mut fleet) = midway();
    let shown =
        |fleet: &FleetView| status(&service, &slots, Some(&rollout), &releases, fleet, &BTreeMap::new(), &[]);
    for liveness in [Liveness::Unknown, Liveness::Suspect, Liveness::Lost] {
        fleet.members.values_mut().for_each(|member| member.liveness = liveness);
        let view = shown(&fleet);
        assert_eq!(view.in_doubt, 3, "{liveness:?}");
        for instance in &view.instances {
            let doubt = instance.doubt.as_deref().unwrap_or_else(|| panic!("{liveness:?}: {instance:#?}"));
            assert!(doubt.contains("no contact since"), "{doubt}");
            assert_eq!(instance.as_of, Some(at(0)), "{liveness:?}");
        }
        assert_eq!(view.problems.len(), 3, "{liveness:?}");
    }
    // A host that has connected and said nothing is not shown as pulling.
    for member in fleet.members.values_mut() {
        (member.liveness, member.observation) = (Liveness::Connected, None);
    }
    let view = shown(&fleet);
    assert!(view.instances.iter().all(|instance| instance.state == InstanceState::Unknown), "{view:#?}");
    assert_eq!((view.healthy, view.in_doubt), (0, 0));
    assert!(view.problems.iter().all(|of| of.problems[0].text.contains("has not reported yet")), "{view:#?}");
}

#[test]
fn a_neighbours_plan_is_no_problem_of_a_service() {
    let (service, slots, releases, rollout, mut fleet) = midway();
    for (since, problems) in [(0, 0), (9, 2)] {
        for member in fleet.members.values_mut() {
            member.issued_seq = 9;
            member.parts = std::sync::Arc::new(slots.keys().map(|slot| (slot.clone(), since)).collect());
        }
        let view = status(&service, &slots, Some(&rollout), &releases, &fleet, &BTreeMap::new(), &[]);
        let found = view.problems.iter().flat_map(|of| &of.problems);
        let behind = found.filter(|problem| problem.text.contains("the newest is 9")).count();
        // The third host is lost.
        assert_eq!(behind, problems, "its parts are of plan {since}: {:#?}", view.problems);
    }
}

#[test]
fn the_steps_of_a_canary_are_told_in_words() {
    let view = previewed(
        |json| {
            json["version"] = 4.into();
            json["spec"]["ports"] = serde_json::json!({ "http": { "container": 80 } });
            json["spec"]["main_port"] = "http".into();
            json["spec"]["strategy"] = serde_json::json!({ "canary": {
                "steps": [
                    { "weight": 0, "matches": [{ "on": "cookie", "name": "beta", "value": "1" }], "hold": "10m" },
                    { "weight": 250, "instances": 2, "gates": ["errors", "latency"], "approve": true },
                    { "weight": 1000 },
                ],
                "min_instances": 1, "keep_old": "10m", "min_ready": "5s"
            } });
        },
        |_| {},
    );
    assert_eq!(view.error, None);
    assert_eq!(
        view.steps,
        [
            "every new instance has to be healthy for 5s",
            "none of the traffic to 1 of 3 instances, and requests with cookie beta: 1, for 10m at least",
            "25% of the traffic to 2 of 3 instances, until gates errors, latency have passed, until another operator approves",
            "100% of the traffic to 3 of 3 instances",
            "the whole service is watched for 10s",
            "the old instances run on without traffic for 10m",
        ]
    );
}
