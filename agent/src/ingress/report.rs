//! The report that goes to the agent.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use windlass_core::Timestamp;
use windlass_core::traffic::{IngressReport, Listen, ROUTES_VERSIONS};
use windlass_ingress::handover::Listener;

use super::follower::Follower;
use crate::clock;

/// The longest time for the last report at the end.
const LAST: Duration = Duration::from_secs(3);

/// Writes reports.
#[derive(Debug, Clone)]
pub(super) struct Reporter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    follower: Arc<Follower>,
    process: u64,
    started_at: Timestamp,
    listens: Mutex<Vec<Listen>>,
    ending: AtomicBool,
    linked: AtomicBool,
    /// A report has gone out that was written after somebody asked for it.
    sent: Notify,
}

fn listens(listeners: &[Listener]) -> Vec<Listen> {
    let listen = |listener: &Listener| {
        let address = listener.socket.local_addr().ok()?;
        Some(Listen { name: listener.name.clone(), address })
    };
    listeners.iter().filter_map(listen).collect()
}

impl Reporter {
    /// `process` is a random number.
    pub(super) fn new(
        follower: Arc<Follower>,
        process: u64,
        started_at: Timestamp,
        listeners: &[Listener],
    ) -> Self {
        Self(Arc::new(Inner {
            follower,
            process: process >> 11,
            started_at,
            listens: Mutex::new(listens(listeners)),
            ending: AtomicBool::new(false),
            linked: AtomicBool::new(false),
            sent: Notify::new(),
        }))
    }

    /// It listens at other addresses now.
    pub(super) fn listen(&self, listeners: &[Listener]) {
        *self.0.listens.lock().unwrap_or_else(PoisonError::into_inner) = listens(listeners);
        self.0.follower.news.notify_one();
    }

    /// The addresses at which it listens.
    pub(super) fn listens(&self) -> Vec<Listen> {
        self.0.listens.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The numbers of this moment.
    pub(super) fn report(&self) -> IngressReport {
        let seen = self.0.follower.seen();
        IngressReport {
            process: self.0.process,
            started_at: self.0.started_at,
            at: clock::now(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            routes_versions: ROUTES_VERSIONS.to_vec(),
            listens: self.listens(),
            ending: self.0.ending.load(Relaxed),
            tables: seen.tables,
            refused: seen.refused,
            services: self.0.follower.ingress.traffic(),
            unrouted: self.0.follower.ingress.unrouted(),
            bad_requests: self.0.follower.ingress.bad_requests(),
            cut_services: 0,
        }
    }

    /// Lines of the access log that were lost.
    pub(super) fn access_log_dropped(&self) -> u64 {
        self.0.follower.ingress.access_log_dropped()
    }

    /// It accepts no connection any more.
    pub(super) fn ending(&self) {
        self.0.ending.store(true, Relaxed);
        self.0.listens.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.0.follower.news.notify_one();
    }

    /// Whether the agent is there to read.
    pub(super) fn linked(&self, linked: bool) {
        self.0.linked.store(linked, Relaxed);
    }

    /// A report went out.
    pub(super) fn sent(&self) {
        self.0.sent.notify_waiters();
    }

    /// Waits until one more report has gone out, if the agent is there.
    pub(super) async fn last(&self) {
        if self.0.linked.load(Relaxed) {
            let sent = self.0.sent.notified();
            self.0.follower.news.notify_one();
            drop(timeout(LAST, sent).await);
        }
    }
}
