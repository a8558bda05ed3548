//! `windlass-agent ingress`: the reverse proxy beside the agent, a process of its own. It reads no key of the agent and
//! takes no lock of its folder; what it follows it has verified itself, and it runs on while the agent is away.
//!
//! ```text
//! agent ── socket ──▶ link ──▶ follower: verify ──▶ write ──▶ apply ──▶ report
//! clients ──▶ doors (http, https, metrics) ──▶ windlass_ingress::Ingress
//! successor ──▶ handover.sock ──▶ listeners over SCM_RIGHTS; this process drains and ends
//! ```

mod access;
mod doors;
mod error;
mod follower;
mod link;
mod metrics;
mod options;
mod report;
mod state;
mod succession;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use windlass_certs::random;
use windlass_ingress::{Certificates, Ingress, Settings, TrustedProxies};
use windlass_process::Tasks;

use crate::clock;

use access::AccessLog;
use doors::{Doors, Order, Plan};
use follower::Follower;
use report::Reporter;
use state::State;
use succession::Begin;

pub use error::IngressError;
pub use options::{DEFAULT_DRAIN, DEFAULT_DRAIN_TUNNELS, DEFAULT_RESPONSE_TIMEOUT, Options};
pub use state::StateError;

/// Time for tasks to end after the drain.
const GRACE: Duration = Duration::from_secs(5);

/// Runs until `shutdown` or until a successor has taken over, and drains.
///
/// # Errors
/// It could not begin, or a part of it ended early.
pub async fn run(options: &Options, shutdown: impl Future<Output = ()>) -> Result<(), IngressError> {
    if options.http.is_none() && options.https.is_none() {
        return Err(IngressError::NoAddress);
    }
    if options.lacks_agent_and_state() {
        return Err(IngressError::NoAgent { socket: options.socket.clone() });
    }
    let certificates = match (&options.certs, options.https) {
        (Some(folder), _) => Some(Certificates::open(folder)?),
        (None, Some(_)) => return Err(IngressError::NoCertificates),
        (None, None) => None,
    };
    let seed = random::bytes().map_or(0, u64::from_ne_bytes);
    let (log, queue) = match &options.access_log {
        None => (None, None),
        Some(path) => {
            let failed = |source| IngressError::AccessLog { path: path.clone(), source };
            let (log, queue) = AccessLog::open(path).map_err(failed)?;
            (Some(log), Some(queue))
        }
    };
    let trusted_proxies = TrustedProxies::new(options.trusted_proxies.clone());
    let proxy_protocol = options.proxy_protocol;
    let settings = Settings { seed, access_log: queue, trusted_proxies, proxy_protocol };
    let ingress = Ingress::with(options.limits(), settings);
    // A process that serves hands over its listeners; else this one is the first.
    let mut begin = Begin::new(&options.state).await?;
    let plan = Plan::of(options, certificates.clone());
    let listeners = plan.listeners(begin.inherited())?;
    drop(State::open(&options.state)?); // what cannot be followed is found before anybody stops accepting
    let (took_over, doubts) = (begin.takes_over(), begin.doubts());
    let (lock, state, tables) = begin.ready(&options.state).await?;
    let follower = Arc::new(Follower::new(ingress.clone(), state, tables));
    ingress.take_doubts(&doubts);
    if took_over {
        follower.told(); // what was in force until now is the newest
    }
    let reporter = Reporter::new(follower.clone(), seed, clock::now(), &listeners);

    let mut tasks = Tasks::new();
    let cancel = tasks.cancel();
    let (orders, received) = mpsc::channel(4);
    let told = follower.until_told();
    let doors =
        Doors::new(ingress.clone(), plan, listeners, reporter.clone(), received, told, cancel.clone());
    let sockets = doors.sockets();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        tables = ingress.in_force().len(),
        listens = ?reporter.listens(),
        "ingress starts"
    );
    tasks.spawn("doors", doors.run());
    let house = (ingress.clone(), cancel.clone());
    tasks.spawn("house", async move {
        house.0.keep_house(house.1).await;
        Ok(())
    });
    let probing = (ingress.clone(), cancel.clone());
    tasks.spawn("probes", async move {
        probing.0.probe(probing.1).await;
        Ok(())
    });
    if let Some(log) = log {
        tasks.spawn("access log", log.run(cancel.clone()));
    }
    if let Some(certificates) = certificates {
        let cancel = cancel.clone();
        tasks.spawn("certificates", async move {
            certificates.follow(cancel).await;
            Ok(())
        });
    }
    let link = link::Link {
        socket: options.socket.clone(),
        follower: follower.clone(),
        reporter: reporter.clone(),
        cancel: cancel.clone(),
    };
    tasks.spawn("link", link.run());
    let (succeeded, mut taken_over) = oneshot::channel();
    let succession = succession::Succession {
        folder: options.state.clone(),
        sockets: sockets.clone(),
        follower: follower.clone(),
        orders: orders.clone(),
        lock: Some(lock),
        succeeded: Some(succeeded),
        cancel: cancel.clone(),
    };
    tasks.spawn("succession", succession.run());
    let ending = async {
        let has_successor = tokio::select! {
            () = shutdown => give_notice(&ingress, options.notice, &mut taken_over).await,
            Ok(()) = &mut taken_over => true,
        };
        if !has_successor {
            let (done, stopped) = oneshot::channel();
            if orders.send(Order::Close(done)).await.is_ok() {
                drop(stopped.await);
            }
            sockets.close();
        }
        reporter.ending();
        tracing::info!("no connection is accepted any more; waiting for those that stand");
        ingress.drain(options.drain_times()).await;
        // The numbers of the last requests go out before the end.
        reporter.last().await;
    };
    let ended = tasks.run(ending, GRACE).await;
    tracing::info!("ingress ends");
    ended.map_err(|error| IngressError::Task(error.into_boxed_dyn_error()))
}

/// Lets the load balancers before this ingress find out that it ends, while it still takes requests. Answers whether a
/// successor has taken over meanwhile.
async fn give_notice(ingress: &Ingress, notice: Duration, taken_over: &mut oneshot::Receiver<()>) -> bool {
    ingress.leave();
    if !notice.is_zero() {
        tracing::info!(?notice, "health checks are told that this ingress ends; requests are still taken");
    }
    tokio::select! {
        () = tokio::time::sleep(notice) => false,
        Ok(()) = taken_over => true,
    }
}
