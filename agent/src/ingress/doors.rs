//! The listeners: opened and closed as a whole, so that a successor can take them over.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use windlass_ingress::handover::Listener;
use windlass_ingress::{Certificates, Ingress, MOST_INNER};

use super::error::IngressError;
use super::metrics;
use super::options::Options;
use super::report::Reporter;
use crate::readers;

const HTTP: &str = "http";
const HTTPS: &str = "https";
const METRICS: &str = "metrics";
/// At the gateway of an inner network.
const INNER: &str = "inner";
/// Time that a process which begins alone waits for the agent's newest tables before it accepts by its stored ones.
const NEWEST: Duration = Duration::from_secs(2);
/// Time until a taken address is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// An order to the doors.
#[derive(Debug)]
pub(super) enum Order {
    /// Accept no more, and say when that is so.
    Close(oneshot::Sender<()>),
    /// Accept again.
    Open,
}

/// The services and their addresses.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    wanted: Vec<(&'static str, SocketAddr)>,
    redirect: Option<u16>,
    certificates: Option<Arc<Certificates>>,
}

impl Plan {
    pub(super) fn of(options: &Options, certificates: Option<Arc<Certificates>>) -> Self {
        let wanted = [(HTTP, options.http), (HTTPS, options.https), (METRICS, options.metrics)];
        let wanted = wanted.into_iter().filter_map(|(name, address)| Some((name, address?)));
        Self { wanted: wanted.collect(), redirect: options.redirect, certificates }
    }

    /// A listener for each address: the inherited one, if there is one for the same service and address, else a new one.
    pub(super) fn listeners(&self, inherited: Vec<Listener>) -> Result<Vec<Listener>, IngressError> {
        // Those at inner networks are sorted out once it is known which there are.
        let (inner, mut inherited): (Vec<_>, Vec<_>) =
            inherited.into_iter().partition(|listener| listener.name == INNER);
        let listen = |(name, address): &(&'static str, SocketAddr)| {
            let same = |listener: &Listener| {
                let at = listener.socket.local_addr();
                listener.name == *name && at.is_ok_and(|at| at == *address || address.port() == 0)
            };
            if let Some(at) = inherited.iter().position(same) {
                return Ok(inherited.swap_remove(at));
            }
            let failed = |source| IngressError::Bind { address: *address, source };
            let socket = bind(*address).map_err(failed)?;
            Ok(Listener { name: (*name).to_owned(), socket })
        };
        let mut listeners = self.wanted.iter().map(listen).collect::<Result<Vec<_>, IngressError>>()?;
        listeners.extend(inner);
        Ok(listeners)
    }

    /// The listener of its own that has the port of this address already, by what it serves.
    fn covers(&self, at: SocketAddrV4) -> Option<&'static str> {
        let has = |(_, own): &&(&'static str, SocketAddr)| {
            let ip = own.ip().to_canonical();
            own.port() == at.port() && (ip.is_unspecified() || ip == *at.ip())
        };
        self.wanted.iter().find(has).map(|(name, _)| *name)
    }
}

/// The listeners at gateways of inner networks. A gateway may not be there yet: the engine makes it with its network.
fn bind_inner(at: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    rustix::net::sockopt::set_ip_freebind(&socket, true)?;
    socket.set_reuseaddr(true)?;
    socket.bind(at.into())?;
    socket.listen(1024)?.into_std()
}

/// Tokio's own way to listen sets `SO_REUSEADDR`, so that a restart need not wait for old connections.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket =
        if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)?.into_std()
}

/// The sockets themselves. The kernel takes connections for as long as one copy is open.
#[derive(Debug, Clone)]
pub(super) struct Sockets(Arc<Mutex<Vec<Listener>>>);

impl Sockets {
    fn held(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies, to accept from or to hand over.
    pub(super) fn copies(&self) -> io::Result<Vec<Listener>> {
        let copy = |listener: &Listener| {
            Ok(Listener { name: listener.name.clone(), socket: listener.socket.try_clone()? })
        };
        self.held().iter().map(copy).collect()
    }

    /// Closes this process's copies for good.
    pub(super) fn close(&self) {
        self.held().clear();
    }
}

/// The task.
#[derive(Debug)]
pub(super) struct Doors {
    ingress: Ingress,
    plan: Plan,
    sockets: Sockets,
    reporter: Reporter,
    orders: mpsc::Receiver<Order>,
    /// Nothing newer than what is in force is to be waited for.
    told: watch::Receiver<bool>,
    cancel: CancellationToken,
    /// Addresses at which it cannot listen, and was said so.
    taken: BTreeSet<SocketAddrV4>,
    /// There are more addresses than one process listens at, and that was said.
    cut: bool,
}

/// The loops that accept.
struct Open {
    stop: CancellationToken,
    loops: JoinSet<anyhow::Result<()>>,
    /// Those at inner networks, which come and go.
    inner: BTreeMap<SocketAddrV4, CancellationToken>,
    inner_loops: JoinSet<()>,
}

impl Doors {
    pub(super) fn new(
        ingress: Ingress,
        plan: Plan,
        listeners: Vec<Listener>,
        reporter: Reporter,
        orders: mpsc::Receiver<Order>,
        told: watch::Receiver<bool>,
        cancel: CancellationToken,
    ) -> Self {
        let sockets = Sockets(Arc::new(Mutex::new(listeners)));
        Self { ingress, plan, sockets, reporter, orders, told, cancel, taken: BTreeSet::new(), cut: false }
    }

    /// The sockets, for a successor.
    pub(super) fn sockets(&self) -> Sockets {
        self.sockets.clone()
    }

    /// Accepts until it is told to stop.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        // A table that was in force long ago may lead to ports that others have by now. Clients wait in the kernel's queue.
        let newest = timeout(NEWEST, self.told.wait_for(|told| *told));
        tokio::select! {
            () = self.cancel.cancelled() => return Ok(()),
            told = newest => if told.is_err() {
                tracing::warn!("the agent has not told its newest tables in time; serving by the last ones");
            }
        }
        let mut open = self.open()?;
        let mut changes = self.ingress.changes();
        let mut closed = false;
        loop {
            changes.borrow_and_update();
            if !closed {
                self.arrange(&mut open)?;
            }
            let order = tokio::select! {
                () = self.cancel.cancelled() => return Ok(()),
                Some(ended) = open.loops.join_next() => {
                    ended??;
                    anyhow::bail!("a listener ended early");
                }
                Some(ended) = open.inner_loops.join_next() => { ended?; continue; }
                Ok(()) = changes.changed() => continue,
                () = sleep(AGAIN), if !closed && !self.taken.is_empty() => continue,
                order = self.orders.recv() => order,
            };
            match order {
                Some(Order::Close(done)) => {
                    open.stop.cancel();
                    while let Some(ended) = open.loops.join_next().await {
                        ended??;
                    }
                    while let Some(ended) = open.inner_loops.join_next().await {
                        ended?;
                    }
                    closed = true;
                    let _ = done.send(()); // whoever asked may have gone
                }
                Some(Order::Open) => {
                    open = self.open()?;
                    closed = false;
                }
                None => {
                    self.cancel.cancelled().await;
                    return Ok(());
                }
            }
        }
    }

    fn open(&self) -> anyhow::Result<Open> {
        let (stop, mut loops) = (CancellationToken::new(), JoinSet::new());
        let (mut inner, mut inner_loops) = (BTreeMap::new(), JoinSet::new());
        for Listener { name, socket } in self.sockets.copies()? {
            socket.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(socket)?;
            if name == INNER {
                let SocketAddr::V4(at) = listener.local_addr()? else { continue };
                let stop = stop.child_token();
                inner.insert(at, stop.clone());
                let ingress = self.ingress.clone();
                inner_loops.spawn(async move { ingress.serve_inner(listener, stop).await });
                continue;
            }
            let (ingress, stop, plan) = (self.ingress.clone(), stop.clone(), self.plan.clone());
            let (reporter, certificates) = (self.reporter.clone(), plan.certificates.clone());
            loops.spawn(async move {
                match (name.as_str(), plan.redirect, plan.certificates) {
                    (HTTP, None, _) => ingress.serve_plain(listener, stop).await,
                    (HTTP, Some(port), _) => ingress.serve_redirect(listener, port, stop).await,
                    (HTTPS, _, Some(certificates)) => {
                        ingress.serve_tls(listener, certificates, stop).await?;
                    }
                    (METRICS, ..) => {
                        let text = move || {
                            let lost = reporter.access_log_dropped();
                            metrics::text(&reporter.report(), lost, certificates.as_deref())
                        };
                        readers::serve(Arc::new(text), listener, stop).await;
                    }
                    (other, ..) => anyhow::bail!("a listener `{other}` is none of ours"),
                }
                Ok(())
            });
        }
        Ok(Open { stop, loops, inner, inner_loops })
    }

    /// Listens at the gateways of inner networks where services are called, and nowhere else there.
    fn arrange(&mut self, open: &mut Open) -> anyhow::Result<()> {
        let all = self.ingress.inner_listens();
        if all.len() > MOST_INNER && !std::mem::replace(&mut self.cut, true) {
            tracing::error!(
                addresses = all.len(),
                most = MOST_INNER,
                "services are called by name at too many ports"
            );
        }
        self.cut &= all.len() > MOST_INNER;
        let wanted: BTreeSet<SocketAddrV4> = all.into_iter().take(MOST_INNER).collect();
        self.taken.retain(|at| wanted.contains(at));
        let gone: Vec<SocketAddrV4> = open.inner.keys().filter(|at| !wanted.contains(at)).copied().collect();
        let mut changed = !gone.is_empty();
        for at in &gone {
            open.inner.remove(at).into_iter().for_each(|stop| stop.cancel());
            self.sockets.held().retain(|listener| listener.socket.local_addr().ok() != Some((*at).into()));
        }
        for at in wanted.into_iter().filter(|at| !open.inner.contains_key(at)).collect::<Vec<_>>() {
            let socket = match self.plan.covers(at) {
                Some(HTTP) => continue, // it serves what comes in at that gateway too
                Some(other) => Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    format!("`--{other}` of this ingress has the port"),
                )),
                None => bind_inner(at),
            };
            let socket = match socket {
                Ok(socket) => socket,
                Err(error) => {
                    if self.taken.insert(at) {
                        tracing::error!(address = %at, %error, "services cannot be called by name at this port; trying again");
                    }
                    continue;
                }
            };
            self.taken.remove(&at);
            socket.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(socket.try_clone()?)?;
            let (ingress, stop) = (self.ingress.clone(), open.stop.child_token());
            open.inner.insert(at, stop.clone());
            open.inner_loops.spawn(async move { ingress.serve_inner(listener, stop).await });
            self.sockets.held().push(Listener { name: INNER.to_owned(), socket });
            changed = true;
        }
        if changed {
            self.reporter.listen(&self.sockets.held());
            tracing::info!(listens = ?self.reporter.listens(), "listens at other inner networks");
        }
        Ok(())
    }
}
