//! The cost of a step. The coordinator's processor time is held to a bound: it is the same whatever else the
//! machine does. The clock only ends what would never end.

use std::time::{Duration, Instant};

use windlass_tests::fleetsim::Coordinator;
use windlass_tests::process::{cpu_seconds, resident_kib};

/// For each wait.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// The cost of an agent to the coordinator, in KiB: its streams, its record, its observation, and what the allocator
/// keeps of streams that have ended. About twice what was measured.
const PER_AGENT: u64 = 280;

const THERE: &str = "the coordinator is a process of ours";

pub(crate) struct Step {
    pub(crate) begun: Instant,
    pid: u32,
    cpu: f64,
}

impl Step {
    pub(crate) fn begin(coordinator: &Coordinator) -> Self {
        let pid = coordinator.process.pid();
        Self { begun: Instant::now(), pid, cpu: cpu_seconds(pid).expect(THERE) }
    }

    /// It has come to this, and has cost the coordinator at most so many seconds of processor: some ten times what was
    /// measured.
    #[expect(
        clippy::print_stdout,
        reason = "the test runner shows it with a failure, or when it is asked to"
    )]
    pub(crate) fn end(self, what: &str, at_most: f64) {
        let cpu = cpu_seconds(self.pid).expect(THERE) - self.cpu;
        println!("{what}: {:.1} s, {cpu:.2} s of processor", self.begun.elapsed().as_secs_f64());
        assert!(cpu <= at_most, "{what}: {cpu:.2} s of the coordinator's processor, {at_most} at most");
    }
}

/// The coordinator's memory, less what it had without any agent.
pub(crate) struct Memory {
    empty: u64,
    agents: u64,
}

impl Memory {
    pub(crate) fn begin(coordinator: &Coordinator, agents: usize) -> Self {
        Self { empty: resident_kib(coordinator.process.pid()).expect(THERE), agents: agents as u64 }
    }

    #[expect(
        clippy::print_stdout,
        reason = "the test runner shows it with a failure, or when it is asked to"
    )]
    pub(crate) fn look(&self, coordinator: &Coordinator, when: &str) {
        let all = resident_kib(coordinator.process.pid()).expect(THERE);
        let each = all.saturating_sub(self.empty) / self.agents;
        println!("{when}: {each} KiB per agent");
        assert!(each <= PER_AGENT, "{when}: {each} KiB per agent, {PER_AGENT} at most; {all} KiB in all");
    }
}
