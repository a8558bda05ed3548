//! Traffic of a service, as its release asks for it.

use serde::{Deserialize, Serialize};

use crate::traffic::Protocol;
use crate::units::Span;

/// Time for which requests may go on, and keep their instance alive, where a release says nothing.
pub const DRAIN_TIMEOUT: Span = Span::from_secs(10 * 60);
/// Routes of one service.
pub(crate) const MAX_ROUTES: usize = 64;
/// A request that waits longer than that is not waited for.
pub(crate) const MAX_HOLD: Span = Span::from_secs(60);
/// Longest time that an instance takes to its full share.
pub(crate) const MAX_SLOW_START: Span = Span::from_secs(10 * 60);
/// Longest time that requests keep an instance alive.
pub(crate) const MAX_DRAIN: Span = Span::from_secs(60 * 60);

/// The way of requests to a service, and from an instance that stops.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Names under which clients reach it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Time for requests that are under way when their instance is to stop; [`DRAIN_TIMEOUT`] if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<Span>,
    /// Time that a request may wait while a step of a rollout leaves no instance; it does not if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
    /// Over which time an instance that became healthy takes its full share; at once if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Span>,
}

impl Traffic {
    /// Returns whether it says nothing: then a release is written as before there was traffic.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Time for requests that are under way.
    pub fn drain_timeout(&self) -> Span {
        self.drain_timeout.unwrap_or(DRAIN_TIMEOUT)
    }
}

/// A path prefix as it is compared: `/` and each path without a slash at its end.
pub(crate) fn prefix(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        shorter => shorter,
    }
}

/// A name under which clients reach a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Host name in lower case; `*.example.com` stands for one label more.
    pub host: String,
    /// Path prefix, `/` for every path.
    pub path: String,
    /// Name of the port.
    pub port: String,
    /// Whether it leads to the new release alone, while that stands beside the old one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preview: bool,
}

impl Route {
    /// As people write it: `api.example.com/v1`.
    pub fn name(&self) -> String {
        format!("{}{}", self.host, self.path)
    }

    /// Whether the same requests are for both: a slash at the end of a prefix changes nothing.
    pub fn is_same_name(&self, other: &Self) -> bool {
        self.host == other.host && prefix(&self.path) == prefix(&other.path)
    }

    /// Whether every request for `other` leads here where nothing has that name itself: the same host or a wildcard for it, and
    /// a prefix of its path.
    pub fn covers(&self, other: &Self) -> bool {
        let parent = other.host.split_once('.').map(|(_, parent)| parent);
        let has_host =
            self.host == other.host || (parent.is_some() && self.host.strip_prefix("*.") == parent);
        let mine = prefix(&self.path).trim_end_matches('/');
        let rest = prefix(&other.path).strip_prefix(mine);
        has_host && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The protocol that a process speaks on a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PortProtocol {
    /// HTTP/1.1, with WebSocket.
    #[default]
    Http,
    /// HTTP/2 without TLS.
    H2c,
    /// gRPC over HTTP/2 without TLS.
    Grpc,
    /// Something else over TCP: no request is routed to it.
    Tcp,
}

impl PortProtocol {
    /// The protocol of an ingress with it; `None` if it has none.
    pub const fn routed(self) -> Option<Protocol> {
        match self {
            Self::Http => Some(Protocol::Http),
            Self::H2c => Some(Protocol::H2c),
            Self::Grpc => Some(Protocol::Grpc),
            Self::Tcp => None,
        }
    }

    /// Returns whether it is what a port speaks of which nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route((host, path): (&str, &str)) -> Route {
        Route { host: host.to_owned(), path: path.to_owned(), port: "http".to_owned(), preview: false }
    }

    #[test]
    fn a_name_covers_what_is_below_it() {
        #[rustfmt::skip]
        let table = [
            (("a.b", "/"),      ("a.b", "/v1"),   true),
            (("a.b", "/v1/"),   ("a.b", "/v1"),   true),
            (("a.b", "/v1"),    ("a.b", "/v1/x"), true),
            (("a.b", "/v1"),    ("a.b", "/v12"),  false),
            (("a.b", "/v1"),    ("a.b", "/"),     false),
            (("*.b", "/"),      ("a.b", "/v1"),   true),
            (("*.b", "/"),      ("x.a.b", "/"),   false),
            (("*.b", "/"),      ("b", "/"),       false),
            (("a.b", "/"),      ("*.b", "/"),     false),
            (("a.b", "/"),      ("c.b", "/"),     false),
        ];
        for (one, other, covers) in table {
            assert_eq!(route(one).covers(&route(other)), covers, "{one:?} {other:?}");
        }
    }
}
