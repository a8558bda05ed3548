//! The ends that a link has: the channels to the other tasks of the agent, and its connections.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_certs::csr::CertifiedIdentity;
use windlass_certs::tls::ConnectOptions;
use windlass_core::host::{HostFacts, HostStats};
use windlass_core::observation::Observation;
use windlass_proto::limits;

use crate::lease::Contact;
use crate::traffic::socket::Reports;

/// The channels between the link and the other tasks of the agent.
#[derive(Debug, Clone)]
pub struct Wires {
    /// The observation to report.
    pub report: watch::Receiver<Arc<Observation>>,
    /// The newest receipt.
    pub receipt: watch::Receiver<Option<Arc<Vec<u8>>>>,
    /// The newest report of each ingress beside this agent.
    pub ingresses: watch::Receiver<Arc<Reports>>,
    /// Facts about the host.
    pub facts: watch::Receiver<Arc<HostFacts>>,
    /// Measurements of the host.
    pub stats: watch::Receiver<Arc<HostStats>>,
    /// Our certificate; renewed elsewhere.
    pub identity: watch::Receiver<Arc<CertifiedIdentity>>,
    /// The coordinator's last sign of life.
    pub contact: watch::Sender<Option<Contact>>,
    /// Which coordinator is connected; empty if none.
    pub connected: watch::Sender<String>,
    /// Asks the task to end.
    pub cancel: CancellationToken,
}

/// Options of our connections.
pub(super) fn options() -> ConnectOptions {
    ConnectOptions {
        connect_timeout: limits::CONNECT_TIMEOUT,
        keepalive_interval: limits::KEEPALIVE,
        keepalive_timeout: limits::KEEPALIVE_TIMEOUT,
        stream_window: limits::STREAM_WINDOW,
        connection_window: limits::CONNECTION_WINDOW,
    }
}
