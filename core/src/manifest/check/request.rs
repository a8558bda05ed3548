//! A request and the answer that is wanted, wherever in a manifest they stand.

use std::collections::BTreeMap;

use crate::manifest::model::Manifest;
use crate::release::{
    self, MAX_ASKS, MAX_BODY, MAX_HEADERS, MAX_POINTERS, MAX_TIMEOUT, MAX_WANTED, StatusRange, is_header,
    is_method, is_pointer,
};
use crate::units::Span;

use super::Findings;

/// An entry of one of the lists, or a probe.
pub(super) struct Place<'p, 'a> {
    pub(super) key: &'static str,
    pub(super) index: String,
    pub(super) manifest: &'p Manifest,
    pub(super) findings: &'p mut Findings<'a>,
}

impl Place<'_, '_> {
    pub(super) fn error(&mut self, below: &[&str], reason: impl Into<String>, hint: &str) {
        let path: Vec<&str> = [self.key, &self.index].into_iter().chain(below.iter().copied()).collect();
        self.findings.error(&path, reason, hint);
    }

    /// Method, headers and body.
    pub(super) fn message(&mut self, method: &str, headers: &BTreeMap<String, String>, body: &str) {
        if !is_method(method) {
            self.error(&["method"], "is not the method of a request", "like `GET` or `POST`");
        }
        self.headers(&["headers"], headers);
        if body.len() > MAX_BODY {
            self.error(&["body"], format!("has more than {MAX_BODY} bytes"), "");
        }
    }

    pub(super) fn headers(&mut self, at: &[&str], headers: &BTreeMap<String, String>) {
        if headers.len() > MAX_HEADERS {
            self.error(at, format!("has more than {MAX_HEADERS} entries"), "");
        }
        for (name, _) in headers.iter().filter(|(name, value)| !is_header(name, value)).take(MAX_HEADERS) {
            let path: Vec<&str> = at.iter().copied().chain([name.as_str()]).collect();
            let hint = "visible ASCII, at most 4 KiB; length, encoding and connection are not the author's";
            self.error(&path, "is not a header that can be sent", hint);
        }
    }

    pub(super) fn expect(&mut self, expect: &release::Expect) {
        self.statuses(&expect.status);
        self.headers(&["expect", "headers"], &expect.headers);
        if expect.body.as_ref().is_some_and(|body| body.len() > MAX_BODY) {
            self.error(&["expect", "body"], format!("has more than {MAX_BODY} bytes"), "");
        }
        if expect.json.len() > MAX_POINTERS {
            self.error(&["expect", "json"], format!("has more than {MAX_POINTERS} entries"), "");
        }
        for (pointer, wanted) in &expect.json {
            let path = ["expect", "json", pointer.as_str()];
            if !is_pointer(pointer) {
                self.error(
                    &path,
                    "is not a JSON pointer",
                    "begins with `/`, like `/database` or `/checks/0/ok`",
                );
            } else if wanted.to_string().len() > MAX_WANTED {
                self.error(&path, format!("has more than {MAX_WANTED} bytes"), "");
            }
        }
        if let Some(within) = expect.within {
            self.time_at(&["expect", "within"], within, MAX_TIMEOUT);
        }
    }

    pub(super) fn statuses(&mut self, statuses: &[StatusRange]) {
        if statuses.len() > MAX_ASKS || !statuses.iter().all(|status| status.is_good()) {
            let reason = format!("is not a status from 100 to 599, or more than {MAX_ASKS} of them");
            self.error(&["expect", "status"], reason, "like `200` or `[200, 204]`");
        }
    }

    /// Checks TLS. Its certificates are read later; `named` says whether there is a name without any.
    pub(super) fn tls(&mut self, tls: Option<&release::Tls>, named: bool) {
        let Some(tls) = tls else { return };
        let of_file = tls.ca.as_deref();
        if of_file.is_some_and(|from| from.is_empty() || from.contains('\0')) {
            self.error(&["tls", "ca"], "is not the path of a file", "");
        }
        if tls.unverified && of_file.is_some() {
            let hint = "keep one of `ca` and `verify: off`";
            return self.error(&["tls", "ca"], "is of no use where no certificate is verified", hint);
        }
        if let Err((key, why)) = (release::Tls { ca: None, ..tls.clone() }).check(named) {
            let hint = "`name: api.internal`, a `Host` header, or `verify: off` for any certificate";
            self.error(&["tls", key], why, hint);
        }
    }

    pub(super) fn time_at(&mut self, at: &[&str], span: Span, most: Span) {
        if span < Span::from_millis(1) || span > most {
            self.error(at, format!("must be from 1ms to {most}"), "");
        }
    }
}
