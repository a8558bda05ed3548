//! Counts of the ends of handshakes, for metrics.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::{CertificateError, Error as TlsFailure};

/// Counts of the ends of handshakes, for metrics.
#[derive(Debug, Default)]
pub struct HandshakeStats {
    counts: [AtomicU64; Outcome::NAMES.len()],
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Done,
    Accept,
    Timeout,
    Closed,
    Expired,
    Revoked,
    WrongCa,
    WrongPeer,
    Protocol,
    Crowded,
    Throttled,
}

impl Outcome {
    const NAMES: [&'static str; 11] = [
        "done",
        "accept_failed",
        "timeout",
        "closed",
        "expired",
        "revoked",
        "wrong_ca",
        "wrong_peer",
        "protocol",
        "crowded",
        "throttled",
    ];

    pub(super) fn of(error: &io::Error) -> Self {
        use CertificateError as C;
        let failure = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsFailure>());
        match failure {
            None => Self::Closed,
            Some(TlsFailure::InvalidCertificate(reason)) => match reason {
                C::Expired | C::ExpiredContext { .. } => Self::Expired,
                C::Revoked => Self::Revoked,
                C::UnknownIssuer | C::BadSignature => Self::WrongCa,
                _ => Self::WrongPeer,
            },
            Some(_) => Self::Protocol,
        }
    }
}

impl HandshakeStats {
    /// Count per outcome: `done`, `timeout`, `closed`, `expired`, `revoked`, `wrong_ca`, `wrong_peer`, `protocol`,
    /// `accept_failed`, `crowded` (its place was needed for another one), `throttled` (its address comes too often).
    pub fn snapshot(&self) -> BTreeMap<&'static str, u64> {
        Outcome::NAMES
            .iter()
            .zip(&self.counts)
            .map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
            .collect()
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}
