//! The requests of the last half minute, beside the table that shares them.

use serde::{Deserialize, Serialize};

use super::RoutesView;
use crate::id::ServiceId;
use crate::time::Timestamp;
use crate::traffic::{Rate, Recent, Traffic};

/// Requests of the last half minute to a minute, over all ingresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RecentView {
    /// Requests that ended per second; absent if no ingress has told twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// Share of the answered ones that failed, from 0 to 1; absent if none was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_ratio: Option<f64>,
    /// Seconds to the head of the response that 95 of 100 stayed below; absent if no latency is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_seconds: Option<f64>,
    /// Requests and tunnels under way.
    #[serde(default)]
    pub in_flight: u64,
}

impl From<&Rate> for RecentView {
    fn from(rate: &Rate) -> Self {
        let tally = &rate.tally;
        Self {
            per_second: rate.per_second,
            error_ratio: (tally.answered() > 0).then(|| ratio(tally.errors(), tally.answered())),
            p95_seconds: tally.p95().map(|p95| p95.at_most.as_secs_f64()),
            in_flight: rate.in_flight,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no 52 bits")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

impl RoutesView {
    /// Says of each release how many requests it got lately, and of each service how many found none.
    #[must_use]
    pub fn with_recent(mut self, traffic: &Traffic, recent: &Recent, now: Timestamp) -> Self {
        let Some(table) = traffic.tables.get(&self.environment) else { return self };
        let serves = |host: &crate::id::HostId| {
            traffic.ingresses.get(host).is_some_and(|of| of.serves.contains(&self.environment))
        };
        for view in &mut self.services {
            let id = ServiceId::new(self.environment.clone(), view.service.clone());
            let rates = recent.of(&id, now, serves);
            let routed = table.routes.services.iter().find(|of| of.service == view.service);
            for share in routed.into_iter().flat_map(|of| &of.releases) {
                let rate = rates.releases.get(&share.release);
                if let Some(of) = view.releases.iter_mut().find(|of| of.release == share.counter) {
                    of.recent = rate.map(RecentView::from);
                }
            }
            view.nobody = Some(RecentView::from(&rates.nobody)).filter(|nobody| {
                nobody.in_flight > 0 || nobody.per_second.is_some_and(|per_second| per_second > 0.0)
            });
        }
        self
    }
}
