//! `doctor`: looks at each thing an agent needs and says what to do about those that are not right.

mod checks;
mod engine;
mod finding;

use std::fmt::Write as _;

use crate::config::Config;

pub use finding::{Finding, Verdict};

/// Looks at everything, in the order in which an agent needs it.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mut found = vec![checks::policy(config), engine::check(config).await];
    found.extend(checks::memory());
    found.extend(checks::disks(config).await);
    found.push(checks::gpus(config).await);
    match checks::Joined::load(config) {
        Ok(joined) => {
            found.push(Finding::ok("membership", joined.describe()));
            found.push(joined.address(config));
            found.push(joined.state());
            found.push(joined.clock());
            found.push(joined.trust());
            found.push(joined.certificate());
            found.push(joined.agent());
            found.push(joined.coordinator(config).await);
        }
        Err(finding) => found.push(finding),
    }
    found.push(checks::ports(config));
    found
}

/// For a terminal: one line per check, hints below.
pub fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{verdict:<5} {:<12} {}", finding.check, finding.detail);
        if let Some(hint) = &finding.hint {
            let _ = writeln!(text, "      {:<12} hint: {hint}", "");
        }
    }
    text
}

/// Whether something failed.
pub fn is_unwell(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.verdict == Verdict::Fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_read_well() {
        let findings = [
            Finding::ok("policy", "1 registry"),
            Finding::warn("disk", "/ is 91 % full", "remove images"),
            Finding::fail("engine", "no answer", Some("start it".to_owned())),
        ];
        insta::assert_snapshot!(table(&findings), @r"
        ok    policy       1 registry
        WARN  disk         / is 91 % full
                           hint: remove images
        FAIL  engine       no answer
                           hint: start it
        ");
        assert!(is_unwell(&findings) && !is_unwell(&findings[..2]));
    }

    #[tokio::test]
    async fn a_bare_host_is_told_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data: dir.path().join("agent"),
            engine: format!("unix://{}", dir.path().join("no.sock").display()),
            policy: dir.path().join("policy.toml"),
            server: None,
            ingress_socket: None,
            metrics: None,
        };
        let findings = examine(&config).await;
        for check in ["policy", "engine", "membership"] {
            let finding = findings.iter().find(|finding| finding.check == check).unwrap();
            assert_eq!(finding.verdict, Verdict::Fail, "{check}");
            assert!(finding.hint.is_some(), "{check}");
        }
    }
}
