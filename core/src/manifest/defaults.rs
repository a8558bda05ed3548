//! Every default of a manifest, once. The manifest's types refer to these, so they also stand in the
//! JSON Schema and in what `windlass render` prints.

use crate::units::{Amount, Size, Span};

use super::model::{Cpu, Mode};

/// Replaced at once by a rolling update, rounded up.
pub const BATCH: Amount = Amount::Percent(25);
/// More than the replica count meanwhile, rounded up.
pub const MAX_SURGE: Amount = Amount::Percent(25);
/// Fewer than the replica count meanwhile, rounded down: none.
pub const MAX_UNAVAILABLE: Amount = Amount::Count(0);
/// Time for which an instance must be healthy to count.
pub const MIN_READY: Span = Span::from_secs(10);
/// Time for which a new set of instances is watched after each step of its traffic.
pub const WATCH: Span = Span::from_secs(60);
/// The fewest new instances of a canary.
pub const MIN_INSTANCES: u32 = 1;
/// Shares of a canary of which no step is named, in thousandths.
pub const CANARY_STEPS: [u16; 6] = [10, 50, 100, 250, 500, 1000];
/// Time of a canary's step that no gate judges and nobody approves: five windows of a gate.
pub const CANARY_HOLD: Span = Span::from_secs(5 * 60);
/// Time for which the old set of instances runs on after it.
pub const KEEP_OLD: Span = Span::from_secs(600);
/// Time for which the whole service is watched after the last step.
pub const SOAK: Span = Span::from_secs(30);
/// Time that a rollout may go without progress.
pub const PROGRESS_DEADLINE: Span = Span::from_secs(10 * 60);
/// Time between SIGTERM and SIGKILL.
pub const STOP_TIMEOUT: Span = Span::from_secs(10);
/// Memory limit.
pub const MEMORY: Size = Size::from_bytes(512 << 20);
/// Limit on processes.
pub const PIDS: u32 = 512;
/// CPU limit, in thousandths of a core.
pub const CPU_MILLIS: u32 = 1000;
/// Instances.
pub const REPLICAS: u32 = 1;
/// Exits of an instance after it was healthy that roll it back: the first one does.
pub const ROLLBACK_RESTARTS: u32 = 1;
/// Unready for so long after it was healthy rolls an instance back.
pub const ROLLBACK_UNHEALTHY_FOR: Span = Span::from_secs(2 * 60);
/// Permission bits of a file.
pub const FILE_MODE: u32 = 0o644;

/// The method of a request.
pub const METHOD: &str = "GET";
/// Number of times that a warm-up request is sent.
pub const WARM_UP_TIMES: u32 = 1;
/// Time for all sendings of a warm-up request together.
pub const WARM_UP_TIMEOUT: Span = Span::from_secs(30);
/// Time for an answer to a smoke test.
pub const SMOKE_TIMEOUT: Span = Span::from_secs(5);
/// Number of tries of a smoke test.
pub const SMOKE_TRIES: u32 = 3;
/// The pause before a smoke test is tried again.
pub const SMOKE_EVERY: Span = Span::from_secs(2);
/// Time for a check of a host.
pub const CHECK_TIMEOUT: Span = Span::from_secs(5);
/// Time for a hook.
pub const HOOK_TIMEOUT: Span = Span::from_secs(5 * 60);

/// Length of a gate's window.
pub const GATE_WINDOW: Span = Span::from_secs(60);
/// Windows of a step that have to pass.
pub const GATE_PASSES: u32 = 3;
/// Windows in a row that fail a step. Stopping at the first one would stop half of the healthy releases.
pub const GATE_FAILS: u32 = 2;
/// Requests in a window below which an error rate tells nothing: only from 299 on do none at all bound it below 1 %.
pub const GATE_ERROR_REQUESTS: u32 = 300;
/// Requests in a window below which a latency tells nothing.
pub const GATE_LATENCY_REQUESTS: u32 = 100;
/// Time for the answer of a provider.
pub const GATE_TIMEOUT: Span = Span::from_secs(10);

/// The numbers of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeDefaults {
    /// Time between two questions.
    pub every: Span,
    /// Time for an answer.
    pub timeout: Span,
    /// Failures in a row that mean no.
    pub failures: u32,
    /// Successes in a row that mean yes.
    pub successes: u32,
}

/// A minute for the first yes.
pub const STARTUP: ProbeDefaults = probe(2, 5, 30);
/// Taken out of service after 15 s.
pub const READINESS: ProbeDefaults = probe(5, 3, 3);
/// Restarted after 30 s.
pub const LIVENESS: ProbeDefaults = probe(10, 5, 3);

const fn probe(every: u64, timeout: u64, failures: u32) -> ProbeDefaults {
    ProbeDefaults { every: Span::from_secs(every), timeout: Span::from_secs(timeout), failures, successes: 1 }
}

// serde names functions, not constants.
macro_rules! functions {
    ($($name:ident: $type:ty = $value:expr;)*) => {
        $(pub(super) const fn $name() -> $type { $value })*
    };
}

functions! {
    batch: Amount = BATCH;
    max_surge: Amount = MAX_SURGE;
    max_unavailable: Amount = MAX_UNAVAILABLE;
    min_ready: Span = MIN_READY;
    watch: Span = WATCH;
    keep_old: Span = KEEP_OLD;
    min_instances: u32 = MIN_INSTANCES;
    soak: Span = SOAK;
    progress_deadline: Span = PROGRESS_DEADLINE;
    stop_timeout: Span = STOP_TIMEOUT;
    memory: Size = MEMORY;
    pids: u32 = PIDS;
    cpu: Cpu = Cpu { millis: CPU_MILLIS };
    restarts: u32 = ROLLBACK_RESTARTS;
    unhealthy_for: Span = ROLLBACK_UNHEALTHY_FOR;
    mode: Mode = Mode(FILE_MODE);
    warm_up_times: u32 = WARM_UP_TIMES;
    warm_up_timeout: Span = WARM_UP_TIMEOUT;
    smoke_timeout: Span = SMOKE_TIMEOUT;
    smoke_tries: u32 = SMOKE_TRIES;
    smoke_every: Span = SMOKE_EVERY;
    check_timeout: Span = CHECK_TIMEOUT;
    gate_window: Span = GATE_WINDOW;
    gate_passes: u32 = GATE_PASSES;
    gate_fails: u32 = GATE_FAILS;
    gate_error_requests: u32 = GATE_ERROR_REQUESTS;
    gate_latency_requests: u32 = GATE_LATENCY_REQUESTS;
    gate_timeout: Span = GATE_TIMEOUT;
    hook_timeout: Span = HOOK_TIMEOUT;
}
