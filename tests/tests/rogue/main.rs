//! A captured coordinator against a release build of the agent on a real engine: every refusal of the verification
//! order, one row of a table each. Of every row the same is asked: the refusal by its code, an engine that was told
//! nothing, a service that goes on serving, an agent that lives and takes the next honest plan.
//!
//! | file | steps |
//! |---|---|
//! | `peers` | 2: who is at the other end |
//! | `plans` | 1, 3 to 9: refusals of a whole plan |
//! | `releases` | 10: refusals of one slot for its release |
//! | `policy` | 11, 12: refusals of one slot by the host |
//! | `images` | 14: what a registry may not pass off |
//! | `routes` | 1 to 9 of a traffic table, and where an ingress leads nobody |
//! | `hooks` | 10: hooks that nobody signed, and one that was, named twice |
//! | `later` | 8 to 10 with a past: restarts, epochs, trust documents, quarantine |
//! | `coverage` | whether every code is provoked by one of them |

#![expect(clippy::unwrap_used, reason = "every function here is part of a test")]

mod coverage;
mod hooks;
mod images;
mod later;
mod peers;
mod plans;
mod policy;
mod releases;
mod routes;
mod slots;

use windlass_core::observation::Refusal;

/// Fails unless it is the refusal that was expected. The detail tells apart what shares a code.
fn check(refusal: &Refusal, code: &str, detail: &str) -> Result<(), String> {
    if refusal.code.as_str() == code && refusal.detail.contains(detail) {
        Ok(())
    } else {
        Err(format!("refused as `{refusal}`, expected `{code}: …{detail}…`"))
    }
}

/// Fails with every row that went wrong.
#[track_caller]
fn conclude(rows: usize, wrong: &[String]) {
    assert!(wrong.is_empty(), "{} of {rows} went wrong:\n{}", wrong.len(), wrong.join("\n"));
}
