//! The figures of a trigger that brought a release back, and the words for them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gate::GpuFault;
use crate::id::{Counter, HostId};
use crate::time::{Timestamp, display_duration};
use crate::traffic::{Fault, Window};

/// A trigger that brings a release back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Restarts of one instance after the release had succeeded.
    Restarts,
    /// One instance that was unready for too long after the release had succeeded.
    UnhealthyFor,
    /// Exits of its instances.
    Crashes,
    /// Errors of GPUs.
    GpuErrors,
    /// Answers with status 5xx.
    #[serde(rename = "status_5xx")]
    Status5xx,
    /// The share of failed requests.
    ErrorRate,
    /// The latency.
    P95,
}

impl Trigger {
    /// Its key in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restarts => "restarts",
            Self::UnhealthyFor => "unhealthy_for",
            Self::Crashes => "crashes",
            Self::GpuErrors => "gpu_errors",
            Self::Status5xx => "status_5xx",
            Self::ErrorRate => "error_rate",
            Self::P95 => "p95",
        }
    }
}

/// The counts of a trigger, so that they can be counted up again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Figures {
    /// The release that was watched.
    pub release: Counter,
    /// Beginning of the window.
    pub from: Timestamp,
    /// End of the window.
    pub until: Timestamp,
    /// The limit, in words: `5 %`, `500ms`, `10`.
    pub limit: String,
    /// Requests of the release that were counted, without the next.
    #[serde(default)]
    pub requests: u64,
    /// Clients that left before the response had begun: no errors.
    #[serde(default)]
    pub client_gone: u64,
    /// Failed requests whose response began well and broke off.
    #[serde(default)]
    pub broken: u64,
    /// Answers with status 5xx.
    #[serde(default)]
    pub server_errors: u64,
    /// Failed requests: status 5xx, a gRPC status that says that the server failed, or a response that broke off.
    #[serde(default)]
    pub errors: u64,
    /// The 95th percentile of the latency is at least this, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<u64>,
    /// Exits of its instances.
    #[serde(default)]
    pub crashes: u32,
    /// The instance that did it, where one alone is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<BlamedInstance>,
    /// Errors of the GPUs of its instances.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gpu_errors: u32,
    /// The last one of each instance that has seen any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu_faults: Vec<GpuFault>,
    /// Ingresses that reported.
    #[serde(default)]
    pub reporting: u32,
    /// Ingresses that count.
    #[serde(default)]
    pub ingresses: u32,
    /// Reports that could not be counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// An instance that brought its release back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BlamedInstance {
    /// Its name.
    pub id: String,
    /// Its host.
    pub host: HostId,
    /// The number of its restarts since the release succeeded.
    #[serde(default)]
    pub restarts: u32,
    /// Its last end, or the reason for which it is not ready, as its host says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Figures {
    /// The figures of a window of requests.
    pub(crate) fn of_window(release: Counter, limit: impl ToString, window: Window) -> Self {
        Self {
            release,
            from: window.from,
            until: window.until,
            limit: limit.to_string(),
            requests: window.answered(),
            client_gone: window.tally.client_gone,
            broken: window.tally.broken,
            server_errors: window.server_errors(),
            errors: window.errors(),
            p95_ms: window.p95().map(|p95| millis(p95.at_least)),
            crashes: 0,
            instance: None,
            gpu_errors: 0,
            gpu_faults: Vec::new(),
            reporting: window.reporting,
            ingresses: window.ingresses,
            faults: window.faults,
        }
    }

    /// The figures of exits.
    pub(crate) fn of_crashes(
        release: Counter,
        limit: u32,
        crashes: u32,
        times: (Timestamp, Timestamp),
    ) -> Self {
        Self { crashes, ..Self::without_requests(release, limit, times) }
    }

    /// The figures of errors of GPUs.
    pub(crate) fn of_gpus(
        release: Counter,
        limit: u32,
        (gpu_errors, gpu_faults): (u32, Vec<GpuFault>),
        times: (Timestamp, Timestamp),
    ) -> Self {
        Self { gpu_errors, gpu_faults, ..Self::without_requests(release, limit, times) }
    }

    /// The figures of one instance.
    pub(crate) fn of_instance(
        release: Counter,
        limit: impl ToString,
        instance: BlamedInstance,
        times: (Timestamp, Timestamp),
    ) -> Self {
        Self { instance: Some(instance), ..Self::without_requests(release, limit, times) }
    }

    fn without_requests(
        release: Counter,
        limit: impl ToString,
        (from, until): (Timestamp, Timestamp),
    ) -> Self {
        Self {
            release,
            from,
            until,
            limit: limit.to_string(),
            requests: 0,
            client_gone: 0,
            broken: 0,
            server_errors: 0,
            errors: 0,
            p95_ms: None,
            crashes: 0,
            instance: None,
            gpu_errors: 0,
            gpu_faults: Vec::new(),
            reporting: 0,
            ingresses: 0,
            faults: Vec::new(),
        }
    }

    /// In a sentence.
    pub(crate) fn words(&self, what: Trigger) -> String {
        let span = self.span();
        let Self { requests, errors, server_errors, limit, .. } = self;
        match what {
            Trigger::Restarts | Trigger::UnhealthyFor => self.instance_words(what),
            Trigger::Crashes => {
                let exits = if self.crashes == 1 { "exit" } else { "exits" };
                format!(
                    "{} {exits} of instances of {} in {span} ({limit} are enough)",
                    self.crashes, self.release
                )
            }
            Trigger::GpuErrors => {
                let errors = if self.gpu_errors == 1 { "error" } else { "errors" };
                let first = self.gpu_faults.first().map(|fault| format!(": {fault}")).unwrap_or_default();
                format!(
                    "{} {errors} of GPUs of instances of {} in {span} ({limit} are enough){first}",
                    self.gpu_errors, self.release
                )
            }
            Trigger::Status5xx => {
                format!(
                    "{server_errors} answers with status 5xx of {requests} in {span} ({limit} are enough)"
                )
            }
            Trigger::ErrorRate => {
                let rate = percent(*errors, *requests);
                format!("error rate {rate} ({errors} of {requests} requests in {span}, at most {limit})")
            }
            Trigger::P95 => {
                let p95 = self.p95_ms.unwrap_or_default();
                format!(
                    "p95 of the latency is {p95}ms or more ({requests} requests in {span}, at most {limit})"
                )
            }
        }
    }

    /// The same for a trigger of one instance.
    fn instance_words(&self, what: Trigger) -> String {
        let (span, limit) = (self.span(), &self.limit);
        let Some(BlamedInstance { id, host, restarts, why }) = &self.instance else {
            return format!("{} ({limit})", what.as_str());
        };
        let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        if what == Trigger::UnhealthyFor {
            return format!("{id} on {host} was unready for {span} (at most {limit}){why}");
        }
        let times = if *restarts == 1 { "restart" } else { "restarts" };
        format!(
            "{restarts} {times} of {id} on {host} in the {span} since {} succeeded ({limit} are enough){why}",
            self.release
        )
    }

    /// The inputs of it, a line each.
    pub(crate) fn lines(&self, what: Trigger) -> Vec<String> {
        let mut lines = vec![format!("{} from {} until {}", what.as_str(), self.from, self.until)];
        lines.extend(self.gpu_faults.iter().map(ToString::to_string));
        if matches!(what, Trigger::Status5xx | Trigger::ErrorRate | Trigger::P95) {
            let Self { requests, errors, server_errors, client_gone, broken, .. } = self;
            let grpc = match errors.saturating_sub(server_errors.saturating_add(*broken)) {
                0 => String::new(),
                grpc => format!(", {grpc} failed gRPC calls"),
            };
            lines.push(format!(
                "{requests} requests of {}: {errors} failed, {server_errors} of them with status 5xx{grpc}, {broken} \
                 broken off; not counted: {client_gone} whose client left",
                self.release
            ));
            lines.push(format!("{} of {} ingresses reported", self.reporting, self.ingresses));
        }
        lines.extend(self.faults.iter().map(|fault| format!("{}: {fault}", fault.at)));
        lines
    }

    /// The length of the window, to the second.
    fn span(&self) -> String {
        let span = self.until.since(self.from);
        if span < Duration::from_secs(60) {
            return format!("{} s", span.as_secs());
        }
        display_duration(Duration::from_secs(span.as_secs()))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `12.4 %`.
fn percent(part: u64, whole: u64) -> String {
    let permille = (u128::from(part) * 1000 + u128::from(whole) / 2).checked_div(u128::from(whole));
    spaced(u16::try_from(permille.unwrap_or_default()).unwrap_or(u16::MAX))
}

/// Thousandths as a percentage.
pub(super) fn spaced(permille: u16) -> String {
    match (permille / 10, permille % 10) {
        (whole, 0) => format!("{whole} %"),
        (whole, tenth) => format!("{whole}.{tenth} %"),
    }
}
