//! Putting a coordinator together: what is loaded first, which tasks run, in which order they stop.

mod error;

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;
use windlass_certs::files;
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::{AcceptOptions, BindError, ServerTls, listen};
use windlass_process::Tasks;

use crate::audit::Checkpoints;
use crate::authority::{Authority, first_trust};
use crate::backups;
use crate::certificate;
use crate::clock::Clock;
use crate::config::Config;
use crate::coordinator::{Coordinator, Parts};
use crate::engine::Engine;
use crate::gates::{self, Asker};
use crate::grpc;
use crate::http::Http;
use crate::missing;
use crate::recorder;
use crate::revoked::RevokedFile;
use crate::sampler;
use crate::scrape::Place;
use crate::store::sled::SledStore;
use crate::store::{Store, StoreError};

pub use error::StartError;

/// A coordinator that runs as soon as [`Running::run`] is awaited.
pub struct Running {
    /// The address for agents and operators.
    pub addr: SocketAddr,
    /// The address of metrics and health.
    pub http_addr: Option<SocketAddr>,
    tasks: Tasks,
    grace: Duration,
}

impl Running {
    /// Runs until `shutdown`, or until something fails. Stops within the configured grace.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        // Also when this future is dropped: streams are tonic's tasks, not ours, and would go on.
        let _stop_streams = self.tasks.cancel().drop_guard();
        self.tasks.run(shutdown, self.grace).await
    }

    /// Asks it to stop, from another task.
    pub fn stopper(&self) -> CancellationToken {
        self.tasks.cancel()
    }
}

/// The number of descriptors that this process may open, raised as far as it may raise it.
fn descriptors() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    limit.current.unwrap_or(u64::MAX)
}

/// Opens the store below the data folder, or makes one. Blocks.
pub fn open_store(data: &Path) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(SledStore::open(&data.join("store"))?))
}

/// Closes the data folder to others. One that others may write to is refused: keys and lists there may not be ours.
pub(crate) fn close(data: &Path) -> Result<(), StartError> {
    if files::close_dir(data)? {
        tracing::warn!(path = %data.display(), "others could read the data folder: it has mode 0700 now");
    }
    Ok(())
}

/// Opens the store that is there, or makes that of a new fleet. One that is gone is not made again. Blocks.
pub(crate) fn open_own_store(data: &Path) -> Result<Arc<dyn Store>, StartError> {
    close(data)?;
    missing::refuse_if_gone(data, Clock::system().now())?;
    Ok(open_store(data)?)
}

/// Starts a coordinator on the store in its data folder.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let data = config.data.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let store = open_own_store(&data)?;
        missing::note_made(&data).map_err(|error| StoreError::Failed(error.into()))?;
        Ok::<_, StartError>(store)
    });
    let store = opened.await.map_err(|error| StoreError::Failed(error.into()))??;
    start_on(config, store).await
}

/// Starts a coordinator on this store.
pub async fn start_on(config: Config, store: Arc<dyn Store>) -> Result<Running, StartError> {
    let trust = first_trust(&config.data)?;
    let fleet = trust.document().fleet.clone();
    let authority = Authority::load(&config.data, &fleet, config.lifetimes)?;
    let (clock, revocations, mut tasks) = (Clock::system(), Revocations::new(), Tasks::new());
    let (cancel, last_write) = (tasks.cancel(), CancellationToken::new());
    let parts = Parts {
        trust,
        authority: authority.clone(),
        revocations: revocations.clone(),
        liveness: config.liveness,
        clock: clock.clone(),
        gates: config.gates.clone(),
        stopping: cancel.clone(),
    };
    let (coordinator, writer) = Coordinator::open(store, parts).await?;
    let (ledger, registry) = (coordinator.ledger.clone(), coordinator.registry.clone());
    let revoked =
        RevokedFile::new(&config.data, ledger.clone(), revocations.clone(), coordinator.revoked.clone());

    let own = authority.own(config.name.clone(), clock.now())?;
    let tls = ServerTls::new(&own, &[authority.ca().certificate().clone()], revocations)?;
    let options = AcceptOptions::default().within(descriptors());
    let (acceptor, incoming) = listen(config.listen, tls.clone(), options)?;
    // Members of before need not compete with strangers for a handshake.
    ledger.read(|state| {
        let members = state.hosts.values().filter(|host| host.is_member());
        members.filter_map(|host| host.address.parse().ok()).for_each(|address| acceptor.expect(address));
    });
    let source = |source| BindError { address: config.listen, source };
    let addr = acceptor.local_addr().map_err(source)?;
    let http = match config.http {
        None => None,
        Some(address) => {
            let place = Place {
                data: config.data.clone(),
                backup_every: config.backup_every,
                detail: config.metrics,
            };
            let bound = Http::bind(address, coordinator.clone(), acceptor.stats(), place).await;
            Some(bound.map_err(|source| StartError::Http { address, source })?)
        }
    };
    let http_addr = http.as_ref().and_then(|http| http.local_addr().ok());
    let asker = Asker::new(config.gates.clone()).map_err(|error| StartError::Gates(error.into()))?;
    let services = grpc::services(coordinator.clone()).await;
    let services = services.map_err(|error| StartError::Services(error.into()))?;

    // Stopping: no new connections and calls, the engine ends its step, the last checkpoint is signed, and
    // only then the writer stops.
    tasks.spawn("writer", writer.run(last_write.clone()));
    tasks.spawn("peers", coordinator.peers.clone().run(cancel.clone()));
    tasks.spawn("engine", Engine::new(coordinator.clone()).run(cancel.clone()));
    tasks.spawn("gates", gates::run(coordinator.clone(), asker, cancel.clone()));
    tasks.spawn("recorder", recorder::run(ledger.clone(), registry, cancel.clone()));
    tasks.spawn("history", sampler::run(coordinator.clone(), cancel.clone()));
    let checkpoints = Checkpoints::new(ledger.clone(), authority.clone(), last_write);
    tasks.spawn("checkpoints", checkpoints.run(cancel.clone()));
    tasks.spawn(
        "backups",
        backups::run(
            config.data.clone(),
            config.backup_every,
            ledger.clone(),
            authority.clone(),
            cancel.clone(),
        ),
    );
    tasks.spawn("revoked", revoked.run(cancel.clone()));
    tasks.spawn("certificate", certificate::renew(config.clone(), authority, tls, clock, cancel.clone()));
    if let Some(http) = http {
        tasks.spawn("http", http.run(cancel.clone()));
    }
    let accepting = cancel.clone();
    tasks.spawn("acceptor", async move {
        acceptor.run(accepting).await;
        Ok(())
    });
    tasks.spawn("grpc", services.run(incoming, cancel.cancelled_owned()));
    tracing::info!(%addr, fleet = %fleet, "coordinator is up");
    Ok(Running { addr, http_addr, tasks, grace: config.grace })
}
