//! Follows the tables that the agent hands on: verified, written, applied, in this order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use windlass_certs::dsse::{Envelope, PayloadType};
use windlass_certs::files::FileError;
use windlass_certs::json;
use windlass_core::network::InnerNetwork;
use windlass_core::observation::{Refusal, RefusalCode};
use windlass_core::traffic::{Hold, Reach, Routes, TableInForce};
use windlass_core::{EnvironmentId, FleetId, HostId};
use windlass_ingress::Ingress;
use windlass_process::report;

use super::state::{NoNetworks, NoTable, NoTrust, State};
use crate::clock;
use crate::data::on_disk;
use crate::traffic::wire::Position;

/// Tables that wait for the next trust document, or for the time.
const MOST_LATER: usize = 64;

/// The ingress with what it follows.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) ingress: Ingress,
    state: Arc<Mutex<State>>,
    seen: Mutex<Seen>,
    /// There is something to report.
    pub(super) news: Notify,
    /// The agent has told all that it has.
    told: watch::Sender<bool>,
}

/// The tables in force and refused, as a report says them.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) tables: BTreeMap<EnvironmentId, TableInForce>,
    pub(super) refused: BTreeMap<EnvironmentId, Refusal>,
    later: Vec<Arc<[u8]>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Follower {
    /// Begins with the tables that were written down.
    pub(super) fn new(ingress: Ingress, state: State, tables: Vec<Routes>) -> Self {
        let positions = state.positions();
        let held_ports = state.held_ports();
        let follower = Self {
            ingress,
            state: Arc::new(Mutex::new(state)),
            seen: Mutex::default(),
            news: Notify::new(),
            told: watch::Sender::new(false),
        };
        follower.ingress.call(held(&follower.state).networks().to_vec());
        for routes in tables {
            if let Some(position) = positions.get(&routes.environment) {
                follower.apply(routes, *position);
            }
        }
        if let Some((host, holds)) = held_ports {
            follower.ingress.hold(&host, holds);
        }
        follower
    }

    /// Nothing newer is to be waited for.
    pub(super) fn told(&self) {
        self.told.send_replace(true);
    }

    /// Tells when nothing newer is to be waited for.
    pub(super) fn until_told(&self) -> watch::Receiver<bool> {
        self.told.subscribe()
    }

    /// The trust version and the tables that it has, for the agent.
    pub(super) fn has(&self) -> (u64, BTreeMap<EnvironmentId, Position>) {
        let state = held(&self.state);
        (state.trust_version(), state.positions())
    }

    /// The tables that it follows, for a report.
    pub(super) fn seen(&self) -> Seen {
        held(&self.seen).clone()
    }

    /// Whether this process writes, or leaves that to its successor and only follows.
    pub(super) fn write(&self, writes: bool) {
        held(&self.state).write(writes);
    }

    /// The agent says whose it is.
    pub(super) async fn greet(&self, fleet: &FleetId, host: &HostId, reach: Reach) -> Result<(), NoTrust> {
        let (state, fleet, host) = (self.state.clone(), fleet.clone(), host.clone());
        on_disk(move || held(&state).greet(&fleet, &host, reach)).await
    }

    /// Takes trust documents. Tables that were refused before may be good ones now.
    ///
    /// # Errors
    /// They could not be written. The agent does not tell them again on this connection.
    pub(super) async fn take_trust(
        &self,
        fleet: FleetId,
        host: HostId,
        envelopes: Vec<String>,
    ) -> Result<(), FileError> {
        let state = self.state.clone();
        match on_disk(move || held(&state).take_trust(&fleet, &host, &envelopes)).await {
            Ok(true) => self.again().await,
            Ok(false) => {}
            Err(NoTrust::File(error)) => return Err(error),
            Err(error) => {
                tracing::error!(error = %report::chain(&error), "a trust document was not taken");
            }
        }
        Ok(())
    }

    /// Takes a table, or refuses it, which is reported and changes nothing.
    pub(super) async fn take_table(&self, envelope: Arc<[u8]>) {
        let environment = claimed(&envelope);
        let (state, bytes) = (self.state.clone(), envelope.clone());
        let taken = on_disk(move || held(&state).take_table(&bytes, clock::now())).await;
        match taken {
            Ok(Some(routes)) => {
                let position = held(&self.state).positions().get(&routes.environment).copied();
                if let Some(position) = position {
                    self.apply(routes, position);
                    self.keep_holds(self.ingress.holds()).await;
                }
            }
            Ok(None) => {
                if let Some(environment) = environment {
                    held(&self.seen).refused.remove(&environment);
                }
            }
            Err(NoTable::Refused(refusal)) => self.refused(environment, &refusal, envelope),
            Err(NoTable::NoTrust) => {
                tracing::debug!("a traffic table waits for the trust document");
                self.later(envelope);
            }
            Err(NoTable::Store(error)) => {
                tracing::error!(error = %report::chain(&error), "a traffic table could not be kept, trying again");
                self.later(envelope);
            }
        }
        self.news.notify_one();
    }

    /// Takes the inner networks of the host, all of them.
    ///
    /// # Errors
    /// They could not be written. The agent does not tell them again on this connection.
    pub(super) async fn take_networks(&self, networks: Vec<InnerNetwork>) -> Result<(), FileError> {
        let (state, taken) = (self.state.clone(), networks.clone());
        match on_disk(move || held(&state).take_networks(taken)).await {
            Ok(()) => self.ingress.call(networks),
            Err(NoNetworks::File(error)) => return Err(error),
            Err(error) => {
                tracing::error!(error = %report::chain(&error), "the inner networks were not taken");
            }
        }
        self.news.notify_one();
        Ok(())
    }

    /// Takes the ports of releases that the agent has restored, all of them.
    pub(super) async fn take_holds(&self, host: &HostId, holds: Vec<Hold>) {
        self.keep_holds(self.ingress.holds_after(host, holds.clone())).await;
        self.ingress.hold(host, holds);
    }

    /// Writes them down, for one that begins while the agent is away. Requests follow them in any case.
    async fn keep_holds(&self, holds: Vec<Hold>) {
        let state = self.state.clone();
        if let Err(error) = on_disk(move || held(&state).keep_holds(holds)).await {
            tracing::error!(error = %report::chain(&error), "the ports of restored releases could not be kept");
        }
    }

    /// Looks again at the tables that wait.
    pub(super) async fn again(&self) {
        let waiting = std::mem::take(&mut held(&self.seen).later);
        for envelope in waiting {
            self.take_table(envelope).await;
        }
    }

    /// A table that was verified is in force from the next request on.
    fn apply(&self, mut routes: Routes, position: Position) {
        let environment = routes.environment.clone();
        for detail in held(&self.state).reach().keep(&mut routes) {
            let code = RefusalCode::Policy.as_str();
            tracing::warn!(target: "windlass_agent::audit", code, what = "endpoint", %environment, detail, "refused");
        }
        let Position { epoch, seq, digest } = position;
        if let Err(error) = self.ingress.take(routes) {
            return tracing::error!(%error, "a traffic table cannot be followed");
        }
        tracing::info!(%environment, seq, "traffic table in force");
        let mut seen = held(&self.seen);
        seen.refused.remove(&environment);
        let applied_at = clock::now();
        seen.tables.insert(environment, TableInForce { epoch, seq, digest, applied_at });
    }

    fn refused(&self, environment: Option<EnvironmentId>, refusal: &Refusal, envelope: Arc<[u8]>) {
        let before =
            environment.and_then(|environment| held(&self.seen).refused.insert(environment, refusal.clone()));
        // One that waits is looked at again and again, and said once.
        if before.as_ref() != Some(refusal) {
            tracing::warn!(
                target: "windlass_agent::audit",
                code = refusal.code.as_str(),
                what = "routes",
                detail = refusal.detail,
                "refused"
            );
        }
        // These may pass by themselves, or with the next trust document.
        let passes = matches!(
            refusal.code,
            RefusalCode::NotYetValid
                | RefusalCode::WrongEpoch
                | RefusalCode::UnknownKey
                | RefusalCode::Policy
        );
        if passes {
            self.later(envelope);
        }
    }

    fn later(&self, envelope: Arc<[u8]>) {
        let mut seen = held(&self.seen);
        if seen.later.contains(&envelope) {
            return; // the agent has told it again
        }
        if seen.later.len() >= MOST_LATER {
            seen.later.remove(0);
        }
        seen.later.push(envelope);
    }
}

/// The environment that a table says it is of, for the words of a refusal only.
fn claimed(envelope: &[u8]) -> Option<EnvironmentId> {
    #[derive(serde::Deserialize)]
    struct Claim {
        environment: EnvironmentId,
    }
    let envelope = Envelope::parse(envelope, PayloadType::Routes.max_len()).ok()?;
    let claim: Claim = json::decode_bounded(envelope.payload_bytes(), PayloadType::Routes.max_len()).ok()?;
    Some(claim.environment)
}
