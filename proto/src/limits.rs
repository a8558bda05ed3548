//! Sizes, intervals and deadlines of the wire. Measured with 10 000 streams on one listener: these
//! windows cost 51 KB per host.

use std::time::Duration;

/// Largest message on the agent link and on control calls, in bytes.
pub const MAX_MESSAGE: usize = 8 << 20;
/// HTTP/2 flow-control window of one stream, in bytes.
pub const STREAM_WINDOW: u32 = 64 << 10;
/// HTTP/2 flow-control window of one connection, in bytes.
pub const CONNECTION_WINDOW: u32 = 128 << 10;
/// Streams that one connection may have open.
pub const MAX_STREAMS: u32 = 16;
/// Largest header list, in bytes.
pub const MAX_HEADERS: u32 = 16 << 10;
/// Interval of HTTP/2 pings on an otherwise silent connection.
pub const KEEPALIVE: Duration = Duration::from_secs(10);
/// The longest time for the answer to a ping.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time to establish a connection, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Deadline of a call that is not a stream.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Interval of an agent's heartbeats.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// Largest release envelope, in bytes (payload ≤ 256 KiB, base64 and signatures on top).
pub const MAX_RELEASE_ENVELOPE: usize = 400 << 10;
/// Largest plan envelope, in bytes (payload ≤ 4 MiB, base64 and signatures on top).
pub const MAX_PLAN_ENVELOPE: usize = 6 << 20;
/// Largest routes envelope, in bytes (payload ≤ 4 MiB, base64 and signatures on top).
pub const MAX_ROUTES_ENVELOPE: usize = 6 << 20;
/// Largest report of an ingress, in bytes.
pub const MAX_INGRESS_REPORT: usize = 1 << 20;
/// Largest report of statistics, in bytes.
pub const MAX_STATS_REPORT: usize = 1 << 20;
/// Largest statistics in a heartbeat, for a coordinator that takes no report of them, in bytes.
pub const MAX_STATS_IN_HEARTBEAT: usize = 256 << 10;
/// Bytes of statistics that a host sends per second at most.
pub const STATS_PER_SECOND: usize = 32 << 10;
/// Most environments of which a hello says the newest table.
pub const MAX_ROUTES_POSITIONS: usize = 256;
/// Least size of a message on a stream whose reader may pause, in bytes. `h2` closes a connection on which too many
/// DATA frames below this size wait to be read.
pub const MIN_MESSAGE: usize = 256;
/// Most bytes of log lines in one message, unless one line is longer.
pub const LOG_BATCH: usize = 64 << 10;
/// Longest log line, in bytes; the rest is cut.
pub const MAX_LOG_LINE: usize = 1 << 20;
/// Last lines of an instance that may be asked for by number.
pub const MAX_LOG_TAIL: u32 = 1_000_000;
