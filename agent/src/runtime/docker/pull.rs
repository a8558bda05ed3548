//! Fetching an image by digest, and making sure that it is the one that was named.

use std::collections::{BTreeMap, BTreeSet};

use bollard::Docker;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use windlass_core::Digest;
use windlass_core::observation::PullProgress;
use windlass_core::reconcile::LocalImage;
use windlass_core::release::Image;

use super::super::{OnProgress, PullError};
use super::credentials::{self, registry};
use super::refusal::explain;

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

/// Returns whether more has come than the operator signed. Engines count a little more than manifests do. An image that was pinned by
/// hand has no size.
fn is_too_much(image: &Image, done: u64) -> bool {
    const SLACK: u64 = 1 << 20;
    image.size > 0 && done > image.size.saturating_add(image.size / 10).saturating_add(SLACK)
}

/// Progress of a pull from the progress of its layers.
fn sum(layers: &BTreeMap<String, PullProgress>) -> PullProgress {
    layers.values().fold(PullProgress::default(), |sum, layer| PullProgress {
        // A registry says what it likes about lengths.
        done: sum.done.saturating_add(layer.done),
        total: sum.total.saturating_add(layer.total),
    })
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
    let size = found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
    Ok(LocalImage { id, size, origins: Some(origins(names, &image.digest)) })
}

/// Repositories that the engine resolved this digest from, as it names them (`nginx@sha256:…` is one of Docker Hub).
pub(super) fn origins(names: &[String], digest: &Digest) -> BTreeSet<String> {
    let is_meant = |text: &str| text.parse::<Digest>().is_ok_and(|named| named == *digest);
    let named = names.iter().filter_map(|name| name.rsplit_once('@').filter(|(_, text)| is_meant(text)));
    let spelled = |name: &str| match name.split_once('/') {
        Some(_) if registry(name) != "docker.io" || name.starts_with("docker.io/") => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    };
    named.map(|(name, _)| spelled(name)).collect()
}

/// Returns whether the image is for `platform`; anything is, where none is known.
pub(super) fn suits(platform: &str, found: &ImageInspect) -> bool {
    let mut wanted = platform.split('/');
    platform.is_empty()
        || (wanted.next() == found.os.as_deref() && wanted.next() == found.architecture.as_deref())
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
    fn an_image_comes_from_the_repositories_of_its_digest() {
        let (mine, other) = (Digest::of(b"mine"), Digest::of(b"other"));
        let names = [
            format!("nginx@{mine}"),
            format!("team/web@{mine}"),
            format!("127.0.0.1:5000/web@{mine}"),
            format!("registry.example.com/a/b@{mine}"),
            format!("localhost/web@{mine}"),
            format!("registry.example.com/other@{other}"),
            "registry.example.com/none@sha256:12".to_owned(),
            "registry.example.com/tag:1".to_owned(),
        ];
        let want = [
            "docker.io/library/nginx",
            "docker.io/team/web",
            "127.0.0.1:5000/web",
            "registry.example.com/a/b",
            "localhost/web",
        ];
        assert_eq!(origins(&names, &mine), want.map(str::to_owned).into());
    }
}
