//! Image references as people write them, and the full name each stands for.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::policy::normalise_repository;
use crate::release::Image;

/// The registry that a reference without one means, as in Docker.
const DEFAULT_REGISTRY: &str = "docker.io";

/// `host[:port]/path[:tag][@sha256:…]`, normalised: `nginx:1` is `docker.io/library/nginx:1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    /// Host of the registry, with its port if it has one.
    pub registry: String,
    /// Path below it.
    pub path: String,
    /// The tag, if one was written.
    pub tag: Option<String>,
    /// The digest, if one was written. It counts more than the tag.
    pub digest: Option<Digest>,
}

impl ImageReference {
    /// `registry/path`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    /// Returns whether the name means what is newest, and so something else from day to day.
    pub fn is_newest(&self) -> bool {
        self.digest.is_none() && self.tag.as_ref().is_none_or(|tag| tag == "latest")
    }

    /// The image as a release names it, once the registry has answered.
    pub fn pin(&self, digest: Digest, platform: impl Into<String>, size: u64) -> Image {
        let (reference, repository) = (self.to_string(), self.repository());
        Image { reference, repository, digest, platform: platform.into(), size }
    }

    /// The version to ask the registry for: the digest, else the tag, else `latest`.
    pub fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image reference: {reason}")]
pub struct InvalidImage {
    text: String,
    reason: &'static str,
}

impl FromStr for ImageReference {
    type Err = InvalidImage;

    fn from_str(text: &str) -> Result<Self, InvalidImage> {
        let invalid = |reason| InvalidImage { text: text.chars().take(80).collect(), reason };
        if text.len() > 512 {
            return Err(invalid("it is longer than 512 characters"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (
                rest,
                Some(digest.parse().map_err(|_| invalid("after `@` stands `sha256:` and 64 hex digits"))?),
            ),
            None => (text, None),
        };
        // A colon after the last slash begins the tag; one before it belongs to the registry's port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            Some(_) | None => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid("a tag has letters, digits, `_`, `.` and `-`, at most 128"));
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_host(first) => (first, path.to_owned()),
            Some(_) => (DEFAULT_REGISTRY, name.to_owned()),
            None => (DEFAULT_REGISTRY, format!("library/{name}")),
        };
        if !valid_registry(registry) {
            return Err(invalid("the registry is `host` or `host:port`"));
        }
        if path.len() > 255 || !path.split('/').all(is_component) {
            return Err(invalid("the path has lowercase letters, digits, `.`, `_`, `-` and `/`"));
        }
        // The one spelling that agents read and policies compare; whatever has none would be refused by every host.
        let repository = normalise_repository(&format!("{registry}/{path}"));
        let repository = repository.map_err(|_| invalid("the registry is `host` or `host:port`"))?;
        let (registry, path) = repository.split_once('/').ok_or_else(|| invalid("it names no repository"))?;
        Ok(Self { registry: registry.to_owned(), path: path.to_owned(), tag: tag.map(str::to_owned), digest })
    }
}

/// Docker's rule for telling a registry from the first part of a path.
fn is_host(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':'])
}

fn valid_registry(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (Some(address), None),
        Some((address, port)) => (Some(address), port.strip_prefix(':').or(Some("?"))),
        None => registry.split_once(':').map_or((None, None), |(_, port)| (None, Some(port))),
    };
    let name = registry.split(':').next().unwrap_or_default();
    let label = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let host_is_good = match host {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.len() <= 253 && name.split('.').all(label),
    };
    let port_is_good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0));
    host_is_good && port_is_good
}

fn is_tag(tag: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=128).contains(&tag.len()) && tag.bytes().all(inner) && !tag.starts_with(['.', '-'])
}

/// Runs of lowercase letters and digits, between them `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends = bytes.first().copied().is_some_and(word) && bytes.last().copied().is_some_and(word);
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends && separators.into_iter().all(|s| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_written_out_in_full() {
        let digest = Digest::of(b"x");
        #[rustfmt::skip]
        let table = [
            ("nginx".to_owned(), "docker.io/library/nginx".to_owned()),
            ("nginx:1".into(), "docker.io/library/nginx:1".into()),
            ("acme/web:1.5.2".into(), "docker.io/acme/web:1.5.2".into()),
            ("index.docker.io/acme/web".into(), "docker.io/acme/web".into()),
            ("registry-1.docker.io/acme/web".into(), "docker.io/acme/web".into()),
            ("Registry.Example.COM:5000/web".into(), "registry.example.com:5000/web".into()),
            ("localhost/web".into(), "localhost/web".into()),
            ("127.0.0.1:5000/web:v2".into(), "127.0.0.1:5000/web:v2".into()),
            ("registry.example.com/a/b__c/d-e:T_1".into(), "registry.example.com/a/b__c/d-e:T_1".into()),
            ("[::1]:5000/web".into(), "[::1]:5000/web".into()),
            (format!("web:1@{digest}"), format!("docker.io/library/web:1@{digest}")),
        ];
        for (text, want) in table {
            let reference: ImageReference = text.parse().unwrap();
            assert_eq!(reference.to_string(), want);
            assert_eq!(want.parse::<ImageReference>().unwrap(), reference, "the long form is a fixpoint");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        #[rustfmt::skip]
        let table = ["", "Web", "web:", "web:tag:tag", "web@sha256:12", "a//b", "/web", "web/", "a..b/c/d_", "reg.io:99999/x", "reg.io:/x", "-a.b/x",
            "web:a b", "https://reg.io/x", "web ", "wé", "[::1/x", "a___b", "[::1]x/y",
            "reg.io:05000/x", "reg.io:+80/x"];
        for text in table {
            assert!(text.parse::<ImageReference>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_registry_is_asked_for_the_strongest_name() {
        let digest = Digest::of(b"x");
        assert_eq!("web".parse::<ImageReference>().unwrap().version(), "latest");
        let pinned = format!("web:latest@sha256:{}", "a".repeat(64));
        for (text, newest) in [("web", true), ("web:latest", true), ("web:1", false), (&pinned, false)] {
            assert_eq!(text.parse::<ImageReference>().unwrap().is_newest(), newest, "{text}");
        }
        let tagged: ImageReference = "web:1".parse().unwrap();
        assert_eq!(tagged.version(), "1");
        assert_eq!(tagged.pin(digest, "linux/amd64", 7).pinned(), format!("docker.io/library/web@{digest}"));
        assert_eq!(
            format!("web:1@{digest}").parse::<ImageReference>().unwrap().version(),
            digest.to_string()
        );
    }
}
