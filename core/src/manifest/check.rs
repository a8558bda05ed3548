//! The checks of a manifest that has the right shape. Every mistake is reported at once, with its position.

mod asks;
mod container;
mod findings;
mod gates;
mod gpus;
mod health;
mod hooks;
mod paths;
mod request;
mod run;
mod security;
mod strategy;
mod traffic;
mod triggers;
mod uses;

pub(super) use findings::Findings;
use findings::is_label;
pub(super) use security::capability;

use super::model::Manifest;
use super::node::Node;

/// Checks a completed manifest; `tree` knows the positions.
pub(super) fn check<'a>(manifest: &Manifest, tree: &'a Node) -> Findings<'a> {
    let mut findings = Findings::new(tree);
    run::check(manifest, &mut findings);
    security::check(manifest, &mut findings);
    container::check(manifest, &mut findings);
    paths::check(manifest, &mut findings);
    health::check(manifest, &mut findings);
    strategy::check(manifest, &mut findings);
    traffic::check(manifest, &mut findings);
    triggers::check(manifest, &mut findings);
    asks::check(manifest, &mut findings);
    gates::check(manifest, &mut findings);
    hooks::check(manifest, &mut findings);
    uses::check(manifest, &mut findings);
    findings
}
