//! Many services deployed at once, and when each of their rollouts came how far.

use std::path::PathBuf;
use std::time::Duration;

use windlass_core::Timestamp;

use crate::cli::Running;
use crate::fleet::{Fleet, path};
use crate::service::Service;

/// Services that were deployed at once, and their times.
#[derive(Debug)]
pub struct Many {
    /// From the first submission that was taken to the end of the last rollout.
    pub total: Duration,
    /// From the last slot that was begun to the end, of each service: how long it was soaked.
    pub soaks: Vec<Duration>,
}

impl Many {
    /// Deploys `count` services of one instance, made by `service`, with a command each and all at once.
    ///
    /// # Panics
    /// If a rollout does not succeed.
    #[track_caller]
    pub fn deploy(fleet: &Fleet, count: usize, service: impl Fn(usize) -> Service) -> Self {
        let name = |n: usize| format!("many-{n}");
        let files: Vec<_> = (0..count)
            .map(|n| {
                let service = service(n).with("service", name(n));
                service.write(&fleet.folder, &format!("{}.yaml", name(n)))
            })
            .collect();
        let deploy =
            |file: &PathBuf| fleet.cli.start(&["deploy", "-f", path(file), "--timeout", "2m", "-o", "json"]);
        let running: Vec<Running> = files.iter().map(deploy).collect();
        for command in running {
            let end = command.wait().expect_code(0).last();
            assert_eq!(end["outcome"], "succeeded", "{end}");
        }
        let moments: Vec<_> = (0..count).map(|n| Moments::of(fleet, &name(n))).collect();
        let first = moments.iter().map(|moments| moments.started).min().unwrap_or_default();
        let last = moments.iter().map(|moments| moments.ended).max().unwrap_or_default();
        let soaks = moments.iter().map(|moments| moments.ended.since(moments.soaking)).collect();
        Self { total: last.since(first), soaks }
    }

    /// The longest soak.
    pub fn longest(&self) -> Duration {
        self.soaks.iter().copied().max().unwrap_or_default()
    }
}

/// When the newest rollout of a service came how far.
struct Moments {
    started: Timestamp,
    soaking: Timestamp,
    ended: Timestamp,
}

impl Moments {
    #[track_caller]
    fn of(fleet: &Fleet, service: &str) -> Self {
        let events = fleet.cli.ok(&[
            "events",
            "--service",
            service,
            "--kind",
            "rollout",
            "--tail",
            "1000",
            "-o",
            "json",
        ]);
        let lines = events.lines();
        let at = |kind: &str| -> Timestamp {
            let found = lines.iter().rev().find(|event| event["kind"] == kind);
            let found = found.unwrap_or_else(|| panic!("{service} has no event {kind}: {lines:?}"));
            serde_json::from_value(found["at"].clone()).expect("an event says when it was")
        };
        Self {
            started: at("rollout.preparing"),
            soaking: at("rollout.soaking"),
            ended: at("rollout.succeeded"),
        }
    }
}
