//! The data of `top`, as the coordinator answers.

use serde::Serialize;
use windlass_core::view::{EventView, HostView, RolloutView, StatusView};
use windlass_core::{EnvironmentId, Timestamp};

use crate::client::{CallError, Client, EventQuery};
use crate::clock;

/// Past events to begin with.
const EVENTS: u32 = 200;
/// Finished rollouts that are shown.
const ROLLOUTS: usize = 100;

/// The fleet at one moment.
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
}

/// The last answer, and why there is no newer one.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) problem: Option<String>,
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
        Ok(Self { at, hosts, services, rollouts, events })
    }
}
