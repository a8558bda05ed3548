//! The progress of a rollout that moves traffic, as its operator sees it, and programs that come back in the middle of one.

use std::time::Duration;

use serde_json::Value;

use crate::{Fleet, Process, wait};

impl Fleet {
    /// Instances of the sample service that run, of one version.
    pub fn count_running(&self, version: &str) -> usize {
        self.serving().iter().filter(|serving| serving.contains(version)).count()
    }

    /// Waits until every ingress divides the requests as this step of the rollout says.
    ///
    /// # Panics
    /// If it takes longer than `limit`, with what the rollout waits for.
    #[track_caller]
    pub fn wait_for_step(&self, step: u64, limit: Duration) {
        wait::until(&format!("step {step} has come"), limit, || {
            let rollout = self.rollout();
            let traffic = &rollout["traffic"];
            let is_at = traffic["step"].as_u64() == Some(step) && traffic["since"].is_string();
            let state = &rollout["state"];
            if is_at { Ok(()) } else { Err(format!("{state} {traffic} {}", rollout["waiting"])) }
        });
    }

    /// The verdicts of the gates of the newest rollout of `web`, in their order.
    #[track_caller]
    pub fn verdicts(&self) -> Vec<Value> {
        let told = self.cli.json(&["explain", "web"]);
        let decisions = told["decisions"].as_array().cloned().unwrap_or_default();
        decisions.into_iter().filter(|decision| decision["decision"] == "judged").collect()
    }

    /// Starts the agent of a host again, and waits until that process is linked: for a while the coordinator says `connected` of
    /// the one before.
    #[track_caller]
    pub fn start_agent_again(&mut self, index: usize) {
        let links = |agent: &Process| agent.output().matches("linked to the coordinator").count();
        let before = links(&self.agents[index]);
        self.agents[index].start_again();
        wait::until("the agent is linked", Duration::from_secs(30), || {
            let agent = &self.agents[index];
            if links(agent) > before { Ok(()) } else { Err(agent.tail(5)) }
        });
    }

    /// The coordinator dies and comes back; the rollout goes on from what was stored.
    #[track_caller]
    pub fn kill_coordinator(&mut self) {
        self.server.kill_9();
        self.server.start_again();
        self.wait_for_server();
    }
}
