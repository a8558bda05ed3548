//! Registry logins: those of the usual Docker configuration of the agent's user.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use windlass_process::aside::Aside;

use crate::data::read_bounded;

/// The longest time for the file of logins, and for a helper.
const PATIENCE: Duration = Duration::from_secs(10);
/// A longer file is none.
const MAX_LOGINS: u64 = 1 << 20;
static LOGINS: LazyLock<Aside> = LazyLock::new(|| Aside::new("logins", 2));

const AUTH_HEADER: &str = "x-registry-auth";
/// The name under which logins to Docker Hub are kept.
const HUB: &str = "https://index.docker.io/v1/";

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: HashMap<String, Login>,
    cred_helpers: HashMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Login {
    auth: Option<String>,
    identitytoken: Option<String>,
}

/// The answer of a credential helper.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

/// The login for a registry, read anew each time: people log in and out. Without one, none is sent.
pub(super) async fn of(registry: &str) -> Option<DockerCredentials> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let path = folder
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")))?
        .join("config.json");
    // A home may lie on a mount whose server is gone.
    let (name, file) = (path.to_string_lossy().into_owned(), path.clone());
    let read = LOGINS.call(&name, PATIENCE, move || read_bounded(&file, MAX_LOGINS)).await;
    let text = match read {
        Ok(text) => text.ok()?,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the registry logins cannot be read");
            return None;
        }
    };
    let config: Config = match serde_json::from_slice(&text) {
        Ok(config) => config,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the registry logins cannot be read");
            return None;
        }
    };
    let key = if registry == "docker.io" { HUB } else { registry };
    match config.cred_helpers.get(key).or(config.creds_store.as_ref()) {
        Some(helper) => {
            let helped = timeout(PATIENCE, ask(helper, key)).await.unwrap_or_default();
            helped.or_else(|| stored(&config, key))
        }
        None => stored(&config, key),
    }
}

fn stored(config: &Config, key: &str) -> Option<DockerCredentials> {
    let login = config.auths.get(key).or_else(|| config.auths.get(&format!("https://{key}")))?;
    if let Some(token) = login.identitytoken.clone().filter(|token| !token.is_empty()) {
        return Some(DockerCredentials {
            identitytoken: Some(token),
            serveraddress: Some(key.to_owned()),
            ..Default::default()
        });
    }
    let plain = String::from_utf8(STANDARD.decode(login.auth.as_ref()?).ok()?).ok()?;
    let (user, password) = plain.split_once(':')?;
    Some(credentials(key, user, password))
}

/// Runs `docker-credential-HELPER get`.
async fn ask(helper: &str, key: &str) -> Option<DockerCredentials> {
    let mut child = tokio::process::Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(key.as_bytes()).await.ok()?;
    let output = child.wait_with_output().await.ok().filter(|output| output.status.success())?;
    let helped: Helped = serde_json::from_slice(&output.stdout).ok()?;
    if helped.username == "<token>" {
        let identitytoken = Some(helped.secret);
        return Some(DockerCredentials {
            identitytoken,
            serveraddress: Some(key.to_owned()),
            ..Default::default()
        });
    }
    Some(credentials(key, &helped.username, &helped.secret))
}

fn credentials(key: &str, user: &str, password: &str) -> DockerCredentials {
    DockerCredentials {
        username: Some(user.to_owned()),
        password: Some(password.to_owned()),
        serveraddress: Some(key.to_owned()),
        ..Default::default()
    }
}

/// The engine wants the URL-safe alphabet in its header, the client writes the standard one: some passwords
/// would be refused.
pub(super) fn url_safe(mut request: bollard::BollardRequest) -> bollard::BollardRequest {
    let value = request.headers().get(AUTH_HEADER).and_then(|value| value.to_str().ok());
    if let Some(Ok(mut value)) = value.map(|value| value.replace('+', "-").replace('/', "_").parse()) {
        let value: &mut hyper::header::HeaderValue = &mut value;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTH_HEADER, value.clone());
    }
    request
}

/// `host[:port]` of a repository.
pub(super) fn registry(repository: &str) -> &str {
    match repository.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries() {
        #[rustfmt::skip]
        let table = [
            ("docker.io/library/nginx", "docker.io"), ("127.0.0.1:5000/web", "127.0.0.1:5000"),
            ("localhost/web", "localhost"), ("library/nginx", "docker.io"), ("nginx", "docker.io"),
        ];
        for (repository, want) in table {
            assert_eq!(registry(repository), want);
        }
    }

    #[test]
    fn logins_are_found_by_registry() {
        let text = r#"{"auths":{"127.0.0.1:5000":{"auth":"YTpiOmM="},"https://r.example.com":{"auth":"eDp5"}},"other":1}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        let login = stored(&config, "127.0.0.1:5000").unwrap();
        assert_eq!((login.username.as_deref(), login.password.as_deref()), (Some("a"), Some("b:c")));
        assert_eq!(stored(&config, "r.example.com").unwrap().username.as_deref(), Some("x"));
        assert!(stored(&config, "elsewhere").is_none());
    }
}
