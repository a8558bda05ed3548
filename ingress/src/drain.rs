//! The end of an ingress process, in steps: clients are told first, then idle connections close, then requests, then tunnels.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Times of the steps of a drain, from its beginning.
#[derive(Debug, Clone, Copy)]
pub struct DrainTimes {
    /// Until idle HTTP/1 connections close. Their clients have had answers with `Connection: close` until then.
    pub idle: Duration,
    /// Until requests under way are cut.
    pub requests: Duration,
    /// Until tunnels are cut.
    pub tunnels: Duration,
}

impl DrainTimes {
    /// Until everything was cut.
    pub(crate) fn whole(&self) -> Duration {
        self.idle.max(self.requests).max(self.tunnels)
    }
}

impl Default for DrainTimes {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10),
            requests: Duration::from_secs(60),
            tunnels: Duration::from_secs(600),
        }
    }
}

/// The steps that have come.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// The process ends, and no successor has its listeners.
    pub(crate) leaves: CancellationToken,
    pub(crate) begun: CancellationToken,
    pub(crate) close_idle: CancellationToken,
    pub(crate) cut_requests: CancellationToken,
    pub(crate) cut_tunnels: CancellationToken,
}

impl Drain {
    /// Goes through the steps.
    pub(crate) async fn run(&self, times: DrainTimes) {
        let begun = tokio::time::Instant::now();
        self.begun.cancel();
        for (after, step) in [
            (times.idle, &self.close_idle),
            (times.requests.max(times.idle), &self.cut_requests),
            (times.whole(), &self.cut_tunnels),
        ] {
            tokio::time::sleep_until(begun + after).await;
            step.cancel();
        }
    }
}
