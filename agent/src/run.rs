//! `run`: builds the parts and holds them together. Order of building is order of need; the end is in one place.
//!
//! ```text
//!   link ◀── observation, receipt, statistics ────── reconciler ──▶ engine
//!    │                                                   ▲
//!    └─ offers ──▶ keeper ── journal, watch<Desired> ────┘
//!                     └── tables, trust ──▶ socket ──▶ ingress, a process of its own
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use windlass_certs::csr::{CertifiedIdentity, IdentityError};
use windlass_certs::keys::{KeyError, SigningKey};
use windlass_certs::tls::{ClientTls, TlsError};
use windlass_core::host::HostStats;
use windlass_core::observation::Observation;
use windlass_core::reconcile::{LocalHost, Memory};
use windlass_process::{Tasks, report};

use crate::config::Config;
use crate::data::{DataDir, DataError};
use crate::document_store::{DocumentStore, OpenError, Opened};
use crate::guard::Guarded;
use crate::lease::LeaseFile;
use crate::link::{self, Link};
use crate::member::{Member, MemberError};
use crate::policy::{self, PolicyError};
use crate::receipt::{self, Signer};
use crate::reconciler::{self, MemoryStore, Reconciler};
use crate::renew::Renewal;
use crate::runtime::Runtime;
use crate::status::Status;
use crate::traffic::socket::Socket;
use crate::{clock, facts, gpu, lease, metrics, probe, state, stats, status, watchdog};

/// The time that tasks get to end.
const GRACE: Duration = Duration::from_secs(8);
/// The longest time that a start waits for the GPUs' first answer.
const GPUS: Duration = Duration::from_secs(2);

/// The reason that the agent did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Membership.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// The host policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The state that an earlier run stored.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Our certificate.
    #[error("failed to read this host's certificate")]
    Identity(#[from] IdentityError),
    /// Our receipt key.
    #[error("failed to read this host's receipt key")]
    Key(#[from] KeyError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody would notice if it stood still.
    #[error("failed to start the watchdog")]
    Watchdog(#[source] std::io::Error),
    /// A task ended.
    #[error("the agent stopped")]
    Task(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl RunError {
    /// Returns the next step of the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Data(error) => error.hint(),
            Self::Member(error) => error.hint(),
            Self::Policy(error) => error.hint(),
            Self::Open(error) => error.hint(),
            Self::Identity(error) => error.hint(),
            Self::Key(error) => error.hint(),
            Self::Tls(_) | Self::Watchdog(_) => None,
            Self::Task(_) => Some("start it again: what runs is adopted, nothing is touched".to_owned()),
        }
    }
}

/// The journal, as the reconciler sees it.
struct Memories(Option<state::Journal>);

impl MemoryStore for Memories {
    async fn save(&self, memory: &Memory) -> anyhow::Result<()> {
        // Adopting: nothing is started, and there is nothing to write to.
        let Some(journal) = &self.0 else { return Ok(()) };
        let memory = Memory { volatile: Default::default(), ..memory.clone() };
        Ok(journal.update(|state| state.memory = memory).await?)
    }
}

/// The GPUs that this host had, and had lost, when an agent last looked since its boot: one that was taken out while it was off
/// is not missed.
fn known_gpus(last: Option<Status>) -> gpu::Known {
    let up = lease::uptime().unwrap_or_default();
    let last = last.filter(|status| clock::now().since(status.at) < up);
    let known = |status: Status| gpu::Known {
        gpus: status.facts.gpus,
        lost: status.facts.gpus_lost,
        errors: status.gpu_errors,
    };
    last.map(known).unwrap_or_default()
}

/// Runs until `shutdown`, or the end of a task. `engine` makes the runtime once it is known who we are.
pub async fn run<R: Runtime>(
    config: &Config,
    shutdown: impl Future<Output = ()>,
    engine: impl FnOnce(Arc<LocalHost>, &Path) -> anyhow::Result<R>,
) -> Result<(), RunError> {
    let data = DataDir::open(&config.data)?;
    let _lock = data.lock()?;
    let member = Member::load(&data)?;
    let policy = policy::load(&config.policy)?;
    let mut tasks = Tasks::new();
    let cancel = tasks.cancel();
    tasks.spawn("pulse", watchdog::watch().map_err(RunError::Watchdog)?.run(cancel.clone()));
    let known = known_gpus(Status::load(&data.status()));
    let probe = gpu::Probe::new(known, gpu::Limits::default(), cancel.clone());
    let mut gpus = probe.seen();
    tasks.spawn("gpus", probe.run());
    // So that a host begins with its GPUs, if they answer at all.
    drop(tokio::time::timeout(GPUS, gpus.changed()).await);
    let facts = watch::Sender::new(Arc::new(facts::of_host(&member, &policy, &gpus.borrow())));
    let own = vec![config.policy.clone(), config.engine_socket().to_owned()];
    let opened = Opened { data: data.clone(), member, facts: facts.subscribe(), own };
    let keeper = Arc::new(DocumentStore::open(opened).await?);
    let identity = CertifiedIdentity::load(&data.identity())?;
    let key = SigningKey::load(&data.receipt_key())?;
    let pins = keeper.trust().document().ca.clone();
    let tls = ClientTls::new(keeper.member().fleet.clone(), pins, &identity, keeper.revocations().clone())?;
    let local = keeper.desired().borrow().local.clone();
    let runtime =
        engine(local, &data.files()).map_err(|error| RunError::Task(error.into_boxed_dyn_error()))?;
    let socket = config.engine_socket().to_owned();
    let folder = data.root().to_owned();
    let own_address = !policy.behind_nat;
    let runtime = Guarded::new(runtime, keeper.mounts().clone(), policy.host, socket, folder);
    let runtime = Arc::new(runtime);
    tracing::info!(
        host = %keeper.member().host,
        fleet = %keeper.member().fleet,
        version = env!("CARGO_PKG_VERSION"),
        plan = keeper.plan().map_or(0, |plan| plan.seq),
        "agent starts"
    );

    let observation = watch::Sender::new(Arc::new(Observation::default()));
    let measured = watch::Sender::new(Arc::new(HostStats::default()));
    let newest = measured.subscribe();
    let lease = LeaseFile::new(data.lease());
    let (receipt, contact) = (watch::Sender::new(None), watch::Sender::new(lease.load()));
    let (connected, identity) = (watch::Sender::new(String::new()), watch::Sender::new(Arc::new(identity)));

    let ingresses = watch::Sender::new(Arc::default());
    let wires = link::Wires {
        report: observation.subscribe(),
        receipt: receipt.subscribe(),
        ingresses: ingresses.subscribe(),
        facts: facts.subscribe(),
        stats: measured.subscribe(),
        identity: identity.subscribe(),
        contact: contact.clone(),
        connected: connected.clone(),
        cancel: cancel.clone(),
    };
    let writer = status::Writer {
        path: data.status(),
        report: observation.subscribe(),
        facts: facts.subscribe(),
        gpus: gpus.clone(),
        coordinator: connected.subscribe(),
        counters: keeper.counters().clone(),
        cancel: cancel.clone(),
    };
    let networks = watch::Sender::new(None);
    let path = config.ingress_socket();
    let socket = Socket {
        path,
        keeper: keeper.clone(),
        observation: observation.subscribe(),
        networks: networks.subscribe(),
        reports: ingresses,
        cancel: cancel.clone(),
    };
    tasks.spawn("socket of the ingress", socket.run());
    tasks.spawn("receipts", {
        let observation = observation.subscribe();
        Signer::new(keeper.clone(), key, receipt::Wires { observation, receipt, cancel: cancel.clone() })
            .run()
    });
    let (gpu_use, answers) = (watch::Sender::new(Arc::default()), probe::Answers::default());
    tasks.spawn("statistics", {
        let (observation, gpu_use) = (observation.subscribe(), gpu_use.subscribe());
        let (gpus, answers, cancel) = (gpus.clone(), answers.clone(), cancel.clone());
        stats::run(stats::Wires { observation, gpus, gpu_use, answers, stats: measured, cancel })
    });
    if let Some(address) = config.metrics {
        let host = keeper.member().host.to_string();
        tasks.spawn("metrics", metrics::run(address, host, newest, cancel.clone()));
    }
    let held = watch::Sender::new(Arc::default());
    tasks.spawn("reconciler", {
        let store = Memories(keeper.journal().cloned());
        let journaled = keeper.journal().map(|journal| journal.state().memory.clone());
        let memory = journaled.unwrap_or_else(Memory::of_new_host);
        let (desired, contact) = (keeper.desired(), contact.subscribe());
        let unwritable = keeper.unwritable();
        let wires = reconciler::Wires { desired, contact, observation, unwritable, cancel: cancel.clone() };
        let options = reconciler::Options {
            memory: facts.borrow().memory,
            gpus: gpus.clone(),
            networks,
            strangers: held.clone(),
            gpu_use,
            answers,
            own_address,
            ..reconciler::Options::default()
        };
        Reconciler::new(runtime.clone(), store, memory, wires, options).run()
    });
    if let Some(journal) = keeper.journal() {
        tasks.spawn("journal", state::again::run(journal.clone(), cancel.clone()));
    }
    let follow = facts::follow_gpus(keeper.clone(), facts.clone(), (gpus, held.subscribe()), cancel.clone());
    tasks.spawn("facts of GPUs", follow);
    tasks.spawn("lease", lease::keep(lease, contact.subscribe(), keeper.desired(), cancel.clone()));
    tasks.spawn("facts", facts::run(runtime.clone(), facts, cancel.clone()));
    tasks.spawn("status", writer.run());
    let renewal = Renewal {
        keeper: keeper.clone(),
        data,
        tls: tls.clone(),
        server: config.server.clone(),
        identity,
        cancel: cancel.clone(),
    };
    tasks.spawn("renewal", renewal.run());
    tasks.spawn("pins", follow_pins(keeper.clone(), tls.clone(), cancel));
    tasks.spawn("link", Link::new(keeper, runtime, tls, config.server.clone(), wires).run());

    let ended = tasks.run(shutdown, GRACE).await;
    tracing::info!("agent stops; what runs goes on");
    ended.map_err(|error| {
        tracing::error!(error = %report::chain(error.as_ref()), "a task ended");
        RunError::Task(error.into_boxed_dyn_error())
    })
}

/// Accepts the CAs of the newest trust document from the next connection on.
async fn follow_pins(
    keeper: Arc<DocumentStore>,
    tls: ClientTls,
    cancel: tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    let mut changed = keeper.trust_version();
    loop {
        tls.pin(keeper.trust().document().ca.clone());
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            changed = changed.changed() => changed?,
        }
    }
}
