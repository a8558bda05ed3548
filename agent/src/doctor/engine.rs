//! Is there an engine, and which?

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Finding;
use crate::config::Config;

const DEADLINE: Duration = Duration::from_secs(5);
/// The oldest API that has what we use.
const OLDEST: (u32, u32) = (1, 41);
const MAX_ANSWER: u64 = 64 * 1024;

/// Asks the engine for its version.
pub(super) async fn check(config: &Config) -> Finding {
    let path = config.engine_socket();
    let hint = || {
        Some(format!(
            "is the Docker Engine running, and `{}` its socket? `--engine unix://…`",
            path.display()
        ))
    };
    match timeout(DEADLINE, version(path)).await {
        Err(_) => Finding::fail("engine", format!("no answer within {} s", DEADLINE.as_secs()), hint()),
        Ok(Err(error)) => Finding::fail("engine", format!("{}: {error}", path.display()), hint()),
        Ok(Ok(None)) => Finding::fail("engine", "it does not speak the Docker API", hint()),
        Ok(Ok(Some((version, api)))) => {
            let detail = format!("Docker Engine {version}, API {api}");
            if number(&api) >= OLDEST {
                Finding::ok("engine", detail)
            } else {
                let hint = format!("Windlass needs API {}.{} (Docker 20.10) or newer", OLDEST.0, OLDEST.1);
                Finding::fail("engine", detail, Some(hint))
            }
        }
    }
}

/// Version of the engine and of its API. One request by hand, as `doctor` must work when nothing else does.
async fn version(path: &Path) -> std::io::Result<Option<(String, String)>> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(b"GET /version HTTP/1.0\r\nHost: engine\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    // The body may come in chunks; the object in it is all on one line.
    let json = body.find('{').zip(body.rfind('}')).map_or("", |(from, to)| &body[from..=to]);
    let Ok(value) = serde_json::from_str::<serde_json::Value>(json) else { return Ok(None) };
    let field = |name: &str| value.get(name).and_then(|field| field.as_str()).map(str::to_owned);
    Ok(field("Version").zip(field("ApiVersion")))
}

fn number(api: &str) -> (u32, u32) {
    let mut parts = api.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
