//! What a manifest of the right shape may still get wrong. Everything is reported at once, each with
//! its position.

mod health;
mod paths;
mod run;
mod security;
mod strategy;
mod traffic;

pub(super) use security::capability;

use super::model::Manifest;
use super::node::{Node, display_path};
use super::problem::Problem;

/// Errors and warnings about one document.
pub(super) struct Findings<'a> {
    tree: &'a Node,
    pub(super) errors: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl<'a> Findings<'a> {
    fn problem(&self, path: &[&str], reason: String, hint: &str) -> Problem {
        Problem {
            at: self.tree.origin(path).clone(),
            path: display_path(path),
            reason,
            hint: (!hint.is_empty()).then(|| hint.to_owned()),
        }
    }

    fn error(&mut self, path: &[&str], reason: impl Into<String>, hint: &str) {
        let problem = self.problem(path, reason.into(), hint);
        self.errors.push(problem);
    }

    fn warning(&mut self, path: &[&str], reason: impl Into<String>, hint: &str) {
        let problem = self.problem(path, reason.into(), hint);
        self.warnings.push(problem);
    }
}

/// Checks a completed manifest; `tree` knows the positions.
pub(super) fn check<'a>(manifest: &Manifest, tree: &'a Node) -> Findings<'a> {
    let mut findings = Findings { tree, errors: Vec::new(), warnings: Vec::new() };
    run::check(manifest, &mut findings);
    security::check(manifest, &mut findings);
    paths::check(manifest, &mut findings);
    health::check(manifest, &mut findings);
    strategy::check(manifest, &mut findings);
    traffic::check(manifest, &mut findings);
    findings
}

/// A lowercase DNS label: names of ports and volumes, too.
fn is_label(text: &str) -> bool {
    text.parse::<crate::id::ServiceName>().is_ok()
}
