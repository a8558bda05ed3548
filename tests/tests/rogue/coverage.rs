//! Every refusal there is, provoked by one of the tables. A code that is added has to find its attack.

use std::collections::BTreeSet;

use windlass_core::observation::RefusalCode;

use super::{images, later, peers, plans, policy, releases};

#[test]
fn every_refusal_is_provoked_on_the_released_agent() {
    let rows = plans::ROWS.iter().map(|row| row.1);
    let rows = rows.chain(releases::ROWS.iter().map(|row| row.1)).chain(policy::ROWS.iter().map(|row| row.1));
    let provoked: BTreeSet<&str> =
        rows.chain([images::CODE, peers::CODE, later::QUARANTINED, later::CHECK_FAILED]).collect();
    let all: BTreeSet<&str> = RefusalCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(provoked, all, "by the tables, and by the code");
}
