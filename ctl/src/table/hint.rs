//! Hints for failures whose kind says enough.

use windlass_core::observation::{Clock, FailureReason, RefusalCode};
use windlass_core::view::FailureView;

/// The words of a program for `EPERM`, in lower case.
const NOT_PERMITTED: &str = "operation not permitted";
/// The next step where a program was refused something that root may do elsewhere.
const CAPABILITIES: &str = "a container has no capability that its manifest does not name. For an image that starts as root and changes \
     its user: `security: { capabilities: [CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID] }`; `capabilities` in the policy file of HOST \
     (default /etc/windlass/policy.toml) must allow them";

/// The next step, in one line.
pub(super) fn of(failure: &FailureView) -> Option<String> {
    if let Some(refusal) = &failure.refused {
        return Some(refused(refusal.code).replace("HOST", failure.host.as_str()));
    }
    let evidence = failure.evidence.as_ref()?;
    let lacks_right = |line: &String| line.to_ascii_lowercase().contains(NOT_PERMITTED);
    if evidence.log.iter().any(lacks_right) {
        return Some(CAPABILITIES.replace("HOST", failure.host.as_str()));
    }
    let pull = match &evidence.reason {
        FailureReason::PullStalled { .. } => "check the network between HOST and the registry",
        FailureReason::PullFailed { message } if message.starts_with("host policy: insecure_registries") => {
            "list the registry in `insecure_registries` of the policy file of HOST (default /etc/windlass/policy.toml), restart \
             the agent, and deploy again"
        }
        FailureReason::PullFailed { message } if message.starts_with("host policy: ") => {
            "the policy file of HOST forbids it (default /etc/windlass/policy.toml): change the manifest, or the policy, restart \
             the agent, and deploy again"
        }
        _ if evidence.clock == Clock::Pull => {
            "check that the image exists and that HOST's engine reaches the registry: `docker pull` there"
        }
        _ => return None,
    };
    Some(pull.replace("HOST", failure.host.as_str()))
}

/// The next step after a refusal.
const fn refused(code: RefusalCode) -> &'static str {
    use RefusalCode as R;
    match code {
        R::Policy => {
            "the policy file of HOST forbids it (default /etc/windlass/policy.toml): change the manifest, or \
             the policy and restart the agent"
        }
        R::NoRoom => {
            "see what HOST has and runs with `windlass host show HOST`; on it, `windlass-agent inventory`"
        }
        R::CheckFailed => {
            "HOST could not reach a dependency of the release: try it from there, then deploy again; nothing was touched there"
        }
        R::WrongImage => {
            "the registry answers HOST with other bytes than were signed: find out why before you deploy again"
        }
        R::Quarantined => {
            "this content failed on HOST before: fix it, or deploy it again with --retry-quarantined"
        }
        R::BelowFloor => {
            "the trust document allows only newer releases (`floors`): see `windlass trust show`"
        }
        R::Revoked => "the release or its key was revoked; see `windlass trust show`",
        R::WrongHost => "the labels of HOST changed: compare `windlass host show HOST` with the placement",
        R::UnsignedRelease | R::UnknownKey | R::BadSignature | R::BelowThreshold => {
            "compare the signers (`windlass release show`) with the trusted keys (`windlass trust show`)"
        }
        R::Expired | R::NotYetValid => {
            "check the clocks of HOST and the coordinator, and the expiry in `windlass trust show`"
        }
        R::Stale | R::Equivocation | R::WrongEpoch => {
            "check that only one coordinator runs; after a restore: `windlass host recover`; `windlass-agent inventory` on HOST shows the plan it has"
        }
        R::WrongPeer | R::WrongAudience => {
            "a program that is not its coordinator speaks to HOST: see the log of its agent"
        }
        R::TooLarge | R::Malformed | R::WrongType => {
            "check the versions of agent (`windlass host show HOST`) and coordinator (`windlass version`); upgrade the older one"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(clock: &str, reason: serde_json::Value, log: &[&str]) -> FailureView {
        super::super::tests::view(serde_json::json!({
            "host": "web-1", "slot": "default/web/0", "message": "it failed", "refused": null, "evidence": {
                "instance": null, "release": windlass_core::Digest::of(b"r").to_string(), "counter": "r1", "clock": clock,
                "reason": reason, "exit_code": null, "oom_killed": false, "restarts": 0,
                "at": "2026-11-22T12:10:00.000Z", "log": log, "probes": [],
            },
        }))
    }

    #[test]
    fn a_program_that_lacks_a_right_leads_to_capabilities() {
        let ended = |line: &str| {
            of(&failure("health", serde_json::json!({ "exited": { "code": 1 } }), &["start", line]))
        };
        for line in [
            "2026/11/29 12:00:00 [emerg] 1#1: chown(\"/var/cache/nginx/client_temp\", 101) failed (1: Operation not permitted)",
            "error: failed switching to \"postgres\": operation not permitted",
        ] {
            let hint = ended(line).unwrap();
            assert!(hint.contains("capabilities: [CHOWN") && hint.contains("policy file of web-1"), "{hint}");
        }
        assert_eq!(ended("no such file"), None);
    }

    #[test]
    fn readme_and_guide_name_the_capabilities_of_the_hint() {
        let list = CAPABILITIES.split_once('[').and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
        let readme = include_str!("../../../README.md");
        assert!(readme.contains(&format!("`security: {{ capabilities: [{list}] }}`")), "{list}");
        let guide: Vec<&str> = include_str!("../../../docs/guide.md").split_whitespace().collect();
        let guide = guide.join(" ");
        for words in [
            "`Operation not permitted` inside a container",
            "`NET_RAW` for `ping`",
            "`NET_BIND_SERVICE` for low ports",
        ] {
            assert!(guide.contains(words), "{words}");
        }
    }

    #[test]
    fn a_pull_that_the_policy_forbids_leads_to_the_policy() {
        let hint = |message: &str| {
            of(&failure("pull", serde_json::json!({ "pull_failed": { "message": message } }), &[])).unwrap()
        };
        let http = hint(
            "host policy: insecure_registries: the engine would ask `a:5000` in plain HTTP, and it is not listed",
        );
        assert!(http.contains("`insecure_registries` of the policy file of web-1"), "{http}");
        assert!(hint("host policy: max_image: 30GiB").contains("the policy file of web-1 forbids it"));
        assert!(hint("connection refused").contains("`docker pull` there"));
    }

    #[test]
    fn every_refusal_has_a_hint() {
        let lines: Vec<String> =
            RefusalCode::ALL.iter().map(|code| format!("{}: {}", code.as_str(), refused(*code))).collect();
        assert!(lines.iter().all(|line| !line.contains('?')), "a hint asks");
        insta::assert_snapshot!("hints", lines.join("\n"));
    }
}
