//! What to do about a failure, where its kind says enough.

use windlass_core::observation::{Clock, FailureReason, RefusalCode};
use windlass_core::view::FailureView;

/// What to do next, in one line.
pub(super) fn of(failure: &FailureView) -> Option<String> {
    if let Some(refusal) = &failure.refused {
        return Some(refused(refusal.code).replace("HOST", failure.host.as_str()));
    }
    let evidence = failure.evidence.as_ref()?;
    let pull = match evidence.reason {
        FailureReason::PullStalled { .. } => "is the registry reachable from HOST, and its network sound?",
        _ if evidence.clock == Clock::Pull => {
            "does the image exist, and can HOST's engine reach the registry? Try `docker pull` there"
        }
        _ => return None,
    };
    Some(pull.replace("HOST", failure.host.as_str()))
}

/// What to do about a refusal. A host refuses nothing without a reason that somebody can look at.
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
            "HOST could not reach what the release needs: try it from there, then deploy again; nothing was touched there"
        }
        R::WrongImage => {
            "the registry answers HOST with other bytes than were signed: find out why before anything else"
        }
        R::Quarantined => {
            "this content failed on HOST before: fix it, or deploy it again with --retry-quarantined"
        }
        R::BelowFloor => "a newer release was made the least allowed one; see `windlass trust show`",
        R::Revoked => "the release or its key was revoked; see `windlass trust show`",
        R::WrongHost => "the labels of HOST changed: compare `windlass host show HOST` with the placement",
        R::UnsignedRelease | R::UnknownKey | R::BadSignature | R::BelowThreshold => {
            "compare who signed (`windlass release show`) with who may (`windlass trust show`)"
        }
        R::Expired | R::NotYetValid => {
            "look at the clocks of HOST and the coordinator, and at the expiry in `windlass trust show`"
        }
        R::Stale | R::Equivocation | R::WrongEpoch => {
            "was the coordinator restored from a backup, or are there two? On HOST, `windlass-agent inventory` says what it has"
        }
        R::WrongPeer | R::WrongAudience => {
            "something else than its coordinator speaks to HOST: look at its agent's log"
        }
        R::TooLarge | R::Malformed | R::WrongType => {
            "are agent and coordinator of versions that go together? See `windlass host show HOST`"
        }
    }
}
