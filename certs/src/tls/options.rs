//! Places and times of a listener.

use std::time::Duration;

/// Limits of a listener for strangers.
#[derive(Debug, Clone)]
pub struct AcceptOptions {
    /// Handshakes at a time of addresses that have proven no certificate.
    pub handshakes: usize,
    /// The same from one address; one more, and its oldest is cut.
    pub handshakes_per_address: usize,
    /// Handshakes at a time of addresses that have proven a certificate lately.
    pub proven_handshakes: usize,
    /// The longest time for the client's hello.
    pub hello_timeout: Duration,
    /// The longest time for the rest of a handshake.
    pub handshake_timeout: Duration,
    /// Connections the kernel keeps waiting.
    pub backlog: u32,
    /// The lifetime of a connection without a certificate: enough to enrol or renew.
    pub anonymous_lifetime: Duration,
    /// Connections without a certificate, all together.
    pub anonymous: usize,
    /// The same from one address; one more, and its oldest is cut.
    pub anonymous_per_address: usize,
}

impl Default for AcceptOptions {
    fn default() -> Self {
        Self {
            handshakes: 512,
            handshakes_per_address: 256,
            proven_handshakes: 2048,
            hello_timeout: Duration::from_secs(3),
            handshake_timeout: Duration::from_secs(10),
            backlog: 4096,
            anonymous_lifetime: Duration::from_secs(60),
            anonymous: 1024,
            anonymous_per_address: 256,
        }
    }
}

impl AcceptOptions {
    /// Fewer places where a process may open only so many descriptors: at least half of them are for members.
    #[must_use]
    pub fn within(self, descriptors: u64) -> Self {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let part = |places: usize, of: usize| places.min(descriptors / of).max(1);
        Self {
            handshakes: part(self.handshakes, 8),
            proven_handshakes: part(self.proven_handshakes, 8),
            anonymous: part(self.anonymous, 4),
            anonymous_per_address: part(self.anonymous_per_address, 16),
            ..self
        }
    }
}
