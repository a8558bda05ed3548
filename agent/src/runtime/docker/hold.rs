//! Tags of our own on the images that may be started again. They were pulled by digest, so that they have no other, and
//! `docker system prune` takes what has none.

use std::collections::BTreeSet;

use bollard::Docker;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions, TagImageOptions};
use windlass_core::Digest;
use windlass_core::reconcile::LocalHost;

use super::super::RuntimeError;
use super::error::{self, refused};

/// No registry has this name: what is tagged so is never pushed or pulled by it.
const REPOSITORY: &str = "windlass.local/keep";

/// Two agents may share an engine: each has tags of its own.
fn prefix(local: &LocalHost) -> String {
    let whose = Digest::of(format!("{}/{}", local.fleet, local.host).as_bytes()).to_hex();
    format!("{}-", &whose[..12])
}

/// Holds these images, and no others.
pub(super) async fn only(
    docker: &Docker,
    local: &LocalHost,
    wanted: &BTreeSet<Digest>,
) -> Result<(), RuntimeError> {
    let options = ListImagesOptions { digests: true, ..Default::default() };
    let images = docker.list_images(Some(options)).await.map_err(refused("list images"))?;
    let ours = format!("{REPOSITORY}:{}", prefix(local));
    for image in images {
        let digests =
            image.repo_digests.iter().filter_map(|name| name.rsplit_once('@')?.1.parse::<Digest>().ok());
        let needed: BTreeSet<Digest> = digests.filter(|digest| wanted.contains(digest)).collect();
        let names: BTreeSet<String> =
            needed.iter().map(|digest| format!("{ours}{}", digest.to_hex())).collect();
        for digest in needed.iter().filter(|digest| {
            let name = format!("{ours}{}", digest.to_hex());
            !image.repo_tags.contains(&name)
        }) {
            one(docker, local, digest, &image.id).await?;
        }
        for tag in image.repo_tags.iter().filter(|tag| tag.starts_with(&ours) && !names.contains(*tag)) {
            untag(docker, tag).await?;
        }
    }
    Ok(())
}

/// Holds an image.
pub(super) async fn one(
    docker: &Docker,
    local: &LocalHost,
    digest: &Digest,
    id: &str,
) -> Result<(), RuntimeError> {
    let tag = format!("{}{}", prefix(local), digest.to_hex());
    let options = TagImageOptions { repo: Some(REPOSITORY.to_owned()), tag: Some(tag) };
    docker.tag_image(id, Some(options)).await.map_err(refused("tag an image"))
}

/// Lets go of an image that is to be removed.
pub(super) async fn none(docker: &Docker, local: &LocalHost, id: &str) -> Result<(), RuntimeError> {
    let image = match docker.inspect_image(id).await {
        Err(error) if error::status(&error) == Some(404) => return Ok(()),
        image => image.map_err(refused("inspect an image"))?,
    };
    let ours = format!("{REPOSITORY}:{}", prefix(local));
    for tag in image.repo_tags.iter().flatten().filter(|tag| tag.starts_with(&ours)) {
        untag(docker, tag).await?;
    }
    Ok(())
}

async fn untag(docker: &Docker, tag: &str) -> Result<(), RuntimeError> {
    let options = RemoveImageOptions { force: false, noprune: true, ..Default::default() };
    match docker.remove_image(tag, Some(options), None).await {
        Err(error) if matches!(error::status(&error), Some(404 | 409)) => Ok(()),
        removed => removed.map(drop).map_err(refused("let go of an image")),
    }
}
