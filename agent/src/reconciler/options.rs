//! Facts about the host that the reconciler is given, and how often it looks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use windlass_core::Timestamp;
use windlass_core::network::InnerNetwork;

use crate::clock;
use crate::gpu;
use crate::lease::uptime;
use crate::probe::Answers;

/// The inner networks of this host; `None` as long as they are not known.
pub type Networks = Option<Arc<Vec<InnerNetwork>>>;

/// Options of the reconciler: facts about the host, and how often it looks.
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory of the host in bytes; 0 while unknown.
    pub memory: u64,
    /// Its GPUs, as far as they are known.
    pub gpus: watch::Receiver<gpu::Shared>,
    /// Publishes inner networks, once they are journaled; `None` before the first decision.
    pub networks: watch::Sender<Networks>,
    /// Publishes the GPU memory that strangers hold.
    pub strangers: watch::Sender<Arc<gpu::Held>>,
    /// Publishes the GPU memory that containers use.
    pub gpu_use: watch::Sender<Arc<gpu::Use>>,
    /// Receiver of the figures of probes.
    pub answers: Answers,
    /// Whether an interface of the host is to have its address: no router translates that.
    pub own_address: bool,
    /// Time between two looks at everything without an event.
    pub resync: Duration,
    /// The wall clock.
    pub now: fn() -> Timestamp,
    /// Time since the boot of the host: a clock that nobody sets.
    pub uptime: fn() -> Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        let gpus = watch::channel(gpu::Shared::default()).1; // none, for ever
        let (networks, strangers) = (watch::Sender::new(None), watch::Sender::new(Arc::default()));
        let (gpu_use, answers) = (watch::Sender::new(Arc::default()), Answers::default());
        let resync = Duration::from_secs(15);
        let own_address = false;
        Self {
            memory: 0,
            gpus,
            networks,
            strangers,
            gpu_use,
            answers,
            own_address,
            resync,
            now: clock::now,
            uptime,
        }
    }
}
