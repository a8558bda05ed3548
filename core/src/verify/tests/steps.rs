//! Numbers that only rise, and times, cannot be used up by whoever holds a key for a day.

use super::*;

#[test]
fn a_number_does_not_jump_to_where_no_other_can_follow() {
    let order = |seq, last: Option<u64>| {
        let plan = HostPlan { seq, ..plan() };
        let last = last.map(|seq| Committed { seq, digest: Digest::of(b"before") });
        plan_order(&plan, Digest::of(b"plan"), 1, last)
    };
    #[rustfmt::skip]
    let table = [
        (u64::MAX, Some(7), false), (8, Some(7), true), (7 + MAX_STEP, Some(7), true), (8 + MAX_STEP, Some(7), false),
        (u64::MAX, None, false), (MAX_FIRST, None, true), (MAX_FIRST + 1, None, false), (1, None, true),
        (u64::MAX, Some(u64::MAX - 1), true),
    ];
    for (seq, last, want) in table {
        let found = order(seq, last);
        assert_eq!(found.is_ok(), want, "{seq} after {last:?}");
        assert!(want || code(found) == Some(RefusalCode::Malformed));
    }
    // A host whose number was used up by an older program takes any of a new epoch.
    let plan = HostPlan { epoch: 2, seq: 1, ..plan() };
    assert!(plan_order(&plan, Digest::of(b"plan"), 2, None).is_ok());
}

#[test]
fn a_plan_lives_for_seven_days_at_most() {
    let week = Duration::from_secs(7 * 86_400);
    let mut plan = plan();
    plan.expires_at = plan.issued_at + week;
    assert!(check_plan(&plan).is_ok());
    plan.expires_at = plan.issued_at + week + Duration::from_millis(1);
    assert_eq!(code(check_plan(&plan)), Some(RefusalCode::Malformed));
}
