//! The waits of a rollout, in words.

use super::*;
use crate::observation::{Cause, NotReady};

#[test]
fn a_wait_for_a_probe_names_its_question() {
    let (service, slots, releases, active, mut fleet) = midway();
    let (slot, assignment) = slots.iter().nth(1).unwrap();
    let (host, slot) = (assignment.host().clone(), slot.clone());
    let waiting = [Waiting::Healthy { host: host.clone(), slot }];
    let mut words = |why: NotReady| {
        let member = fleet.members.get_mut(&host).unwrap();
        let seen = Arc::make_mut(member.observation.as_mut().unwrap());
        let instances = seen.slots.iter_mut().flat_map(|seen| &mut seen.instances);
        instances.for_each(|instance| instance.vitals.not_ready = Some(why.clone()));
        rollout(&active, &service, &slots, &releases, &fleet, &waiting, at(90)).waiting.remove(0)
    };
    let why = NotReady {
        cause: Cause::Probe,
        asked: "readiness GET http://10.0.0.2:20000/health".to_owned(),
        answer: "HTTP 503".to_owned(),
        failed: 3,
        of: 3,
        since: at(80),
    };
    let said = words(why.clone());
    let want = format!(
        "slot 1 on {}, not ready (readiness GET http://10.0.0.2:20000/health → HTTP 503 since {}; rolls back at ",
        assignment.host(),
        at(80)
    );
    assert!(said.starts_with(&want), "{said}");
    let later = NotReady { failed: 4, of: 4, ..why };
    assert_eq!(words(later), said, "the same until something changes");
    let paused = words(NotReady::paused(at(80)));
    assert!(paused.contains("not ready (paused since "), "{paused}");
}
