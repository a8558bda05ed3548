//! The distribution API over HTTP: logins, bounds, deadlines.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use serde::Deserialize;
use windlass_core::Digest;

use super::ResolveError;
use super::again::{Patience, Trouble};
use super::auth::Challenge;
use super::credentials::{Credentials, Login};
use super::elsewhere;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The deadline of an answer, however slowly it drips.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);
/// OCI asks registries to take manifests of up to 4 MiB.
const MAX_DOCUMENT: usize = 4 << 20;
const MAX_TOKEN: usize = 64 << 10;
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// A repository of a registry.
pub(super) struct Repository {
    pub(super) registry: String,
    pub(super) path: String,
}

/// Talks to registries.
pub(super) struct Http {
    plain: Clients,
    // Made when it is needed: without a bundle of CA certificates there is none, and loopback needs none.
    secure: Option<Clients>,
    timeout: Duration,
    insecure: Vec<String>,
    credentials: Credentials,
    logins: BTreeMap<String, Authorization>,
    /// Pauses before second tries.
    pub(super) patience: Patience,
}

/// One for images, and one for logins, which never go anywhere but where they were meant for: a redirect could have
/// them sent again elsewhere.
#[derive(Clone)]
struct Clients {
    images: Client,
    logins: Client,
}

#[derive(Clone)]
enum Authorization {
    Basic(String, String),
    Bearer(String),
}

impl Http {
    pub(super) fn new(
        insecure: Vec<String>,
        credentials: Credentials,
        timeout: Duration,
    ) -> Result<Self, ResolveError> {
        // reqwest takes the process-wide provider; a second call finds the first one's, which is the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let plain = clients(|| builder(timeout).no_proxy().tls_certs_only([]))?;
        let (logins, patience) = (BTreeMap::new(), Patience::new());
        Ok(Self { plain, secure: None, timeout, insecure, credentials, logins, patience })
    }

    /// The bytes of a manifest or index, by tag or digest.
    pub(super) async fn manifest(&mut self, of: &Repository, version: &str) -> Result<Vec<u8>, ResolveError> {
        let separator = if version.contains(':') { '@' } else { ':' };
        let name = format!("{}/{}{separator}{version}", of.registry, of.path);
        self.get(of, &format!("manifests/{version}"), MANIFESTS, name).await
    }

    /// The bytes of a blob.
    pub(super) async fn blob(&mut self, of: &Repository, digest: &Digest) -> Result<Vec<u8>, ResolveError> {
        let name = format!("{}/{}@{digest}", of.registry, of.path);
        self.get(of, &format!("blobs/{digest}"), "*/*", name).await
    }

    async fn get(
        &mut self,
        of: &Repository,
        what: &str,
        accept: &str,
        name: String,
    ) -> Result<Vec<u8>, ResolveError> {
        let is_plain = self.is_plain(&of.registry);
        let client = self.client(is_plain)?;
        let scheme = if is_plain { "http" } else { "https" };
        // Docker's hub has one name for people and another for its API.
        let host = if of.registry == "docker.io" { "registry-1.docker.io" } else { &of.registry };
        let url = format!("{scheme}://{host}/v2/{}/{what}", of.path);
        let key = format!("{}/{}", of.registry, of.path);
        let request = || client.images.get(&url).header(ACCEPT, accept);
        let known = self.logins.get(&key).cloned();
        let first = self.send(&of.registry, || authorized(request(), known.as_ref())).await?;
        let response = if first.status() == StatusCode::UNAUTHORIZED && !self.logins.contains_key(&key) {
            let authorization = self.log_in(of, &client.logins, is_plain, &first).await?;
            self.logins.insert(key, authorization.clone());
            self.send(&of.registry, || authorized(request(), Some(&authorization))).await?
        } else {
            first
        };
        match response.status() {
            StatusCode::OK => read(response, MAX_DOCUMENT, of).await,
            StatusCode::NOT_FOUND => Err(ResolveError::NotFound(name)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.unauthorized(of).await),
            status => Err(ResolveError::Status { registry: of.registry.clone(), status: status.as_u16() }),
        }
    }

    /// Sends a request, and again after a pause where what failed may pass.
    async fn send(
        &mut self,
        registry: &str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, ResolveError> {
        let mut tries = 0;
        loop {
            let sent = request().send().await;
            let trouble = match &sent {
                Ok(response) => {
                    let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok());
                    Trouble::of_status(response.status(), after)
                }
                Err(error) => Trouble::of_error(error),
            };
            match trouble {
                Some(trouble) if self.patience.wait(tries, &trouble, registry).await => tries += 1,
                _ => return sent.map_err(|error| ResolveError::unreachable(registry, error)),
            }
        }
    }

    /// The login that the registry asks for in its refusal.
    async fn log_in(
        &mut self,
        of: &Repository,
        client: &Client,
        is_plain: bool,
        refusal: &Response,
    ) -> Result<Authorization, ResolveError> {
        let registry = of.registry.clone();
        let headers = refusal.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<Challenge> =
            headers.filter_map(|header| Challenge::parse(header.to_str().ok()?)).collect();
        let bearer = challenges.iter().find(|challenge| **challenge != Challenge::Basic);
        let login = self.credentials.login(&of.registry).await?;
        match (bearer.or(challenges.first()), login) {
            (None, _) => Err(ResolveError::Challenge { registry }),
            (Some(Challenge::Basic), Some(Login::Password { user, password })) => {
                Ok(Authorization::Basic(user, password))
            }
            (Some(Challenge::Basic), _) => Err(self.unauthorized(of).await),
            (Some(Challenge::Bearer { realm, service, scope }), login) => {
                if !is_plain && !realm.starts_with("https://") {
                    return Err(ResolveError::InsecureRealm { registry, realm: realm.clone() });
                }
                let login = self.login_at(realm, login, &registry).await?;
                let scope = scope.clone().unwrap_or_else(|| format!("repository:{}:pull", of.path));
                let service = service.clone().unwrap_or_default();
                // An error names the host that gives out logins, which may be another one than the registry.
                let host = elsewhere::host_of(realm).unwrap_or_else(|| registry.clone());
                let ask = || ask_for_token(client, realm, &service, &scope, login.as_ref());
                let response = self.send(&host, ask).await?;
                match response.status() {
                    status if status.is_success() => {}
                    status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                        return Err(ResolveError::Status { registry: host, status: status.as_u16() });
                    }
                    _ => return Err(self.unauthorized(of).await),
                }
                let bytes = read(response, MAX_TOKEN, of).await?;
                let token: Token = serde_json::from_slice(&bytes)
                    .map_err(|_| ResolveError::Challenge { registry: of.registry.clone() })?;
                Ok(Authorization::Bearer(token.text()))
            }
        }
    }

    /// The login that may be shown at `realm`: the registry's own login within its domain, and elsewhere only one that was made
    /// for that place.
    async fn login_at(
        &self,
        realm: &str,
        login: Option<Login>,
        registry: &str,
    ) -> Result<Option<Login>, ResolveError> {
        let Some(host) = elsewhere::host_of(realm) else {
            return Err(ResolveError::Challenge { registry: registry.to_owned() });
        };
        if login.is_none() || elsewhere::is_same_site(registry, &host) {
            return Ok(login);
        }
        match self.credentials.login(&host).await? {
            Some(login) => Ok(Some(login)),
            None => Err(ResolveError::ForeignRealm { registry: registry.to_owned(), host }),
        }
    }

    async fn unauthorized(&self, of: &Repository) -> ResolveError {
        ResolveError::Unauthorized {
            registry: of.registry.clone(),
            repository: of.path.clone(),
            had_credentials: matches!(self.credentials.login(&of.registry).await, Ok(Some(_))),
        }
    }

    fn client(&mut self, is_plain: bool) -> Result<Clients, ResolveError> {
        if is_plain {
            return Ok(self.plain.clone());
        }
        if let Some(client) = &self.secure {
            return Ok(client.clone());
        }
        let clients = clients(|| builder(self.timeout).https_only(true))?;
        Ok(self.secure.insert(clients).clone())
    }

    fn is_plain(&self, registry: &str) -> bool {
        is_loopback(registry) || self.insecure.iter().any(|allowed| allowed == registry)
    }
}

fn clients(builder: impl Fn() -> reqwest::ClientBuilder) -> Result<Clients, ResolveError> {
    let images = builder().redirect(elsewhere::redirects()).build().map_err(ResolveError::Tls)?;
    let logins = builder().redirect(redirect::Policy::none()).build().map_err(ResolveError::Tls)?;
    Ok(Clients { images, logins })
}

fn builder(timeout: Duration) -> reqwest::ClientBuilder {
    Client::builder()
        .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
}

fn authorized(request: RequestBuilder, authorization: Option<&Authorization>) -> RequestBuilder {
    match authorization {
        Some(Authorization::Basic(user, password)) => request.basic_auth(user, Some(password)),
        Some(Authorization::Bearer(token)) => request.bearer_auth(token),
        None => request,
    }
}

fn ask_for_token(
    client: &Client,
    realm: &str,
    service: &str,
    scope: &str,
    login: Option<&Login>,
) -> RequestBuilder {
    match login {
        Some(Login::IdentityToken(token)) => {
            let fields = [
                ("grant_type", "refresh_token"),
                ("client_id", "windlass"),
                ("service", service),
                ("scope", scope),
                ("refresh_token", token.as_str()),
            ];
            client.post(realm).form(&fields)
        }
        Some(Login::Password { user, password }) => client
            .get(realm)
            .query(&[("service", service), ("scope", scope), ("account", user.as_str())])
            .basic_auth(user, Some(password)),
        None => client.get(realm).query(&[("service", service), ("scope", scope)]),
    }
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

impl Token {
    fn text(self) -> String {
        if self.token.is_empty() { self.access_token } else { self.token }
    }
}

async fn read(mut response: Response, limit: usize, of: &Repository) -> Result<Vec<u8>, ResolveError> {
    let mut bytes = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|error| ResolveError::unreachable(&of.registry, error))?;
        let Some(chunk) = chunk else { return Ok(bytes) };
        if bytes.len() + chunk.len() > limit {
            return Err(ResolveError::TooLarge { registry: of.registry.clone(), limit });
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// `localhost`, 127.0.0.0/8 and `[::1]`, with or without a port.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => registry.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_plain_unasked() {
        #[rustfmt::skip]
        let table = [("127.0.0.1:5000", true), ("localhost", true), ("localhost:5000", true), ("[::1]:5000", true), ("127.9.9.9", true),
            ("10.0.0.1:5000", false), ("registry.example.com", false), ("localhost.example.com", false), ("127.0.0.1.example.com", false)];
        for (registry, want) in table {
            assert_eq!(is_loopback(registry), want, "{registry}");
        }
    }
}
