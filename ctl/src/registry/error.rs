//! The reason why an image was not resolved.

use std::path::PathBuf;

use windlass_core::Digest;

use super::again::{chain, is_refused};

/// The reason why an image was not resolved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("failed to reach the registry `{registry}`")]
    Unreachable {
        registry: String,
        kind: Kind,
        #[source]
        source: Failure,
    },
    #[error("the registry `{registry}` refused access to `{repository}`")]
    Unauthorized { registry: String, repository: String, had_credentials: bool },
    #[error("the registry has no `{0}`")]
    NotFound(String),
    #[error("the registry `{registry}` answered {status}")]
    Status { registry: String, status: u16 },
    #[error("the registry `{registry}` answered with more than {limit} bytes")]
    TooLarge { registry: String, limit: usize },
    #[error("the registry's answer about `{image}` is no image manifest")]
    Malformed {
        image: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the registry answered with {got} where `{image}` needs {asked}")]
    WrongDigest { image: String, asked: Digest, got: Digest },
    #[error("the index of `{0}` points at another index")]
    Nested(String),
    #[error("`{image}` is not made for {platform}")]
    NoPlatform { image: String, platform: String, available: Vec<String> },
    #[error("`{0}` is not a platform")]
    Platform(String),
    #[error("`{0}` is not pinned by digest")]
    NotPinned(String),
    #[error("the registry `{registry}` asks for a login that is not understood")]
    Challenge { registry: String },
    #[error("the registry `{registry}` sends its users to `{realm}` in the clear")]
    InsecureRealm { registry: String, realm: String },
    #[error("the registry `{registry}` wants its users to log in at `{host}`, which is not of its domain")]
    ForeignRealm { registry: String, host: String },
    #[error("failed to read `{path}`")]
    ConfigRead {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` is not a Docker configuration")]
    Config {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("the credential helper `{helper}` failed: {problem}")]
    Helper { helper: String, problem: String },
    #[error("failed to set up HTTPS")]
    Tls(#[source] reqwest::Error),
}

/// The kind of failure of a request that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its name has no address.
    Dns,
    /// Nothing listens there.
    Refused,
    /// No answer in time.
    Timeout,
    /// Plain HTTP answers where TLS was spoken.
    Plain,
    /// TLS failed: most often the certificate.
    Tls,
    Other,
}

impl Kind {
    fn of(error: &reqwest::Error) -> Self {
        if error.is_dns() {
            return Self::Dns;
        }
        if error.is_timeout() {
            return Self::Timeout;
        }
        if is_refused(error) {
            return Self::Refused;
        }
        match chain(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => Self::Plain,
            Some(_) => Self::Tls,
            None => Self::Other,
        }
    }

    /// The next step of the user.
    fn hint(self, registry: &str) -> String {
        // `[::1]:5000` too.
        let host = registry.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        let host = host.map_or(registry, |(host, _)| host);
        match self {
            Self::Dns => format!(
                "is the name `{host}` spelled right? If so, this machine's DNS does not answer: `getent hosts {host}`"
            ),
            Self::Refused => "is the registry running, and is the port right?".to_owned(),
            Self::Timeout => format!(
                "a firewall or a network in between may drop the packets: `curl -v https://{registry}/v2/` shows how far it gets"
            ),
            Self::Plain => format!(
                "the registry speaks plain HTTP; allow that by `--insecure-registry {registry}`, or `insecure_registries` in \
                 the context, and on engines and in host policies too"
            ),
            Self::Tls => format!(
                "this machine and its engines have to trust the registry's CA (`update-ca-certificates`); a registry without \
                 TLS must be allowed: `--insecure-registry {registry}`"
            ),
            Self::Other => format!("is there a way from here to it? `curl -v https://{registry}/v2/`"),
        }
    }
}

/// The innermost cause of a failed request. The layers of an HTTP client above it tell a person
/// nothing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(String);

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self("it did not answer in time".to_owned());
        }
        let causes = windlass_process::report::causes(&error.without_url());
        Self(causes.into_iter().next_back().unwrap_or_default())
    }
}

impl ResolveError {
    /// A request that got no answer.
    pub(super) fn unreachable(registry: &str, error: reqwest::Error) -> Self {
        Self::Unreachable { registry: registry.to_owned(), kind: Kind::of(&error), source: error.into() }
    }

    /// The next step of the user.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { registry, kind, .. } => Some(kind.hint(registry)),
            Self::Unauthorized { registry, had_credentials: false, .. } => {
                Some(format!("log in with `docker login {registry}`"))
            }
            Self::Unauthorized { registry, .. } => Some(format!(
                "the login that Docker's configuration holds does not suffice: `docker login {registry}`"
            )),
            Self::NotFound(_) => Some("was it pushed? check the spelling of path and tag".to_owned()),
            Self::NoPlatform { available, .. } => {
                Some(format!("there is {}; choose one with --platform", available.join(", ")))
            }
            Self::Platform(_) => Some("write it like `linux/amd64` or `linux/arm/v7`".to_owned()),
            Self::NotPinned(_) => {
                Some("write `image: name@sha256:…`, or sign where the registry can be reached".to_owned())
            }
            Self::Status { status: 429, .. } => Some("too many requests: log in, or wait a while".to_owned()),
            Self::Status { status, .. } if *status >= 500 => Some("try again".to_owned()),
            Self::Helper { helper, .. } => Some(format!("is `docker-credential-{helper}` installed?")),
            Self::Tls(_) => Some("is a bundle of CA certificates installed (`ca-certificates`)?".to_owned()),
            Self::WrongDigest { .. } => {
                Some("do not deploy this: a registry or something before it alters images".to_owned())
            }
            Self::ForeignRealm { host, .. } => Some(format!(
                "its login was not sent there; if that is where it belongs: `docker login {host}`"
            )),
            Self::Status { .. }
            | Self::TooLarge { .. }
            | Self::Malformed { .. }
            | Self::Nested(_)
            | Self::Challenge { .. }
            | Self::InsecureRealm { .. }
            | Self::ConfigRead { .. }
            | Self::Config { .. } => None,
        }
    }
}
