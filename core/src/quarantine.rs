//! Contents that failed, and that hosts do not start again by themselves. Hosts keep their own quarantine; this reads what
//! they told of it from the rollouts that are remembered.

use std::collections::BTreeSet;

use crate::id::HostId;
use crate::observation::RefusalCode;
use crate::rollout::{Failure, Kind, Rollout, State};
use crate::service::Service;
use crate::view::QuarantineView;

/// The quarantined contents of a service, the oldest first. `rollouts` are those of the service, the oldest first.
pub fn of<'a>(service: &Service, rollouts: impl IntoIterator<Item = &'a Rollout>) -> Vec<QuarantineView> {
    let mut found: Vec<QuarantineView> = Vec::new();
    for rollout in rollouts.into_iter().filter(|rollout| rollout.service == service.id) {
        let content = rollout.to.content;
        // A retry takes the content out of the quarantine of its hosts; what fails then is noted anew.
        if rollout.retry_quarantined || rollout.state == State::Succeeded {
            found.retain(|known| known.content != content);
        }
        if rollout.kind == Kind::Restart || rollout.state == State::Succeeded {
            continue;
        }
        let refusing = rollout.failures.iter().filter(|failure| quarantines(failure));
        let hosts: BTreeSet<HostId> = refusing.clone().map(|failure| failure.host.clone()).collect();
        let Some(first) = refusing.clone().next() else { continue };
        match found.iter_mut().find(|known| known.content == content) {
            Some(known) => known.hosts.extend(hosts),
            None => found.push(QuarantineView {
                service: service.id.name.clone(),
                environment: service.id.environment.clone(),
                release: rollout.to.counter,
                content,
                hosts,
                since: first.evidence.as_ref().map_or(rollout.state_since, |evidence| evidence.at),
                rollout: rollout.id.clone(),
                reason: reason(first),
            }),
        }
    }
    let is_good = |content| service.good.iter().any(|good| good.content == content);
    found.retain(|known| !is_good(known.content) && !service.cleared.contains(&known.content));
    found
}

/// Returns whether its host quarantines the content for this failure.
fn quarantines(failure: &Failure) -> bool {
    let evidence = failure.evidence.as_ref();
    let failed = evidence.is_some_and(|of| of.fault.is_releases() && of.reason.quarantines());
    failed || failure.refusal.as_ref().is_some_and(|refusal| refusal.code == RefusalCode::Quarantined)
}

fn reason(failure: &Failure) -> String {
    match (&failure.evidence, &failure.refusal) {
        (Some(evidence), _) => evidence.words(),
        (None, Some(refusal)) => refusal.to_string(),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{at, fleet, reference, release, steady};
    use crate::id::Counter;
    use crate::observation::{FailureReason, Fault, Refusal};
    use crate::rollout::tests::midway::{deploy, evidence};
    use crate::rollout::{Target, start};

    /// A service at r1, and what a rollout to `counter` came to.
    fn failing(counter: u64, edit: impl FnOnce(&mut Rollout)) -> (Service, Rollout) {
        let (service, ..) = steady(&release(1, |_| {}), 1, &mut fleet(1));
        let next = release(counter, |json| json["spec"]["soak"] = "7s".into());
        let id = format!("0193ab00-0000-7000-8000-00000000000{counter}").parse().unwrap();
        let (service, mut rollout, _) = start(&service, None, deploy(&next, false), id, at(100)).unwrap();
        let failure = |host: &str| Failure {
            host: host.parse().unwrap(),
            slot: format!("{}/0", service.id).parse().unwrap(),
            evidence: Some(evidence(&next)),
            refusal: None,
        };
        (rollout.failures, rollout.state) = (vec![failure("h1"), failure("h2")], State::RolledBack);
        rollout.to.content = crate::digest::Digest::of(b"same");
        edit(&mut rollout);
        (service, rollout)
    }

    #[test]
    fn a_failure_is_quarantined_on_its_hosts() {
        let (service, rollout) = failing(2, |_| {});
        let found = of(&service, [&rollout]);
        let [one] = &found[..] else { panic!("{found:?}") };
        assert_eq!((one.release, one.since, one.hosts.len()), (Counter(2), at(108), 2));
        assert_eq!(one.reason, "the process exited with code 1");
        let (_, other) = failing(3, |rollout| rollout.failures[0].host = "h9".parse().unwrap());
        let both = of(&service, [&rollout, &other]);
        assert_eq!((both.len(), both[0].hosts.len(), both[0].release), (1, 3, Counter(2)), "one content");
    }

    type Edit = fn(&mut Rollout);

    #[test]
    fn some_failures_are_no_quarantine() {
        let table: [(&str, Edit); 8] = [
            ("the device's fault", |r| {
                r.failures.iter_mut().for_each(|f| f.evidence.as_mut().unwrap().fault = Fault::Device)
            }),
            ("the host's fault", |r| {
                r.failures.iter_mut().for_each(|f| f.evidence.as_mut().unwrap().fault = Fault::Host)
            }),
            ("a port that a stranger has", |r| {
                let taken = FailureReason::PortTaken { port: 80 };
                r.failures.iter_mut().for_each(|f| f.evidence.as_mut().unwrap().reason = taken.clone());
            }),
            ("a pull that its host refuses", |r| {
                let pull = FailureReason::PullFailed { message: "host policy".to_owned() };
                r.failures.iter_mut().for_each(|f| f.evidence.as_mut().unwrap().reason = pull.clone());
            }),
            ("a restart", |r| r.kind = Kind::Restart),
            ("a success in the end", |r| r.state = State::Succeeded),
            ("no failure", |r| r.failures.clear()),
            ("another refusal", |r| {
                let refusal = Refusal { code: RefusalCode::NoRoom, detail: "full".to_owned() };
                r.failures.iter_mut().for_each(|f| (f.evidence, f.refusal) = (None, Some(refusal.clone())));
            }),
        ];
        for (case, edit) in table {
            let (service, rollout) = failing(2, edit);
            assert!(of(&service, [&rollout]).is_empty(), "{case}");
        }
        let (service, refused) = failing(2, |r| {
            let refusal = Refusal { code: RefusalCode::Quarantined, detail: "failed before".to_owned() };
            r.failures.iter_mut().for_each(|f| (f.evidence, f.refusal) = (None, Some(refusal.clone())));
        });
        assert_eq!(of(&service, [&refused]).len(), 1, "the host says so itself");
    }

    #[test]
    fn what_is_cleared_or_good_is_quarantined_no_more() {
        let (mut service, rollout) = failing(2, |_| {});
        let (_, retry) = failing(3, |r| (r.retry_quarantined, r.state) = (true, State::Succeeded));
        assert!(of(&service, [&rollout, &retry]).is_empty(), "a retry succeeded");
        let (_, retry) =
            failing(3, |r| (r.retry_quarantined, r.failures[0].host) = (true, "h3".parse().unwrap()));
        let found = of(&service, [&rollout, &retry]);
        assert_eq!(
            (found[0].release, found[0].hosts.len()),
            (Counter(3), 2),
            "a retry that failed begins anew"
        );
        service.cleared.insert(rollout.to.content);
        assert!(of(&service, [&rollout]).is_empty(), "a person cleared it");
        // The next rollout uses it up, and is a retry.
        let target = Target { release: rollout.to, ..deploy(&release(3, |_| {}), false) };
        service.rollout = None;
        let id = "0193ab00-0000-7000-8000-000000000009".parse().unwrap();
        let (next, begun, _) = start(&service, None, target, id, at(200)).unwrap();
        assert!(begun.retry_quarantined && next.cleared.is_empty());
        let (mut service, rollout) = failing(2, |_| {});
        service.good.push(rollout.to);
        assert!(of(&service, [&rollout]).is_empty(), "it was good once");
        let other = release(9, |_| {});
        assert_ne!(reference(&other).content, rollout.to.content);
    }
}
