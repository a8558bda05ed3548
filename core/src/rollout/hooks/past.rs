//! Hooks of a rollout that another one takes over from, or that goes on although some failed.

use crate::observation::{TaskEnd, TaskOutcome};
use crate::rollout::Rollout;
use crate::time::Timestamp;

impl Rollout {
    /// Notes that another rollout took over: the hooks that run are stopped.
    pub(in crate::rollout) fn stop_hooks(&mut self, now: Timestamp) {
        for run in self.hooks.iter_mut().filter(|run| run.end.is_none()) {
            run.finish(TaskEnd::without_run(TaskOutcome::Stopped), now);
        }
    }

    /// Lets the rollout go on although hooks failed.
    pub(in crate::rollout) fn excuse_hooks(&mut self) {
        for run in &mut self.hooks {
            run.excused |= run.has_failed();
        }
    }
}
