//! The options of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use windlass_ingress::{DrainTimes, Limits, ProxyProtocol};

/// From a request until the head of its response.
pub const DEFAULT_RESPONSE_TIMEOUT: &str = "60s";
/// Until requests under way are cut at the end.
pub const DEFAULT_DRAIN: &str = "60s";
/// Until tunnels are cut at the end.
pub const DEFAULT_DRAIN_TUNNELS: &str = "10m";
/// Until idle connections close at the end, at most.
const IDLE: Duration = Duration::from_secs(10);

/// Addresses, folder and times of an ingress.
#[derive(Debug, Clone)]
pub struct Options {
    /// The agent's socket.
    pub socket: PathBuf,
    /// Its own folder.
    pub state: PathBuf,
    /// Plain HTTP.
    pub http: Option<SocketAddr>,
    /// HTTPS.
    pub https: Option<SocketAddr>,
    /// Answers plain requests with a redirect to HTTPS at this port.
    pub redirect: Option<u16>,
    /// A folder of certificates.
    pub certs: Option<PathBuf>,
    /// Text for Prometheus.
    pub metrics: Option<SocketAddr>,
    /// A line of JSON for each request goes here; `-` is stdout.
    pub access_log: Option<PathBuf>,
    /// Proxies before it whose word on clients is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The listeners at which these announce their clients before the first byte.
    pub proxy_protocol: ProxyProtocol,
    /// From a request until the head of its response.
    pub response_timeout: Duration,
    /// At the end, how long requests are still taken while health checks are told.
    pub notice: Duration,
    /// Until requests under way are cut at the end.
    pub drain: Duration,
    /// Until tunnels are cut at the end.
    pub drain_tunnels: Duration,
}

impl Options {
    /// Returns whether neither the stored state nor the folder of the agent's socket exists: then a folder's name is wrong. An ingress
    /// with stored state waits for its agent instead.
    pub(super) fn lacks_agent_and_state(&self) -> bool {
        let home = self.socket.parent().filter(|home| !home.as_os_str().is_empty());
        !self.state.exists() && home.is_some_and(|home| !home.exists())
    }

    /// The times and sizes of the data path.
    pub(super) fn limits(&self) -> Limits {
        Limits { response: self.response_timeout, ..Limits::default() }
    }

    /// The steps of the end.
    pub(super) fn drain_times(&self) -> DrainTimes {
        DrainTimes {
            idle: IDLE.min(self.drain / 2),
            requests: self.drain,
            tunnels: self.drain_tunnels.max(self.drain),
        }
    }
}
