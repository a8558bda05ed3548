//! Logins, from where Docker keeps them: `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

use super::ResolveError;

/// The deadline of a credential helper; some ask a key ring that a person must unlock.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
/// The name under which Docker keeps the login of its own hub.
const HUB: &str = "https://index.docker.io/v1/";

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// User and password.
    Password { user: String, password: String },
    /// A refresh token, traded for access tokens.
    IdentityToken(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// The configuration file, as far as logins go.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Credentials {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// The place of a registry's login.
enum Place {
    Here(Login),
    Helper { helper: String, server: String },
    Nowhere,
}

impl Credentials {
    /// Reads the file; none is no logins.
    pub(super) fn load() -> Result<Self, ResolveError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")));
        let Some(path) = folder.map(|folder| folder.join("config.json")) else { return Ok(Self::default()) };
        match std::fs::read(&path) {
            Ok(bytes) => Self::read(&bytes).map_err(|source| ResolveError::Config { path, source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ResolveError::ConfigRead { path, source }),
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The login for a registry, asking its helper if it has one.
    pub(super) async fn login(&self, registry: &str) -> Result<Option<Login>, ResolveError> {
        match self.place(registry) {
            Place::Here(login) => Ok(Some(login)),
            Place::Helper { helper, server } => ask(&helper, &server).await,
            Place::Nowhere => Ok(None),
        }
    }

    fn place(&self, registry: &str) -> Place {
        let entry = self.auths.iter().find(|(name, _)| is_same(name, registry));
        let server = match entry {
            Some((name, _)) => name.clone(),
            None if registry == "docker.io" => HUB.to_owned(),
            None => registry.to_owned(),
        };
        let helper = self.helpers.iter().find(|(name, _)| is_same(name, registry)).map(|(_, helper)| helper);
        if let Some(helper) = helper.or(self.store.as_ref()) {
            return Place::Helper { helper: helper.clone(), server };
        }
        entry.and_then(|(_, entry)| entry.login()).map_or(Place::Nowhere, Place::Here)
    }
}

impl Entry {
    fn login(&self) -> Option<Login> {
        if !self.identitytoken.is_empty() {
            return Some(Login::IdentityToken(self.identitytoken.clone()));
        }
        if !self.auth.is_empty() {
            let text = String::from_utf8(STANDARD.decode(self.auth.trim()).ok()?).ok()?;
            let (user, password) = text.split_once(':')?;
            // Docker pads with zero bytes in old files.
            let password = password.trim_end_matches('\0').to_owned();
            return Some(Login::Password { user: user.to_owned(), password });
        }
        let both = !self.username.is_empty() && !self.password.is_empty();
        both.then(|| Login::Password { user: self.username.clone(), password: self.password.clone() })
    }
}

/// `https://index.docker.io/v1/` and `docker.io` are one; otherwise scheme and path do not matter.
fn is_same(name: &str, registry: &str) -> bool {
    let host = name.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or_default();
    let hub = |host: &str| matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    host == registry || (hub(host) && hub(registry))
}

#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

async fn ask(helper: &str, server: &str) -> Result<Option<Login>, ResolveError> {
    let failed = |problem: String| ResolveError::Helper { helper: helper.to_owned(), problem };
    // The name becomes part of a program's.
    if !helper.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(failed("its name is not one".to_owned()));
    }
    let run = async {
        let mut child = tokio::process::Command::new(format!("docker-credential-{helper}"))
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(server.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(HELPER_TIMEOUT, run)
        .await
        .map_err(|_| failed("no answer in time".to_owned()))?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        // The one answer that means "none", by the helpers' protocol.
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(said.trim().chars().take(200).collect()));
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("its answer cannot be read".to_owned()))?;
    Ok(Some(match answer.user.as_str() {
        "<token>" => Login::IdentityToken(answer.secret),
        _ => Login::Password { user: answer.user, password: answer.secret },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(config: &str, registry: &str) -> String {
        match Credentials::read(config.as_bytes()).unwrap().place(registry) {
            Place::Here(Login::Password { user, password }) => format!("{user}:{password}"),
            Place::Here(Login::IdentityToken(token)) => format!("token {token}"),
            Place::Helper { helper, server } => format!("{helper} {server}"),
            Place::Nowhere => "nowhere".to_owned(),
        }
    }

    #[test]
    fn logins_are_found_where_docker_keeps_them() {
        let config = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"YTpi"},
            "reg.io:5000":{"username":"u","password":"p"},
            "https://tok.io":{"identitytoken":"t"},
            "empty.io":{}},
            "credHelpers":{"gcr.io":"gcloud"},"HttpHeaders":{}}"#;
        #[rustfmt::skip]
        let table = [("docker.io", "a:b"), ("reg.io:5000", "u:p"), ("reg.io", "nowhere"), ("tok.io", "token t"),
            ("empty.io", "nowhere"), ("gcr.io", "gcloud gcr.io"), ("other.io", "nowhere")];
        for (registry, want) in table {
            assert_eq!(place(config, registry), want, "{registry}");
        }
        assert_eq!(place(r#"{"credsStore":"pass"}"#, "docker.io"), format!("pass {HUB}"));
        assert_eq!(place("{}", "docker.io"), "nowhere");
    }

    #[test]
    fn debug_shows_no_secret() {
        let login = Login::Password { user: "u".to_owned(), password: "hunter2".to_owned() };
        assert!(!format!("{login:?}").contains("hunter2"));
    }
}
