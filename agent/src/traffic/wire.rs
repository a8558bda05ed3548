//! Messages on the socket: four bytes of length, most significant first, then JSON. Either side passes over messages
//! that it does not know, so that a newer peer may say more.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use windlass_core::network::InnerNetwork;
use windlass_core::traffic::{Hold, IngressReport, MAX_REPORT, Reach};
use windlass_core::verify::AcceptedRoutes;
use windlass_core::{Digest, EnvironmentId, FleetId, HostId};

/// The version of this protocol.
pub const PROTOCOL: u32 = 1;
/// Most bytes of a message to an ingress: a table's envelope as a text of JSON.
pub const MOST_DOWN: usize = 8 << 20;
/// Most bytes of a message to an agent: a report.
pub const MOST_UP: usize = MAX_REPORT + 64 * 1024;
/// The longest time to write one message: a peer that reads nothing for so long is given up.
pub const WRITE: Duration = Duration::from_secs(10);
/// Most trust documents in one message.
pub const MOST_TRUST: usize = 64;

/// From the agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum Down {
    /// The first message.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The fleet of this host.
        fleet: FleetId,
        /// Its name.
        host: HostId,
        /// The addresses that requests may go to from there. An agent of before does not say.
        #[serde(default)]
        reach: Reach,
    },
    /// Trust documents after the version that the ingress has, the oldest first, at most [`MOST_TRUST`].
    Trust {
        /// DSSE envelopes, payload type `trust`.
        envelopes: Vec<String>,
    },
    /// The newest table of an environment.
    Table {
        /// DSSE envelope, payload type `routes`.
        envelope: String,
    },
    /// The ports at which this host answers with a release that it has restored, all of them.
    Holds {
        /// At most [`windlass_core::traffic::MAX_HOLDS`].
        holds: Vec<Hold>,
    },
    /// The inner networks of this host, all of them: the ingress answers at their gateways.
    Networks {
        /// At most [`windlass_core::network::MAX_NETWORKS`].
        networks: Vec<InnerNetwork>,
    },
    /// Everything that this agent has was told once.
    Told,
    /// Of a newer version.
    #[serde(other)]
    Unknown,
}

/// From the ingress.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum Up {
    /// The first message.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// Version of the newest trust document it has; 0 if none.
        trust: u64,
        /// The newest table of each environment.
        #[serde(default)]
        tables: BTreeMap<EnvironmentId, Position>,
    },
    /// The documents that the ingress has, sent every minute; the agent sends the missing ones again. Older agents ignore this message.
    Has {
        /// Version of the newest trust document; 0 if none.
        trust: u64,
        /// The newest table of each environment.
        #[serde(default)]
        tables: BTreeMap<EnvironmentId, Position>,
    },
    /// The tables in force, by which it acknowledges, and the counters.
    Report(Box<IngressReport>),
    /// Of a newer version.
    #[serde(other)]
    Unknown,
}

/// A table by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Its epoch.
    pub epoch: u64,
    /// Its number.
    pub seq: u64,
    /// Digest of its payload.
    pub digest: Digest,
}

impl From<AcceptedRoutes> for Position {
    fn from(accepted: AcceptedRoutes) -> Self {
        Self { epoch: accepted.epoch, seq: accepted.committed.seq, digest: accepted.committed.digest }
    }
}

/// Reads one message of at most `most` bytes; `None` at the end of the connection. Not to be dropped half-way.
///
/// # Errors
/// The connection broke, or the message is too long or no message.
pub async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > most {
        return Err(invalid(format!("a message of {length} bytes, at most {most} are allowed")));
    }
    // The peer's word does not reserve memory: it grows with what comes.
    let mut bytes = Vec::new();
    let wanted = u64::try_from(length).unwrap_or(u64::MAX);
    from.take(wanted).read_to_end(&mut bytes).await?;
    if bytes.len() != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| invalid(error.to_string()))
}

/// Writes one message within [`WRITE`].
///
/// # Errors
/// The connection broke, the peer did not read in time, or the message is longer than `most` bytes.
pub async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
    most: usize,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    if bytes.len() > most {
        return Err(invalid(format!("a message of {length} bytes, at most {most} are allowed")));
    }
    let written = timeout(WRITE, async {
        to.write_all(&length.to_be_bytes()).await?;
        to.write_all(&bytes).await?;
        to.flush().await
    });
    written.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_read_as_they_were_written() {
        let (mut one, mut other) = tokio::io::duplex(64);
        let sent = Down::Table { envelope: "{\"a\": 1}".repeat(100) };
        let (written, read) =
            tokio::join!(write(&mut one, &sent, MOST_DOWN), read::<Down>(&mut other, MOST_DOWN));
        written.unwrap();
        assert!(matches!(read.unwrap().unwrap(), Down::Table { envelope } if envelope.len() == 800));
        drop(one);
        assert!(read_one(&mut other).await.unwrap().is_none());
    }

    async fn read_one(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Up>> {
        read(from, MOST_UP).await
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_connection() {
        let framed = |text: &[u8]| [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat();
        let cut_off = framed(b"{\"message\":\"hello\"}")[..9].to_vec();
        for (case, bytes) in [
            ("a length beyond the bound", u32::MAX.to_be_bytes().to_vec()),
            ("no JSON", framed(b"nonsense")),
            ("a hello without its fields", framed(b"{\"message\":\"hello\"}")),
            ("cut off", cut_off),
        ] {
            assert!(read_one(&mut bytes.as_slice()).await.is_err(), "{case}");
        }
        let newer = framed(b"{\"message\":\"weather\",\"sun\":true}");
        assert!(matches!(read_one(&mut newer.as_slice()).await, Ok(Some(Up::Unknown))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_given_up() {
        let (mut one, _other) = tokio::io::duplex(64);
        let error = write(&mut one, &"x".repeat(1000), MOST_UP).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
