//! Words for audit entries, and the signed checkpoints that anchor them. The chain itself is pure and in
//! core; entries join it in the transaction that does what they say.

mod checkpoints;

use std::fmt::Display;

use windlass_core::Digest;
use windlass_core::audit::Fact;

pub(crate) use checkpoints::{Checkpoints, anchor};

/// Something that was done.
pub(crate) fn ok(actor: &str, verb: &'static str, subject: &impl Display) -> Fact {
    fact(actor, verb, subject, None, "ok")
}

/// Something that was done to a document, or refused.
pub(crate) fn fact(
    actor: &str,
    verb: &'static str,
    subject: &impl Display,
    digest: Option<Digest>,
    outcome: &str,
) -> Fact {
    Fact { actor: actor.to_owned(), verb, subject: subject.to_string(), digest, outcome: outcome.to_owned() }
}
