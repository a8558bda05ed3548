//! Gates: the questions that a release on its way is asked at the end of every window, and the answers that let it go on.

use serde::{Deserialize, Serialize};

use crate::gate::Number;
use crate::traffic::Weight;
use crate::units::Span;

use super::asks::is_pointer;
use super::triggers::{MAX_COUNT, MAX_P95, MAX_WITHIN, MIN_WITHIN};

/// Gates of one release.
pub(crate) const MAX_GATES: usize = 16;
/// Most windows that a step may want to pass.
const MAX_WINDOWS: u32 = 100;
/// Most windows in a row that may fail: one more of the last ten fails the step too.
const MAX_FAILS: u32 = 9;
/// The highest number of a step that a gate may begin with.
const MAX_STEP: u32 = 100;
/// Longest query, in bytes.
const MAX_QUERY: usize = 4096;
/// Longest address, in bytes.
const MAX_URL: usize = 2048;
/// The longest time that an answer may take.
const MAX_ANSWER_TIME: Span = Span::from_secs(60);

/// A question, and how its answers count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The question.
    pub ask: GateAsk,
    /// Length of a window: the question is asked at its end.
    pub window: Span,
    /// Windows of a step that have to pass.
    pub passes: u32,
    /// Windows that fail in a row before the step does.
    pub fails: u32,
    /// Asked and shown, and decides nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Asked in every step from this one on, counted from 1. Absent: in the steps that name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_step: Option<u32>,
}

/// The question of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GateAsk {
    /// The share of failed requests, as the ingresses count them.
    ErrorRate {
        /// At most this, in thousandths.
        max: Weight,
        /// Fewer requests in a window tell nothing.
        min_requests: u32,
        /// Compared with the old release in the same window too.
        baseline: bool,
    },
    /// The 95th percentile of the latency, as the ingresses count it.
    P95 {
        /// At most this.
        max: Span,
        /// Fewer requests in a window tell nothing.
        min_requests: u32,
        /// Compared with the old release in the same window too.
        baseline: bool,
    },
    /// Exits of the release's instances since the step began.
    Crashes {
        /// At most so many.
        max: u32,
    },
    /// Memory of the instance that uses the most, as a share of its limit.
    Memory {
        /// At most this, in thousandths.
        max: Weight,
    },
    /// Processor time of the instance that uses the most, as a share of its limit.
    Cpu {
        /// At most this, in thousandths.
        max: Weight,
    },
    /// Memory of the GPU of the instance that uses the most, as a share of what it may have.
    GpuMemory {
        /// At most this, in thousandths.
        max: Weight,
    },
    /// Errors of the GPUs that the release's instances hold, since the step began.
    GpuErrors {
        /// At most so many.
        max: u32,
    },
    /// A query of Prometheus that answers with one number.
    Prometheus {
        /// The server: `http://` or `https://`, host and port.
        url: String,
        /// The query. `{{release}}`, `{{service}}`, `{{environment}}` and `{{window}}` stand for those of the rollout.
        query: String,
        /// Time for the answer.
        timeout: Span,
        /// The number is at least this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<Number>,
        /// The number is at most this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<Number>,
    },
    /// A `GET` that answers with JSON that has a number, or a verdict.
    Http {
        /// The URL, with the same placeholders as a query.
        url: String,
        /// The number's place in the answer, a JSON pointer. Absent: the answer is `{"verdict": "pass"}` or `{"verdict": "fail"}`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pointer: Option<String>,
        /// Time for the answer.
        timeout: Span,
        /// The number is at least this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<Number>,
        /// The number is at most this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<Number>,
    },
}

impl Gate {
    /// Checks every bound.
    ///
    /// # Errors
    /// The key that is out of its bounds, and the bounds.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let window = (MIN_WITHIN..=MAX_WITHIN).contains(&self.window);
        ensure(window, "window", "must be from 10s to 1h")?;
        ensure((1..=MAX_WINDOWS).contains(&self.passes), "passes", "must be from 1 to 100")?;
        ensure((1..=MAX_FAILS).contains(&self.fails), "fails", "must be from 1 to 9")?;
        let step = self.from_step.is_none_or(|step| (1..=MAX_STEP).contains(&step));
        ensure(step, "from_step", "must be from 1 to 100")?;
        self.ask.check()
    }
}

impl GateAsk {
    /// Whether it is answered by counters of requests.
    pub const fn counts_requests(&self) -> bool {
        matches!(self, Self::ErrorRate { .. } | Self::P95 { .. })
    }

    /// Whether it is about GPUs.
    pub const fn is_of_gpus(&self) -> bool {
        matches!(self, Self::GpuMemory { .. } | Self::GpuErrors { .. })
    }

    /// Whether events are counted that fail it at once, before the end of a window.
    pub const fn counts_events(&self) -> bool {
        matches!(self, Self::Crashes { .. } | Self::GpuErrors { .. })
    }

    /// Time for the answer of a provider; `None` if it asks none.
    pub const fn timeout(&self) -> Option<Span> {
        match self {
            Self::Prometheus { timeout, .. } | Self::Http { timeout, .. } => Some(*timeout),
            Self::ErrorRate { .. }
            | Self::P95 { .. }
            | Self::Crashes { .. }
            | Self::Memory { .. }
            | Self::Cpu { .. }
            | Self::GpuMemory { .. }
            | Self::GpuErrors { .. } => None,
        }
    }

    /// Its key in a manifest.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::ErrorRate { .. } => "error_rate",
            Self::P95 { .. } => "p95",
            Self::Crashes { .. } => "crashes",
            Self::Memory { .. } => "memory",
            Self::Cpu { .. } => "cpu",
            Self::GpuMemory { .. } => "gpu_memory",
            Self::GpuErrors { .. } => "gpu_errors",
            Self::Prometheus { .. } => "prometheus",
            Self::Http { .. } => "http",
        }
    }

    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let count = "must be from 1 to 1000000";
        let counted = |count: u32| (1..=MAX_COUNT).contains(&count);
        match self {
            Self::ErrorRate { max, min_requests, .. } => {
                ensure(*max < Weight::ALL, "error_rate.max", "must be below 100%")?;
                ensure(counted(*min_requests), "error_rate.min_requests", count)
            }
            Self::P95 { max, min_requests, .. } => {
                let latency = *max >= Span::from_millis(1) && *max <= MAX_P95;
                ensure(latency, "p95.max", "must be from 1ms to 1m")?;
                ensure(counted(*min_requests), "p95.min_requests", count)
            }
            Self::Crashes { max } => ensure(*max <= MAX_COUNT, "crashes.max", "must be at most 1000000"),
            Self::Memory { max } => ensure(*max > Weight::NONE, "memory.max", "must be above 0%"),
            Self::Cpu { max } => ensure(*max > Weight::NONE, "cpu.max", "must be above 0%"),
            Self::GpuMemory { max } => ensure(*max > Weight::NONE, "gpu_memory.max", "must be above 0%"),
            Self::GpuErrors { max } => ensure(*max <= MAX_COUNT, "gpu_errors.max", "must be at most 1000000"),
            Self::Prometheus { url, query, timeout, min, max } => {
                ensure(is_origin(url), "prometheus.url", URL)?;
                let query = !query.trim().is_empty() && query.len() <= MAX_QUERY;
                ensure(query, "prometheus.query", "must have from 1 to 4096 bytes")?;
                ensure(in_time(*timeout), "prometheus.timeout", TIMEOUT)?;
                ensure(min.is_some() || max.is_some(), "prometheus", "must have a `max` or a `min`")?;
                are_limits(*min, *max, "prometheus.max")
            }
            Self::Http { url, pointer, timeout, min, max } => {
                ensure(is_url(url), "http.url", URL)?;
                let limits = min.is_some() || max.is_some();
                ensure(
                    limits == pointer.is_some(),
                    "http",
                    "must have a `pointer` with a `max` or a `min`, or neither",
                )?;
                let pointed = pointer.as_deref().is_none_or(is_pointer);
                ensure(pointed, "http.pointer", "must be a JSON pointer, like `/data/errors`")?;
                ensure(in_time(*timeout), "http.timeout", TIMEOUT)?;
                are_limits(*min, *max, "http.max")
            }
        }
    }
}

/// Whether a text is the name of a gate.
pub(crate) fn is_gate_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    (1..=63).contains(&name.len()) && name.bytes().all(plain)
}

const URL: &str = "must be `http://` or `https://` with a host, without a user name, of at most 2048 bytes";
const TIMEOUT: &str = "must be from 100ms to 1m";

const fn ensure(
    holds: bool,
    key: &'static str,
    bounds: &'static str,
) -> Result<(), (&'static str, &'static str)> {
    if holds { Ok(()) } else { Err((key, bounds)) }
}

fn in_time(timeout: Span) -> bool {
    (Span::from_millis(100)..=MAX_ANSWER_TIME).contains(&timeout)
}

fn are_limits(
    min: Option<Number>,
    max: Option<Number>,
    key: &'static str,
) -> Result<(), (&'static str, &'static str)> {
    ensure(min.zip(max).is_none_or(|(min, max)| min <= max), key, "must not be below `min`")?;
    let exact = min.into_iter().chain(max).all(Number::is_exact);
    ensure(exact, key, "must be, as `min`, a number of at most 15 digits")
}

/// Whether a text is the address of a server: no query, no fragment.
fn is_origin(url: &str) -> bool {
    is_url(url) && !url.contains(['?', '#'])
}

/// Whether a text is an address that can be asked: `http` or `https`, a host, no user, plain characters.
fn is_url(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest.filter(|_| url.len() <= MAX_URL && url.bytes().all(|b| b.is_ascii_graphic()))
    else {
        return false;
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    !host.is_empty() && !host.starts_with(':') && host.bytes().all(plain)
}

#[cfg(test)]
mod tests;
