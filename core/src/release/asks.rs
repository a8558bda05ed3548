//! Requests that warm an instance up, the smoke tests that it has to pass, and the checks of a host before the first start.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::units::Span;

use super::status::StatusRange;
use super::tls::Tls;

/// Requests of each kind, and checks, in one release.
pub(crate) const MAX_ASKS: usize = 16;
/// Headers of a request or of an answer that is wanted.
pub(crate) const MAX_HEADERS: usize = 32;
/// Bytes of one header, name and value.
pub(crate) const MAX_HEADER: usize = 4 * 1024;
/// Bytes of a request's body, and of the text that a body has to contain.
pub(crate) const MAX_BODY: usize = 64 * 1024;
/// Values that an answer's JSON has to have.
pub(crate) const MAX_POINTERS: usize = 32;
/// Bytes of a pointer, and of the value that is wanted there.
pub(crate) const MAX_WANTED: usize = 1024;
/// Bytes of an answer that are read.
pub const MAX_ANSWER: usize = 256 * 1024;
/// Number of times that a warm-up request is sent.
pub(crate) const MAX_TIMES: u32 = 10_000;
/// Number of tries of a smoke test.
pub(crate) const MAX_TRIES: u32 = 100;
/// The longest time that one answer, one warm-up request or one check may take.
pub(crate) const MAX_TIMEOUT: Span = Span::from_secs(5 * 60);
/// The longest time between two tries.
pub(crate) const MAX_PAUSE: Span = Span::from_secs(60);
/// The longest time after which a smoke test is asked.
pub(crate) const MAX_AFTER: Span = Span::from_secs(24 * 60 * 60);
/// Files that one check looks for.
pub(crate) const MAX_FILES: usize = 64;
/// Bytes of a file's path.
pub(crate) const MAX_PATH: usize = 512;

/// A request to an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Path and query, begins with `/`.
    pub path: String,
    /// Name of the port.
    pub port: String,
    /// The method, like `GET`.
    pub method: String,
    /// Headers by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// TLS, if that is spoken there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// A request that warms an instance up. Its answers decide nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// The request.
    pub request: Request,
    /// The number of times, one after the other.
    pub times: u32,
    /// Time for all of them together; then it is over, however many were answered.
    pub timeout: Span,
}

/// A request that has to be answered as said before an instance counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Smoke {
    /// The question.
    pub request: Request,
    /// The answer that is wanted.
    pub expect: Expect,
    /// Time for an answer.
    pub timeout: Span,
    /// Number of tries in all.
    pub tries: u32,
    /// The pause between an answer that is not the wanted one and the next try.
    pub every: Span,
    /// Asked only when the instance has been healthy for so long, while it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
}

impl Smoke {
    /// The longest time from its beginning to its verdict.
    pub fn longest(&self) -> Span {
        let millis = |span: Span| u64::try_from(span.duration().as_millis()).unwrap_or(u64::MAX);
        let (tries, pauses) = (u64::from(self.tries), u64::from(self.tries.saturating_sub(1)));
        let asking = millis(self.timeout).saturating_mul(tries);
        Span::from_millis(asking.saturating_add(millis(self.every).saturating_mul(pauses)))
    }
}

/// An answer that is wanted. A status from 200 to 299 is wanted where nothing is said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// One of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<StatusRange>,
    /// Headers by name, each with exactly this value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Text that stands in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body is JSON that has these values: text, numbers, `true` or `false`, by JSON pointer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub json: BTreeMap<String, Value>,
    /// The whole answer came within this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

/// A question that a host asks before it starts the first instance of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostCheck {
    /// Its name for people, like `database`.
    pub name: String,
    /// The question.
    pub ask: HostAsk,
    /// Time for the check.
    pub timeout: Span,
}

/// The question of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HostAsk {
    /// The address accepts a connection.
    Tcp {
        /// `host:port`.
        address: String,
    },
    /// `GET` of the URL is answered with one of these states; from 200 to 399 where none is named.
    Http {
        /// Begins with `http://`.
        url: String,
        /// States that are wanted.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        status: Vec<StatusRange>,
    },
    /// A request of any kind is answered as said.
    Request(Box<UrlRequest>),
    /// A `PostgreSQL` server answers there.
    Postgres {
        /// `host:port`.
        address: String,
    },
    /// A Redis server answers there.
    Redis {
        /// `host:port`.
        address: String,
    },
    /// These files are in a volume of the release.
    FilesExist {
        /// The volume's name in the release.
        volume: String,
        /// Paths below it.
        paths: Vec<String>,
    },
}

impl std::fmt::Display for HostAsk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { address } => write!(f, "tcp {address}"),
            Self::Http { url, .. } => write!(f, "GET {url}"),
            Self::Request(request) => write!(f, "{} {}", request.method, request.url),
            Self::Postgres { address } => write!(f, "postgres {address}"),
            Self::Redis { address } => write!(f, "redis {address}"),
            Self::FilesExist { volume, .. } => write!(f, "files in volume {volume}"),
        }
    }
}

/// A request to a URL, and the answer that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UrlRequest {
    /// Begins with `http://` or `https://`.
    pub url: String,
    /// The method, like `GET`.
    pub method: String,
    /// Headers by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// TLS of an `https://` URL; verified for its host, by the CAs of the host that asks, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The answer that is wanted.
    pub expect: Expect,
}

/// Returns whether `path` names a file below a folder, and in no other way: `bert.bin`, `models/gpt.onnx`.
pub fn is_path_below(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    (1..=MAX_PATH).contains(&path.len()) && !path.chars().any(char::is_control) && path.split('/').all(part)
}

/// Returns whether `method` is one that a request may have.
pub(crate) fn is_method(method: &str) -> bool {
    (1..=16).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_uppercase()) && method != "CONNECT"
}

/// Returns whether a header may be written like that. Length and framing of a message are not the author's.
pub(crate) fn is_header(name: &str, value: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let framing = ["connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer", "expect"];
    let visible = |b: u8| b == b' ' || b == b'\t' || b.is_ascii_graphic();
    !name.is_empty()
        && name.len() + value.len() <= MAX_HEADER
        && name.bytes().all(token)
        && !framing.contains(&name.to_ascii_lowercase().as_str())
        && value.bytes().all(visible)
}

/// Returns whether `pointer` is a JSON pointer: empty, or parts that begin with `/`, in which `~` is `~0` and `/` is `~1`.
pub(crate) fn is_pointer(pointer: &str) -> bool {
    let escaped = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    (pointer.is_empty() || pointer.starts_with('/'))
        && pointer.len() <= MAX_WANTED
        && escaped
        && !pointer.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_the_framing_is_no_header() {
        assert!(is_header("X-API-Key", "secret value") && is_header("host", "api.example.com"));
        for (name, value) in [
            ("Content-Length", "0"),
            ("TRANSFER-ENCODING", "chunked"),
            ("a b", ""),
            ("", ""),
            ("a", "b\r\nc: d"),
        ] {
            assert!(!is_header(name, value), "{name}");
        }
    }

    #[test]
    fn pointers_are_escaped_as_their_standard_says() {
        for (pointer, good) in
            [("", true), ("/a/0", true), ("/a~1b~0", true), ("a", false), ("/~", false), ("/~2", false)]
        {
            assert_eq!(is_pointer(pointer), good, "{pointer}");
        }
    }

    #[test]
    fn a_smoke_test_ends_after_all_its_tries() {
        let request = Request {
            path: "/".into(),
            port: "http".into(),
            method: "GET".into(),
            headers: BTreeMap::new(),
            body: String::new(),
            tls: None,
        };
        let (timeout, every) = (Span::from_secs(5), Span::from_secs(2));
        let smoke = Smoke { request, expect: Expect::default(), timeout, tries: 3, every, after: None };
        assert_eq!(smoke.longest(), Span::from_secs(5 + 2 + 5 + 2 + 5));
    }
}
