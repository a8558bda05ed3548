//! Whether there is an engine, and its version.

use super::finding::Finding;
use crate::config::Config;
use crate::engine;

/// The oldest API that has what we use.
const OLDEST: (u32, u32) = (1, 41);

/// Asks the engine for its version.
pub(super) async fn check(config: &Config) -> Finding {
    let path = config.engine_socket();
    let hint = || {
        Some(format!(
            "is the Docker Engine running, and `{}` its socket? `--engine unix://…`",
            path.display()
        ))
    };
    let answer = match engine::get(path, "/version").await {
        Err(error) => return Finding::fail("engine", format!("{}: {error}", path.display()), hint()),
        Ok(answer) => answer.unwrap_or_default(),
    };
    let field = |name: &str| answer.get(name).and_then(|field| field.as_str());
    let Some((version, api)) = field("Version").zip(field("ApiVersion")) else {
        return Finding::fail("engine", "what answers there is no Docker Engine", hint());
    };
    let detail = format!("Docker Engine {version}, API {api}");
    if number(api) >= OLDEST {
        Finding::ok("engine", detail)
    } else {
        let hint = format!("Windlass needs API {}.{} (Docker 20.10) or newer", OLDEST.0, OLDEST.1);
        Finding::fail("engine", detail, Some(hint))
    }
}

fn number(api: &str) -> (u32, u32) {
    let mut parts = api.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
