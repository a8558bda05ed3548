//! The data of `top`: a screen of the coordinator, or everything, of which a screen is cut here.

use serde::Serialize;
use windlass_core::view::{
    Board, EventView, HostView, RolloutView, RoutesView, RowView, ScreenView, StatusView, Wanted, choose,
};
use windlass_core::{EnvironmentId, Timestamp};

use crate::client::{CallError, Client, EventQuery};
use crate::clock;

/// Past events to begin with.
const EVENTS: u32 = 200;
/// Finished rollouts that are shown.
const ROLLOUTS: usize = 100;

/// The fleet at one moment, as `-o json` prints it.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub(crate) struct Snapshot {
    /// When it was asked for, by the clock of this machine.
    pub(crate) at: Timestamp,
    /// Every host; what each of its instances uses stands there.
    pub(crate) hosts: Vec<HostView>,
    /// Every service with its instances.
    pub(crate) services: Vec<StatusView>,
    /// Rollouts, the newest first.
    pub(crate) rollouts: Vec<RolloutView>,
    /// The newest events, the newest first.
    pub(crate) events: Vec<EventView>,
    /// The traffic of each environment that has some.
    pub(crate) routes: Vec<RoutesView>,
}

/// The last screen, and why there is no newer one.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) screen: Option<ScreenView>,
    /// When that was so, by the coordinator's clock, and when it was told here.
    pub(crate) at: Option<(Timestamp, Timestamp)>,
    pub(crate) problem: Option<String>,
}

impl Asked {
    /// Takes a screen in that was true at `at`, by the coordinator's clock.
    pub(crate) fn take(&mut self, screen: ScreenView, at: Timestamp, now: Timestamp) {
        (self.screen, self.at, self.problem) = (Some(screen), Some((at, now)), None);
    }

    /// Notes that the last screen is still true.
    pub(crate) fn still(&mut self, at: Timestamp, now: Timestamp) {
        (self.at, self.problem) = (Some((at, now)), None);
    }
}

impl Snapshot {
    /// Asks for everything, or for what concerns one environment.
    pub(crate) async fn ask(
        client: &mut Client,
        environment: Option<&EnvironmentId>,
    ) -> Result<Self, CallError> {
        let at = clock::now();
        let hosts = client.hosts().await?;
        let is_wanted = |of: &EnvironmentId| environment.is_none_or(|wanted| wanted == of);
        let mut services = client.status("").await?;
        services.retain(|status| is_wanted(&status.environment));
        let mut rollouts = client.rollouts("").await?;
        rollouts.retain(|rollout| is_wanted(&rollout.environment));
        rollouts.truncate(ROLLOUTS);
        let query = EventQuery {
            tail: EVENTS,
            follow: false,
            from: None,
            since: None,
            service: String::new(),
            host: String::new(),
            kind: String::new(),
        };
        let mut stream = client.events(&query).await?;
        let mut events = Vec::new();
        while let Some(item) = stream.next().await? {
            events.extend(item.event);
        }
        events.reverse();
        let mut routes = match client.routes("").await {
            Err(error) if error.is_unimplemented() => Vec::new(),
            answer => answer?,
        };
        routes.retain(|routes| is_wanted(&routes.environment));
        Ok(Self { at, hosts, services, rollouts, events, routes })
    }

    /// The part of it that is wanted, as a coordinator would cut it.
    pub(crate) fn screen(&self, wanted: &Wanted) -> ScreenView {
        let rows: Vec<RowView> = match wanted.board {
            Board::Hosts => self.hosts.iter().map(|of| RowView::Host(Box::new(of.clone()))).collect(),
            Board::Services => self.services.iter().cloned().map(RowView::of_service).collect(),
            Board::Rollouts => self.rollouts.iter().cloned().map(RowView::of_rollout).collect(),
            Board::Instances => self.services.iter().flat_map(RowView::instances).collect(),
            Board::Gpus => self.hosts.iter().flat_map(|host| RowView::gpus(host, self.at)).collect(),
            Board::Events => self.events.iter().cloned().map(RowView::Event).collect(),
            Board::Routes => self.routes.iter().flat_map(RowView::routes).collect(),
            Board::Ingresses => self.routes.iter().flat_map(RowView::ingresses).collect(),
        };
        let (found, chosen) = choose(rows.iter(), wanted, self.at);
        ScreenView {
            board: wanted.board,
            from: wanted.from,
            found,
            hosts: self.hosts.len(),
            hosts_up: self.hosts.iter().filter(|host| host.state == "connected").count(),
            moving: self.rollouts.iter().filter(|rollout| !rollout.state.is_final()).count(),
            steers: None,
            rows: chosen.into_iter().map(|number| rows[number].clone()).collect(),
        }
    }
}
