//! The findings of all checks, gathered in one place.

use super::super::node::{Node, display_path};
use super::super::problem::Problem;

/// Errors and warnings about one document.
pub(in crate::manifest) struct Findings<'a> {
    pub(super) tree: &'a Node,
    pub(in crate::manifest) errors: Vec<Problem>,
    pub(in crate::manifest) warnings: Vec<Problem>,
}

impl<'a> Findings<'a> {
    /// None yet; `tree` knows the positions.
    pub(super) const fn new(tree: &'a Node) -> Self {
        Self { tree, errors: Vec::new(), warnings: Vec::new() }
    }

    fn problem(&self, path: &[&str], reason: String, hint: &str) -> Problem {
        Problem {
            at: self.tree.origin(path).clone(),
            path: display_path(path),
            reason,
            hint: (!hint.is_empty()).then(|| hint.to_owned()),
        }
    }

    pub(super) fn error(&mut self, path: &[&str], reason: impl Into<String>, hint: &str) {
        let problem = self.problem(path, reason.into(), hint);
        self.errors.push(problem);
    }

    pub(super) fn warning(&mut self, path: &[&str], reason: impl Into<String>, hint: &str) {
        let problem = self.problem(path, reason.into(), hint);
        self.warnings.push(problem);
    }
}

/// A lowercase DNS label: names of ports and volumes, too.
pub(super) fn is_label(text: &str) -> bool {
    text.parse::<crate::id::ServiceName>().is_ok()
}
