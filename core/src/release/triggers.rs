//! The triggers that bring the release before back, while a new one is on trial and for some time after.

use serde::{Deserialize, Serialize};

use crate::traffic::Weight;
use crate::units::Span;

/// Requests in a window, below which an error rate or a latency tells nothing.
const MIN_REQUESTS: u32 = 100;
/// The same where more than [`CLEAR`] of them failed.
const MIN_CLEAR: u32 = 20;
/// An error rate, in thousandths, that few requests show clearly enough.
const CLEAR: u16 = 250;
/// The window of an error rate and of a latency.
const WITHIN: Span = Span::from_secs(60);
/// Shortest window. Ingresses report every 2 s.
pub(crate) const MIN_WITHIN: Span = Span::from_secs(10);
/// Longest window: counters are kept for so long.
pub(crate) const MAX_WITHIN: Span = Span::from_secs(3600);
/// Longest time for which a release is watched after its rollout succeeded.
pub(crate) const MAX_TRIAL: Span = Span::from_secs(24 * 3600);
/// Longest latency that a trigger may allow: the histograms of an ingress end at 65 s.
pub(crate) const MAX_P95: Span = Span::from_secs(60);
/// Most requests, answers or crashes that a trigger may ask for.
pub(crate) const MAX_COUNT: u32 = 1_000_000;

/// Triggers of a rollback: one instance, which its host judges while the release is not yet good, and the coordinator after
/// that; or the whole service, in its rollout. All of them count as long after the rollout as [`RollbackOn::watch`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackOn {
    /// So many restarts (exits) after it was healthy once. An exit before that always does.
    pub restarts: u32,
    /// Unready for so long after it was healthy once.
    pub unhealthy_for: Span,
    /// So many restarts of its instances over the whole service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crashes: Option<u32>,
    /// So many errors of the GPUs that its instances hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_errors: Option<u32>,
    /// A share of failed requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<ErrorRate>,
    /// So many answers with status 5xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_5xx: Option<Within>,
    /// A latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<Latency>,
    /// Time for which the release is watched after its rollout succeeded; not if absent.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub watch: Option<Span>,
}

/// A share of failed requests that is too high.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorRate {
    /// More than this, in thousandths.
    pub max: Weight,
    /// Of at least so many requests; 100 if absent, 20 where more than 25 % failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<u32>,
    /// In this time; 1 min if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

/// So many within so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Within {
    /// So many.
    pub count: u32,
    /// In this time.
    pub within: Span,
}

/// A latency that is too high.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// The 95th percentile is above this.
    pub max: Span,
    /// Of at least so many requests; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<u32>,
    /// In this time; 1 min if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

impl RollbackOn {
    /// Only what an agent looks at.
    pub const fn on_host(restarts: u32, unhealthy_for: Span) -> Self {
        Self {
            restarts,
            unhealthy_for,
            crashes: None,
            gpu_errors: None,
            error_rate: None,
            status_5xx: None,
            p95: None,
            watch: None,
        }
    }

    /// Returns whether it says anything about the whole service.
    pub const fn watches(&self) -> bool {
        self.crashes.is_some() || self.gpu_errors.is_some() || self.counts_requests()
    }

    /// Returns whether it says anything about requests.
    pub const fn counts_requests(&self) -> bool {
        self.error_rate.is_some() || self.status_5xx.is_some() || self.p95.is_some()
    }

    /// Returns whether a release that says this is one of before there were such triggers.
    pub const fn is_on_host_only(&self) -> bool {
        !self.watches() && self.watch.is_none()
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The key that is out of its bounds, and the bounds.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let counted = |count: u32| (1..=MAX_COUNT).contains(&count);
        let ensure = |holds: bool, key, bounds| if holds { Ok(()) } else { Err((key, bounds)) };
        let in_time =
            |within: Option<Span>| within.is_none_or(|span| (MIN_WITHIN..=MAX_WITHIN).contains(&span));
        let number = |count: Option<u32>| count.is_none_or(counted);
        let (count, time) = ("must be from 1 to 1000000", "must be from 10s to 1h");
        ensure(number(self.crashes), "crashes", count)?;
        ensure(number(self.gpu_errors), "gpu_errors", count)?;
        if let Some(ErrorRate { max, min_requests, within }) = self.error_rate {
            ensure(max < Weight::ALL, "error_rate", "must be below 100%")?;
            ensure(number(min_requests), "error_rate.min_requests", count)?;
            ensure(in_time(within), "error_rate.within", time)?;
        }
        if let Some(Within { count: most, within }) = self.status_5xx {
            ensure(counted(most), "status_5xx.count", count)?;
            ensure(in_time(Some(within)), "status_5xx.within", time)?;
        }
        if let Some(Latency { max, min_requests, within }) = self.p95 {
            ensure(max >= Span::from_millis(1) && max <= MAX_P95, "p95", "must be from 1ms to 1m")?;
            ensure(number(min_requests), "p95.min_requests", count)?;
            ensure(in_time(within), "p95.within", time)?;
        }
        let watched = self.watch.is_none_or(|span| !span.is_zero() && span <= MAX_TRIAL);
        ensure(watched, "for", "must be from 1ms to 24h")
    }
}

impl ErrorRate {
    /// Requests below which a window tells nothing, where `fails_clearly` says that more than a quarter of them failed.
    pub fn least(&self, fails_clearly: bool) -> u32 {
        self.min_requests.unwrap_or(if fails_clearly { MIN_CLEAR } else { MIN_REQUESTS })
    }

    /// The error rate that few requests show clearly enough, in thousandths.
    pub const fn clear() -> u16 {
        CLEAR
    }

    /// The window.
    pub fn within(&self) -> Span {
        self.within.unwrap_or(WITHIN)
    }
}

impl Latency {
    /// Requests below which a window tells nothing.
    pub fn least(&self) -> u32 {
        self.min_requests.unwrap_or(MIN_REQUESTS)
    }

    /// The window.
    pub fn within(&self) -> Span {
        self.within.unwrap_or(WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: serde_json::Value) -> RollbackOn {
        let mut whole = serde_json::json!({ "restarts": 1, "unhealthy_for": "2m" });
        whole.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn only_what_is_said_is_written() {
        let plain = RollbackOn::on_host(1, Span::from_secs(120));
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"restarts":1,"unhealthy_for":"2m"}"#);
        let said = serde_json::json!({
            "restarts": 1, "unhealthy_for": "2m", "error_rate": { "max": 5 }, "for": "1h",
        });
        let read: RollbackOn = serde_json::from_value(said.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), said);
        assert!(read.watches() && !read.is_on_host_only() && plain.is_on_host_only());
    }

    #[test]
    fn every_bound_is_checked() {
        let error_rate = |json: serde_json::Value| serde_json::json!({ "error_rate": json });
        #[rustfmt::skip]
        let table = [
            (serde_json::json!({}), Ok(())),
            (serde_json::json!({ "crashes": 0 }), Err("crashes")),
            (serde_json::json!({ "gpu_errors": 0 }), Err("gpu_errors")),
            (error_rate(serde_json::json!({ "max": 1000 })), Err("error_rate")),
            (error_rate(serde_json::json!({ "max": 50, "min_requests": 0 })), Err("error_rate.min_requests")),
            (error_rate(serde_json::json!({ "max": 50, "within": "9s" })), Err("error_rate.within")),
            (error_rate(serde_json::json!({ "max": 0, "within": "1h", "min_requests": 1 })), Ok(())),
            (serde_json::json!({ "status_5xx": { "count": 0, "within": "1m" } }), Err("status_5xx.count")),
            (serde_json::json!({ "status_5xx": { "count": 1, "within": "2h" } }), Err("status_5xx.within")),
            (serde_json::json!({ "p95": { "max": "0s" } }), Err("p95")),
            (serde_json::json!({ "p95": { "max": "2m" } }), Err("p95")),
            (serde_json::json!({ "p95": { "max": "1s", "min_requests": 1_000_001 } }), Err("p95.min_requests")),
            (serde_json::json!({ "for": "0s" }), Err("for")),
            (serde_json::json!({ "for": "25h" }), Err("for")),
        ];
        for (said, want) in table {
            assert_eq!(rules(said.clone()).check().map_err(|(key, _)| key), want, "{said}");
        }
    }
}
