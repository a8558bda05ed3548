//! The listeners: opened and closed as a whole, so that a successor can take them over.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_ingress::handover::Listener;
use windlass_ingress::{Certificates, Ingress};

use super::options::Options;
use super::report::Reporter;
use super::{IngressError, metrics};
use crate::readers;

const HTTP: &str = "http";
const HTTPS: &str = "https";
const METRICS: &str = "metrics";

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
        let mut inherited = inherited;
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
        self.wanted.iter().map(listen).collect()
    }
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
    cancel: CancellationToken,
}

/// The loops that accept.
struct Open {
    stop: CancellationToken,
    loops: JoinSet<anyhow::Result<()>>,
}

impl Doors {
    pub(super) fn new(
        ingress: Ingress,
        plan: Plan,
        listeners: Vec<Listener>,
        reporter: Reporter,
        orders: mpsc::Receiver<Order>,
        cancel: CancellationToken,
    ) -> Self {
        let sockets = Sockets(Arc::new(Mutex::new(listeners)));
        Self { ingress, plan, sockets, reporter, orders, cancel }
    }

    /// The sockets, for a successor.
    pub(super) fn sockets(&self) -> Sockets {
        self.sockets.clone()
    }

    /// Accepts until it is told to stop.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let mut open = self.open()?;
        loop {
            let order = tokio::select! {
                () = self.cancel.cancelled() => return Ok(()),
                Some(ended) = open.loops.join_next() => {
                    ended??;
                    anyhow::bail!("a listener ended early");
                }
                order = self.orders.recv() => order,
            };
            match order {
                Some(Order::Close(done)) => {
                    open.stop.cancel();
                    while let Some(ended) = open.loops.join_next().await {
                        ended??;
                    }
                    let _ = done.send(()); // whoever asked may have gone
                }
                Some(Order::Open) => open = self.open()?,
                None => {
                    self.cancel.cancelled().await;
                    return Ok(());
                }
            }
        }
    }

    fn open(&self) -> anyhow::Result<Open> {
        let (stop, mut loops) = (CancellationToken::new(), JoinSet::new());
        for Listener { name, socket } in self.sockets.copies()? {
            socket.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(socket)?;
            let (ingress, stop, plan) = (self.ingress.clone(), stop.clone(), self.plan.clone());
            let reporter = self.reporter.clone();
            loops.spawn(async move {
                match (name.as_str(), plan.redirect, plan.certificates) {
                    (HTTP, None, _) => ingress.serve_plain(listener, stop).await,
                    (HTTP, Some(port), _) => ingress.serve_redirect(listener, port, stop).await,
                    (HTTPS, _, Some(certificates)) => {
                        ingress.serve_tls(listener, certificates, stop).await?;
                    }
                    (METRICS, ..) => {
                        let text = move || metrics::text(&reporter.report(), reporter.access_log_dropped());
                        readers::serve(Arc::new(text), listener, stop).await;
                    }
                    (other, ..) => anyhow::bail!("a listener `{other}` is none of ours"),
                }
                Ok(())
            });
        }
        Ok(Open { stop, loops })
    }
}
