//! Fetching an image by digest, and making sure that it is the one that was named.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use windlass_core::observation::PullProgress;
use windlass_core::reconcile::LocalImage;
use windlass_core::release::Image;

use super::super::{OnProgress, PullError};
use super::{credentials, error, sum};

pub(super) async fn pull(
    docker: &Docker,
    image: &Image,
    progress: OnProgress<'_>,
) -> Result<LocalImage, PullError> {
    let name = image.pinned();
    let credentials = credentials::of(registry(&image.repository)).await;
    let options = CreateImageOptions {
        from_image: Some(name.clone()),
        platform: image.platform.clone(),
        ..Default::default()
    };
    let mut layers = BTreeMap::new();
    let mut messages = Box::pin(docker.create_image(Some(options), None, credentials));
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| explain(image, error))?;
        if note(&mut layers, message) {
            let pulled = sum(&layers);
            // Hanging up ends the pull: the engine checks a layer only when it has all of it, and a registry that
            // never ends one would fill the disk.
            if is_too_much(image, pulled.done) {
                let (got, size) = (pulled.done, image.size);
                let text = format!("`{}` was signed with {size} bytes, and {got} have come", image.pinned());
                return Err(PullError::WrongImage(text));
            }
            progress(pulled);
        }
    }
    let found = docker.inspect_image(&name).await.map_err(|error| explain(image, error))?;
    check(image, &found)
}

/// Has more come than the operator signed? Engines count a little more than manifests do. An image that was pinned by
/// hand has no size.
fn is_too_much(image: &Image, done: u64) -> bool {
    const SLACK: u64 = 1 << 20;
    image.size > 0 && done > image.size.saturating_add(image.size / 10).saturating_add(SLACK)
}

/// Takes in a message about a layer; true if it says that something moved.
fn note(layers: &mut BTreeMap<String, PullProgress>, message: CreateImageInfo) -> bool {
    let (Some(layer), Some(status)) = (message.id, message.status) else { return false };
    let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    let seen = message.progress_detail.unwrap_or_default();
    match status.as_str() {
        "Downloading" => {
            let layer = layers.entry(layer).or_default();
            layer.done = layer.done.max(bytes(seen.current));
            layer.total = layer.total.max(bytes(seen.total));
            true
        }
        "Download complete" | "Extracting" | "Pull complete" | "Verifying Checksum" => {
            if let Some(layer) = layers.get_mut(&layer) {
                layer.done = layer.total;
            }
            true
        }
        _ => false, // waiting and retrying is not progress
    }
}

/// Step 14: the image must have the digest and the platform that were signed.
fn check(image: &Image, found: &ImageInspect) -> Result<LocalImage, PullError> {
    let digest = format!("@{}", image.digest);
    let names = found.repo_digests.as_deref().unwrap_or_default();
    if !names.iter().any(|name| name.ends_with(&digest)) {
        let got = names.first().map_or("no digest", String::as_str);
        return Err(PullError::WrongImage(format!("`{}` came as `{got}`", image.pinned())));
    }
    if !suits(&image.platform, found) {
        let (os, architecture) = (found.os.as_deref(), found.architecture.as_deref());
        let got = format!("{}/{}", os.unwrap_or_default(), architecture.unwrap_or_default());
        let text = format!("`{}` is for {got}, not {}", image.pinned(), image.platform);
        return Err(PullError::WrongImage(text));
    }
    let id = found.id.clone().unwrap_or_default();
    Ok(LocalImage { id, size: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0) })
}

/// Is the image for `platform`? Anything is, where none is known.
pub(super) fn suits(platform: &str, found: &ImageInspect) -> bool {
    let mut wanted = platform.split('/');
    platform.is_empty()
        || (wanted.next() == found.os.as_deref() && wanted.next() == found.architecture.as_deref())
}

/// `host[:port]` of a repository.
fn registry(repository: &str) -> &str {
    match repository.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// Says what a person can do about it.
fn explain(image: &Image, error: Error) -> PullError {
    if error::is_unavailable(&error) {
        return PullError::Engine(error::unavailable(error));
    }
    let text = error::message(&error);
    let registry = registry(&image.repository);
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| text.to_lowercase().contains(phrase));
    if has(&["verification failed for digest", "unexpected commit digest"]) {
        return PullError::WrongImage(format!("registry `{registry}` answered with other bytes: {text}"));
    }
    if has(&["unauthorized", "authentication required", "no basic auth", "denied", "forbidden"]) {
        return PullError::Failed(format!(
            "registry `{registry}` wants a login that the agent does not have (`docker login {registry}` as its user): {text}"
        ));
    }
    if let Some(busy) = BUSY.iter().find(|phrase| text.to_lowercase().contains(**phrase)) {
        let retry_after = retry_after(&text);
        tracing::debug!(busy, "a registry cannot answer just now");
        return PullError::Transient {
            message: format!("registry `{registry}` cannot answer: {text}"),
            retry_after,
        };
    }
    PullError::Failed(if has(&["http response to https client"]) {
        format!(
            "registry `{registry}` speaks plain HTTP, which the engine does not allow (`insecure-registries`): {text}"
        )
    } else if has(&["manifest unknown", "not found", "no matching manifest"]) {
        format!("registry `{registry}` has no `{}` for {}: {text}", image.pinned(), image.platform)
    } else if has(&UNREACHABLE) {
        return PullError::Transient {
            message: format!("registry `{registry}` cannot be reached: {text}"),
            retry_after: None,
        };
    } else {
        text
    })
}

/// What an engine says of a registry that answers 429 or 5xx.
const BUSY: [&str; 11] = [
    "toomanyrequests",
    "too many requests",
    "internal server error",
    "bad gateway",
    "service unavailable",
    "gateway timeout",
    "status: 429",
    "status: 5",
    "status code 429",
    "status code 5",
    ": 503",
];
/// And of one that it does not reach.
const UNREACHABLE: [&str; 9] = [
    "refused",
    "no such host",
    "timeout",
    "timed out",
    "unreachable",
    "no route",
    "reset by peer",
    "eof",
    "temporary failure",
];

/// How long a registry wants to be left alone, where the engine passes that on: `Retry-After: 30`, `retry after 30s`.
fn retry_after(text: &str) -> Option<Duration> {
    let text = text.to_lowercase();
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

    #[test]
    fn more_than_was_signed_is_not_waited_for() {
        let image = |size| Image {
            reference: "web:1".to_owned(),
            repository: "registry.example.com/web".to_owned(),
            digest: windlass_core::Digest::of(b"image"),
            platform: "linux/amd64".to_owned(),
            size,
        };
        let mib = 1 << 20;
        #[rustfmt::skip]
        let table = [
            (100 * mib, 0, false), (100 * mib, 100 * mib, false), (100 * mib, 111 * mib, false), (100 * mib, 111 * mib + 1, true),
            (1, mib, false), (1, mib + 2, true), (0, u64::MAX, false), (u64::MAX, u64::MAX, false),
        ];
        for (size, done, want) in table {
            assert_eq!(is_too_much(&image(size), done), want, "{size} {done}");
        }
    }

    #[test]
    fn what_a_registry_says_of_lengths_overflows_nothing() {
        let mut layers = BTreeMap::new();
        for layer in ["a", "b", "c"] {
            let detail = bollard::models::ProgressDetail { current: Some(i64::MAX), total: Some(i64::MAX) };
            let message = CreateImageInfo {
                id: Some(layer.to_owned()),
                status: Some("Downloading".to_owned()),
                progress_detail: Some(detail),
                ..Default::default()
            };
            assert!(note(&mut layers, message));
        }
        assert_eq!(sum(&layers).done, u64::MAX);
    }

    #[test]
    fn what_a_registry_cannot_answer_just_now_is_told_from_what_it_has_not() {
        let image = Image {
            reference: "web:1".to_owned(),
            repository: "registry.example.com/web".to_owned(),
            digest: windlass_core::Digest::of(b"image"),
            platform: "linux/amd64".to_owned(),
            size: 1,
        };
        #[rustfmt::skip]
        let table = [
            ("toomanyrequests: rate limit exceeded, retry-after: 30", "transient", Some(30)),
            ("received unexpected HTTP status: 503 Service Unavailable", "transient", None),
            ("received unexpected HTTP status: 500 Internal Server Error", "transient", None),
            ("unexpected status from HEAD request to http://10.0.0.1/v2/web/manifests/sha256:ab: 503 Service Unavailable", "transient", None),
            ("Get \"http://10.0.0.1:5000/v2/\": dial tcp 10.0.0.1:5000: connect: connection refused", "transient", None),
            ("unauthorized: authentication required", "final", None),
            ("unexpected status from HEAD request to http://10.0.0.1/v2/: 403 Forbidden", "final", None),
            ("manifest unknown: manifest unknown", "final", None),
            ("http: server gave HTTP response to HTTPS client", "final", None),
            ("verification failed for digest sha256:ab", "wrong", None),
        ];
        for (text, want, after) in table {
            let (kind, retry) = match explain(&image, Error::DockerStreamError { error: text.to_owned() }) {
                PullError::Transient { retry_after, .. } => ("transient", retry_after),
                PullError::Failed(_) => ("final", None),
                PullError::WrongImage(_) => ("wrong", None),
                PullError::Engine(_) => ("engine", None),
            };
            assert_eq!((kind, retry), (want, after.map(Duration::from_secs)), "{text}");
        }
    }

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
}
