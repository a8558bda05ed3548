//! Agents that play their part, all in this process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::agent::{Agent, Common};
use super::board::Board;
use super::coordinator::Coordinator;
use super::enrol::Member;

/// The behaviour of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Everything an agent does.
    Honest,
    /// Says hello and beats, and reads nothing after the welcome.
    Deaf,
}

/// The agents. Dropping it cuts them off.
#[derive(Debug)]
pub struct Herd {
    /// The states of the agents, in the order of the members.
    pub board: Board,
    agents: JoinSet<()>,
    cut: watch::Sender<u64>,
}

impl Herd {
    /// Starts an agent for each member, all at once.
    pub fn start(coordinator: &Coordinator, members: &[Arc<Member>], behaviour: Behaviour) -> Self {
        let (cut, cutting) = watch::channel(0);
        let board = Board::new(members.len());
        let common = Arc::new(Common {
            address: coordinator.address.to_string(),
            ca: coordinator.papers.ca.fingerprint(),
            dispatch: coordinator.papers.dispatch_keys(),
            releases: coordinator.papers.release_keys(),
            board: board.clone(),
            cut: cutting,
        });
        let mut agents = JoinSet::new();
        for (number, member) in members.iter().cloned().enumerate() {
            let common = common.clone();
            agents.spawn(Agent { number, member, common, behaviour, plan: None, revision: 0 }.run());
        }
        Self { board, agents, cut }
    }

    /// The number of agents.
    pub fn len(&self) -> usize {
        self.agents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    /// Cuts every stream at once; the agents come back as real ones do.
    pub fn cut(&self) {
        self.cut.send_modify(|times| *times += 1);
    }

    /// Waits until every agent has a stream opened after `since` and its report on it is acknowledged. Answers with
    /// how long that took.
    pub async fn reported(&self, since: Instant, limit: Duration) -> Result<Duration> {
        let what = "agents have connected and reported";
        let so = |at: Option<Instant>| at.is_some_and(|at| at >= since);
        self.board
            .until(what, self.len(), limit, |look| so(look.welcomed_at) && so(look.reported_at))
            .await?;
        let last = self.board.each(|look| look.reported_at).into_iter().flatten().max();
        Ok(last.unwrap_or(since).duration_since(since))
    }
}
