//! Image manifests and indexes, OCI's and Docker's.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use windlass_core::Digest;

/// The documents of a registry.
pub(super) enum Document {
    /// An image for one platform.
    Manifest(Manifest),
    /// Images for several.
    Index(Index),
}

#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Descriptor {
    pub(super) digest: Digest,
    size: u64,
    #[serde(default)]
    platform: Option<Platform>,
}

/// `os/arch[/variant]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Platform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Document {
    /// Told apart by what they hold, since `mediaType` is optional in OCI's.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let value: serde_json::Value = serde_json::from_slice(bytes)?;
        if value.get("manifests").is_some() {
            serde_json::from_value(value).map(Self::Index)
        } else {
            serde_json::from_value(value).map(Self::Manifest)
        }
    }
}

impl Manifest {
    /// Sum of the compressed layers.
    pub(super) fn size(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size))
    }
}

impl Index {
    /// The manifest for a platform. One without a platform (an attestation, say) is none.
    pub(super) fn choose(&self, wanted: &Platform) -> Option<Digest> {
        let fits = |descriptor: &&Descriptor| descriptor.platform.as_ref().is_some_and(|p| wanted.accepts(p));
        self.manifests.iter().find(fits).map(|descriptor| descriptor.digest)
    }

    /// The platforms that there are.
    pub(super) fn platforms(&self) -> Vec<String> {
        let known = self.manifests.iter().filter_map(|descriptor| descriptor.platform.as_ref());
        known.filter(|platform| platform.os != "unknown").map(ToString::to_string).collect()
    }
}

impl Platform {
    /// Returns whether `found` is the wanted platform. Without a variant, any variant is.
    pub(super) fn accepts(&self, found: &Self) -> bool {
        self.os == found.os
            && self.architecture == found.architecture
            && (self.variant.is_none() || self.variant == found.variant)
    }
}

/// The platform that an image's configuration names.
pub(super) fn platform_of(config: &[u8]) -> Result<Platform, serde_json::Error> {
    serde_json::from_slice(config)
}

impl FromStr for Platform {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split('/').collect();
        let plain = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
        if !parts.iter().all(plain) {
            return Err(());
        }
        match parts[..] {
            [os, architecture] => {
                Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: None })
            }
            [os, architecture, variant] => Ok(Self {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
                variant: Some(variant.to_owned()),
            }),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}
