//! Every time and size of the data path, in one place.

use std::time::Duration;

/// Bytes of one HTTP/2 stream that may wait here.
pub(crate) const STREAM_WINDOW: u32 = 64 * 1024;

/// Bytes of one HTTP/2 connection that may wait here. Memory is bounded by streams × [`STREAM_WINDOW`]; this bound is for
/// small frames: h2 closes a connection when frames below 256 bytes that wait cost more than half this window
/// (`data_frame_budget` in h2 0.4.20, which hyper does not pass on), and a stream may fill its window with one-byte
/// frames: 65,536 × 255 bytes. Twice that fits here.
pub(crate) const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;

/// Times and sizes that an ingress keeps to.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of clients at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// From the first byte of a request until its head is there; also how long a kept-alive connection may idle.
    pub head: Duration,
    /// Size of a request's or response's head.
    pub head_bytes: u32,
    /// Headers of a request or response.
    pub headers: usize,
    /// Until a plain connection has shown which protocol it speaks.
    pub detect: Duration,
    /// Until a TLS connection stands.
    pub handshake: Duration,
    /// Until a connection to an endpoint stands.
    pub connect: Duration,
    /// From the request until the response's head.
    pub response: Duration,
    /// The time without any answer after which an endpoint with requests is thought to hang, and longer if its answers took
    /// longer before.
    pub silence: Duration,
    /// Without a byte of a body in either direction.
    pub body_idle: Duration,
    /// For how long the rest of an HTTP/1 request that was answered before its end is read and dropped.
    pub linger: Duration,
    /// Without a byte of that rest.
    pub linger_idle: Duration,
    /// Most bytes of that rest.
    pub linger_bytes: usize,
    /// Without a byte in a tunnel.
    pub tunnel_idle: Duration,
    /// The time that an idle connection to an endpoint is kept. Node closes its own after 5 s: ours have to go first.
    pub upstream_idle: Duration,
    /// Connections to one endpoint.
    pub upstream_connections: usize,
    /// The longest time that a request waits for one of them.
    pub upstream_queue: Duration,
    /// Idle connections kept to one endpoint.
    pub upstream_kept: usize,
    /// HTTP/2 connections of clients without a request.
    pub h2_idle: Duration,
    /// HTTP/2 connections of clients, plus or minus a tenth.
    pub h2_lifetime: Duration,
    /// Requests of a service that wait for an endpoint at once.
    pub held: usize,
    /// The longest time between two looks of a request that waits for an endpoint which cannot be reached yet.
    pub hold_look: Duration,
    /// Consecutive failures to connect after which an endpoint is left out.
    pub eject_after: u32,
    /// For how long, doubled each time.
    pub eject: Duration,
    /// At most.
    pub eject_most: Duration,
    /// Time between two probes of an endpoint; longer where [`probe_rate`](Self::probe_rate) does not suffice.
    pub probe: Duration,
    /// Most probes in a second of healthy endpoints: those of ten thousand would take a processor from requests, which tell more.
    /// Doubtful ones are probed in time.
    pub probe_rate: u32,
    /// The same while its service has two releases.
    pub probe_busy: Duration,
    /// The longest time for the answer to a probe.
    pub probe_timeout: Duration,
    /// Probes in a row without an answer after which an endpoint is left out until it answers.
    pub unready_after: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            head: Duration::from_secs(60),
            head_bytes: 64 * 1024,
            headers: 100,
            detect: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(1),
            response: Duration::from_secs(60),
            silence: Duration::from_secs(3),
            body_idle: Duration::from_secs(300),
            linger: Duration::from_secs(30),
            linger_idle: Duration::from_secs(5),
            linger_bytes: 256 << 20,
            tunnel_idle: Duration::from_secs(3600),
            upstream_idle: Duration::from_secs(4),
            upstream_connections: 1024,
            upstream_queue: Duration::from_millis(100),
            upstream_kept: 64,
            h2_idle: Duration::from_secs(120),
            h2_lifetime: Duration::from_secs(3600),
            held: 1000,
            hold_look: Duration::from_millis(200),
            eject_after: 5,
            eject: Duration::from_secs(10),
            eject_most: Duration::from_secs(300),
            probe: Duration::from_secs(10),
            probe_rate: 100,
            probe_busy: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(2),
            unready_after: 2,
        }
    }
}
