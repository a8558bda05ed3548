//! The reason for which an image did not come, in words: the image, the registry, and the next step of a person.

use std::time::Duration;

use bollard::errors::Error;
use windlass_core::release::Image;

use super::super::PullError;
use super::credentials::registry;
use super::error;

/// Phrases of engines, by kind; the first kind that fits counts.
const SAYINGS: &[(Kind, &[&str])] = &[
    (Kind::WrongBytes, &["verification failed for digest", "unexpected commit digest"]),
    (Kind::NoSpace, &["no space left on device", "disk quota exceeded"]),
    (Kind::TooOften, &["toomanyrequests", "too many requests", "status: 429", "status code 429", "http 429"]),
    (
        Kind::Broken,
        &[
            "internal server error",
            "bad gateway",
            "service unavailable",
            "gateway timeout",
            "status: 5",
            "status code 5",
            ": 503",
        ],
    ),
    (Kind::PlainHttp, &["http response to https client"]),
    (
        Kind::Login,
        &["unauthorized", "authentication required", "no basic auth", "denied", "forbidden", "http 403"],
    ),
    (Kind::NoPlatform, &["no matching manifest", "does not match the specified platform"]),
    (Kind::Missing, &["manifest unknown", "name unknown", "not found", "no such manifest", "http 404"]),
    (
        Kind::Unreachable,
        &[
            "refused",
            "no such host",
            "server misbehaving",
            "timeout",
            "timed out",
            "deadline exceeded",
            "unreachable",
            "no route",
            "reset by peer",
            "broken pipe",
            "eof",
            "temporary failure",
        ],
    ),
    (Kind::Certificate, &["x509", "certificate", "tls: "]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    WrongBytes,
    NoSpace,
    TooOften,
    Broken,
    PlainHttp,
    Login,
    NoPlatform,
    Missing,
    Unreachable,
    Certificate,
}

/// Says what a person can do about it.
pub(super) fn explain(image: &Image, error: Error) -> PullError {
    if error::is_unavailable(&error) {
        return PullError::Engine(error::unavailable(error));
    }
    let text = error::message(&error);
    // The name of an image is no word of the engine.
    let said = text.to_lowercase().replace(&image.repository.to_lowercase(), "");
    let kind = SAYINGS.iter().find(|(_, sayings)| sayings.iter().any(|saying| said.contains(saying)));
    let (registry, pinned, platform) = (registry(&image.repository), image.pinned(), &image.platform);
    let words = match kind.map(|(kind, _)| *kind) {
        Some(Kind::WrongBytes) => {
            return PullError::WrongImage(format!(
                "registry `{registry}` answered with other bytes than `{pinned}` names: {text}"
            ));
        }
        Some(kind @ (Kind::TooOften | Kind::Broken | Kind::Unreachable)) => {
            let what = match kind {
                Kind::TooOften => {
                    "does not answer more often than it allows (with a login it may allow more)"
                }
                Kind::Broken => "cannot answer: look at the registry itself",
                _ => "cannot be reached from this host: check its name and port, and what is between",
            };
            let message = format!("registry `{registry}` {what}; `{pinned}` is asked for again: {text}");
            return PullError::Transient { message, retry_after: retry_after(&said) };
        }
        Some(Kind::NoSpace) => format!(
            "the host has no room for `{pinned}` of registry `{registry}`: make room where its engine keeps images"
        ),
        Some(Kind::PlainHttp) => format!(
            "registry `{registry}` speaks plain HTTP, which the engine does not allow: name it under \
             `insecure-registries`, or give it TLS, and `{pinned}` can be pulled"
        ),
        Some(Kind::Login) => format!(
            "registry `{registry}` gives `{pinned}` only with a login that the agent does not have, or that may not \
             read it: `docker login {registry}` as the agent's user"
        ),
        Some(Kind::NoPlatform) => {
            format!("registry `{registry}` has `{pinned}`, but not for {platform}: build it for that, too")
        }
        Some(Kind::Missing) => format!(
            "registry `{registry}` has no `{pinned}` for {platform}: push it there again, or deploy an image that it has"
        ),
        Some(Kind::Certificate) => format!(
            "the engine does not trust the certificate of registry `{registry}`, so that `{pinned}` cannot be pulled: \
             renew it, or put its CA into `/etc/docker/certs.d/{registry}/ca.crt`"
        ),
        None => format!("the engine cannot pull `{pinned}` from registry `{registry}`"),
    };
    PullError::Failed(format!("{words}: {text}"))
}

/// The time for which a registry asks to be left alone, if the engine passes it on: `Retry-After: 30`, `retry after 30s`.
fn retry_after(text: &str) -> Option<Duration> {
    let (_, rest) = text.split_once("retry-after").or_else(|| text.split_once("retry after"))?;
    let rest = rest.trim_start_matches([':', '=', ' ', '"']);
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let seconds = digits.parse().ok()?;
    let is_millis = rest.get(digits.len()..).is_some_and(|unit| unit.starts_with("ms"));
    Some(if is_millis { Duration::from_millis(seconds) } else { Duration::from_secs(seconds) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(repository: &str) -> Image {
        Image {
            reference: "web:1".to_owned(),
            repository: repository.to_owned(),
            digest: windlass_core::Digest::of(b"image"),
            platform: "linux/amd64".to_owned(),
            size: 1,
        }
    }

    #[test]
    fn each_refusal_says_what_and_where_and_what_to_do() {
        let image = image("registry.example.com/web");
        #[rustfmt::skip]
        let table = [
            ("toomanyrequests: rate limit exceeded, retry-after: 30", "transient", Some(30), "more often than it allows"),
            ("toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit", "transient", None, "with a login it may allow more"),
            ("received unexpected HTTP status: 503 Service Unavailable", "transient", None, "look at the registry"),
            ("received unexpected HTTP status: 500 Internal Server Error", "transient", None, "look at the registry"),
            ("unexpected status from HEAD request to http://10.0.0.1/v2/web/manifests/sha256:ab: 503 Service Unavailable", "transient", None, "look at the registry"),
            ("Get \"http://10.0.0.1:5000/v2/\": dial tcp 10.0.0.1:5000: connect: connection refused", "transient", None, "cannot be reached from this host"),
            ("Get \"https://registry.example.com/v2/\": dial tcp: lookup registry.example.com on 127.0.0.53:53: no such host", "transient", None, "check its name and port"),
            ("Get \"https://registry.example.com/v2/\": net/http: TLS handshake timeout", "transient", None, "cannot be reached"),
            ("error parsing HTTP 429 response body: unexpected end of JSON input: \"\"", "transient", None, "more often than it allows"),
            ("error parsing HTTP 403 response body: unexpected end of JSON input: \"\"", "final", None, "docker login registry.example.com"),
            ("error parsing HTTP 404 response body: unexpected end of JSON input: \"\"", "final", None, "push it there again"),
            ("unauthorized: authentication required", "final", None, "docker login registry.example.com"),
            ("unexpected status from HEAD request to http://10.0.0.1/v2/: 403 Forbidden", "final", None, "docker login registry.example.com"),
            ("pull access denied for web, repository does not exist or may require 'docker login'", "final", None, "as the agent's user"),
            ("manifest unknown: manifest unknown", "final", None, "push it there again"),
            ("manifest for registry.example.com/web@sha256:ab not found: manifest unknown", "final", None, "push it there again"),
            ("unexpected status from HEAD request to http://10.0.0.1/v2/: 404 Not Found", "final", None, "push it there again"),
            ("no matching manifest for linux/amd64 in the manifest list entries", "final", None, "not for linux/amd64"),
            ("http: server gave HTTP response to HTTPS client", "final", None, "insecure-registries"),
            ("Get \"https://registry.example.com/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority", "final", None, "certs.d/registry.example.com/ca.crt"),
            ("x509: certificate has expired or is not yet valid", "final", None, "renew it"),
            ("failed to register layer: write /app: no space left on device", "final", None, "make room"),
            ("verification failed for digest sha256:ab", "wrong", None, "other bytes"),
            ("something new", "final", None, "the engine cannot pull"),
        ];
        for (text, want, after, words) in table {
            let (kind, retry, said) =
                match explain(&image, Error::DockerStreamError { error: text.to_owned() }) {
                    PullError::Transient { retry_after, message } => ("transient", retry_after, message),
                    PullError::Failed(message) => ("final", None, message),
                    PullError::WrongImage(message) => ("wrong", None, message),
                    PullError::Engine(error) => ("engine", None, error.to_string()),
                };
            assert_eq!((kind, retry), (want, after.map(Duration::from_secs)), "{text}");
            let parts = ["`registry.example.com`", &image.pinned(), words, text];
            assert!(parts.iter().all(|part| said.contains(part)), "{text}: {said}");
        }
    }

    #[test]
    fn the_name_of_an_image_is_no_reason() {
        let image = image("registry.example.com/denied-timeout");
        let text = "manifest for registry.example.com/denied-timeout@sha256:ab not found".to_owned();
        let PullError::Failed(said) = explain(&image, Error::DockerStreamError { error: text }) else {
            panic!("another kind");
        };
        assert!(said.contains("push it there again"), "{said}");
    }
}
