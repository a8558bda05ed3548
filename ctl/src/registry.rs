//! Tag → digest: asks a registry what an image is now, so that the release names bytes and not a label.
//!
//! ```text
//! manifest ──▶ single platform: its config says which ──┐
//!    │                                                  ├──▶ digest of what the registry answered, platform,
//!    └──────▶ index: the platform's manifest ───────────┘    sum of the layers
//! ```
//!
//! Everything that comes back is bounded, and hashed here: a registry is not believed about digests.

mod again;
mod auth;
mod credentials;
mod document;
mod elsewhere;
mod error;
mod http;
#[cfg(test)]
mod tests;

use windlass_core::Digest;
use windlass_core::manifest::ImageReference;
use windlass_core::release::Image;

use document::{Document, Platform};
use http::{Http, Repository};

pub(crate) use error::ResolveError;

/// Asks registries. Keeps tokens for the repositories it has asked.
pub(crate) struct Resolver {
    http: Http,
    platform: String,
}

impl Resolver {
    /// `insecure` lists registries off loopback that may be plain HTTP; `platform` is `os/arch[/variant]`.
    pub(crate) fn new(insecure: Vec<String>, platform: &str) -> Result<Self, ResolveError> {
        platform.parse::<Platform>().map_err(|()| ResolveError::Platform(platform.to_owned()))?;
        let credentials = credentials::Credentials::load()?;
        Ok(Self { http: Http::new(insecure, credentials, http::TIMEOUT)?, platform: platform.to_owned() })
    }

    /// Has waits for a registry told by `tell`.
    pub(crate) fn tell_by(&mut self, tell: impl Fn(&str) + Send + Sync + 'static) {
        self.http.patience.tell_by(std::sync::Arc::new(tell));
    }

    /// The image that the name `image` leads to now.
    pub(crate) async fn resolve(&mut self, image: &ImageReference) -> Result<Image, ResolveError> {
        let repository = Repository { registry: image.registry.clone(), path: image.path.clone() };
        let answer = self.http.manifest(&repository, &image.version()).await?;
        let digest = Digest::of(&answer);
        if let Some(asked) = image.digest.filter(|asked| *asked != digest) {
            return Err(ResolveError::WrongDigest { image: image.to_string(), asked, got: digest });
        }
        let wanted: Platform =
            self.platform.parse().map_err(|()| ResolveError::Platform(self.platform.clone()))?;
        let size = match Document::read(&answer).map_err(|source| malformed(image, source))? {
            Document::Index(index) => {
                let chosen = index.choose(&wanted).ok_or_else(|| ResolveError::NoPlatform {
                    image: image.to_string(),
                    platform: self.platform.clone(),
                    available: index.platforms(),
                })?;
                let bytes = self.http.manifest(&repository, &chosen.to_string()).await?;
                expect(image, chosen, &bytes)?;
                match Document::read(&bytes).map_err(|source| malformed(image, source))? {
                    Document::Manifest(manifest) => manifest.size(),
                    Document::Index(_) => return Err(ResolveError::Nested(image.to_string())),
                }
            }
            Document::Manifest(manifest) => {
                let config = self.http.blob(&repository, &manifest.config.digest).await?;
                expect(image, manifest.config.digest, &config)?;
                let found = document::platform_of(&config).map_err(|source| malformed(image, source))?;
                if !wanted.accepts(&found) {
                    return Err(ResolveError::NoPlatform {
                        image: image.to_string(),
                        platform: self.platform.clone(),
                        available: vec![found.to_string()],
                    });
                }
                manifest.size()
            }
        };
        Ok(pinned(image, digest, &self.platform, size))
    }
}

/// An image that was pinned by hand, without asking anybody. Its size is not known then, and 0.
pub(crate) fn offline(image: &ImageReference, platform: &str) -> Result<Image, ResolveError> {
    platform.parse::<Platform>().map_err(|()| ResolveError::Platform(platform.to_owned()))?;
    let digest = image.digest.ok_or_else(|| ResolveError::NotPinned(image.to_string()))?;
    Ok(pinned(image, digest, platform, 0))
}

fn pinned(image: &ImageReference, digest: Digest, platform: &str, size: u64) -> Image {
    Image {
        reference: image.to_string(),
        repository: image.repository(),
        digest,
        platform: platform.to_owned(),
        size,
    }
}

fn expect(image: &ImageReference, asked: Digest, bytes: &[u8]) -> Result<(), ResolveError> {
    let got = Digest::of(bytes);
    if got == asked {
        Ok(())
    } else {
        Err(ResolveError::WrongDigest { image: image.to_string(), asked, got })
    }
}

fn malformed(image: &ImageReference, source: serde_json::Error) -> ResolveError {
    ResolveError::Malformed { image: image.to_string(), source }
}
