//! One question to the engine by hand, for what the runtime does not ask and for `doctor`, which must work when
//! nothing else does.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The longest time for an answer.
pub const DEADLINE: Duration = Duration::from_secs(5);
const MAX_ANSWER: u64 = 1 << 20;

/// The JSON object at `path` of the engine's API; `None` if what answers there is no engine.
pub async fn get(socket: &Path, path: &str) -> io::Result<Option<Value>> {
    let late =
        || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", DEADLINE.as_secs()));
    timeout(DEADLINE, ask(socket, path)).await.map_err(|_| late())?
}

async fn ask(socket: &Path, path: &str) -> io::Result<Option<Value>> {
    let mut stream = UnixStream::connect(socket).await?;
    // 1.0: the answer comes in one piece and ends with the connection.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(&[][..], |at| &answer[at + 4..]);
    Ok(serde_json::from_slice(body).ok().filter(Value::is_object))
}
