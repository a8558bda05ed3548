//! The link to a coordinator: one stream, reconnected for ever. Nothing that runs depends on it.
//!
//! ```text
//! connect ─▶ session (Hello, Welcome, pump) ─▶ ended ─▶ wait (jitter) ─▶ next address ─▶ connect …
//! ```
//!
//! Delays stay below three seconds in the first minutes of an outage, so that a coordinator that is restarted has its
//! hosts back at once, and grow to thirty after that.

mod ended;
mod intake;
mod logs;
mod outbox;
mod session;
mod telemetry;
mod traffic;
mod wires;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use windlass_certs::random;
use windlass_certs::tls::{ClientTls, ConnectError, connect};
use windlass_core::observation::{Refusal, RefusalCode};
use windlass_process::{Backoff, backoff, report};

use crate::document_store::DocumentStore;
use crate::runtime::Runtime;

use ended::Ended;
use session::Session;
use wires::options;

pub use wires::Wires;

const FIRST_DELAY: Duration = Duration::from_millis(250);
/// Most that is waited while the outage is young.
const SOON: Duration = Duration::from_secs(3);
/// Most that is waited at all.
const LATE: Duration = Duration::from_secs(30);
/// The age up to which an outage is young.
const YOUNG: Duration = Duration::from_secs(180);

/// The message of a host that was evicted or banned.
const EVICTED: &str = "this host was evicted or banned; what it runs goes on until somebody stops it. To come back, make a \
    token with `windlass host token`, stop this agent, and join with a new `--data` folder (after a ban under another \
    name): containers are adopted that are as their releases say";

/// The task.
#[derive(Debug)]
pub struct Link<R> {
    keeper: Arc<DocumentStore>,
    runtime: Arc<R>,
    tls: ClientTls,
    server: Option<String>,
    wires: Wires,
    /// Tells the streams of this process from those of any other that shows the same certificate.
    run: u64,
}

impl<R: Runtime> Link<R> {
    /// `server` is asked before the coordinators that the trust document names.
    pub fn new(
        keeper: Arc<DocumentStore>,
        runtime: Arc<R>,
        tls: ClientTls,
        server: Option<String>,
        wires: Wires,
    ) -> Self {
        // Without randomness it says nothing, and is believed to be the only one.
        let run = random::bytes().map_or(0, u64::from_ne_bytes);
        Self { keeper, runtime, tls, server, wires, run }
    }

    /// Keeps the link up until it is cancelled.
    pub async fn run(self) -> anyhow::Result<()> {
        let cancel = self.wires.cancel.clone();
        let mut backoff = Backoff::new(FIRST_DELAY, SOON);
        let (mut down_since, mut turn) = (Instant::now(), 0_usize);
        loop {
            let addresses = addresses(&self.keeper, self.server.as_deref());
            let address = &addresses[turn % addresses.len()];
            let ended = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                ended = self.once(address) => ended,
            };
            self.wires.connected.send_if_modified(|now| !std::mem::take(now).is_empty());
            if let Ended::AfterWelcome { .. } | Ended::Handover = ended {
                backoff = Backoff::new(FIRST_DELAY, SOON);
                down_since = Instant::now();
            } else {
                turn = turn.wrapping_add(1);
            }
            if down_since.elapsed() > YOUNG && backoff.failures() > 0 {
                backoff = slow(&backoff);
            }
            let wait = match ended {
                Ended::Handover => Duration::ZERO,
                Ended::AfterWelcome { .. } | Ended::Before { .. } => backoff.next(backoff::random()),
            };
            ended.log(address, wait);
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One connection, from the first packet to the last.
    async fn once(&self, address: &str) -> Ended {
        match connect(address, &self.tls, &options()).await {
            Ok(channel) => {
                Box::pin(
                    Session::new(&self.keeper, &self.runtime, &self.wires, &self.tls, address, self.run)
                        .run(channel),
                )
                .await
            }
            Err(error) => {
                self.count(address, &error);
                let hint = match error {
                    ConnectError::OurCertificateRevoked => Some(EVICTED),
                    _ => error.hint(),
                };
                Ended::Before { why: report::chain(&error), hint }
            }
        }
    }

    /// Step 2 of the verification order: whoever answers is a coordinator of this fleet, or nobody.
    fn count(&self, address: &str, error: &ConnectError) {
        match error {
            ConnectError::WrongCa(_)
            | ConnectError::WrongPeer { .. }
            | ConnectError::TheirCertificateExpired(_)
            | ConnectError::TheirCertificateRevoked(_) => {
                let refusal = Refusal { code: RefusalCode::WrongPeer, detail: report::chain(error) };
                self.keeper.counters().refused("peer", address, &refusal);
            }
            ConnectError::Unreachable { .. }
            | ConnectError::Timeout { .. }
            | ConnectError::Handshake { .. }
            | ConnectError::OurCertificateExpired
            | ConnectError::OurCertificateRevoked
            | ConnectError::OurCertificateRefused(_)
            | ConnectError::Channel { .. } => {}
        }
    }
}

/// Doubling goes on where it was, with a higher ceiling.
fn slow(young: &Backoff) -> Backoff {
    let mut late = Backoff::new(FIRST_DELAY, LATE);
    for _ in 0..young.failures().min(16) {
        late.next(0.0);
    }
    late
}

/// Addresses of coordinators: as configured, then as joined, then as the trust document says; each once.
pub fn addresses(keeper: &DocumentStore, configured: Option<&str>) -> Vec<String> {
    let trust = keeper.trust();
    let joined = keeper.member().server.as_str();
    let named = trust.document().coordinators.iter().map(String::as_str);
    let mut addresses: Vec<String> = Vec::new();
    for address in configured.into_iter().chain([joined]).chain(named) {
        if !addresses.iter().any(|known| known == address) {
            addresses.push(address.to_owned());
        }
    }
    addresses
}

#[cfg(test)]
mod tests;
