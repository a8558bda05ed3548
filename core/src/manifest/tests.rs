mod asks;
mod canary;
mod container;
mod errors;
mod examples;
mod foreign;
mod gates;
mod guide;
mod hints;
mod layers;
mod props;
mod reference;
mod schema;
mod spec;
mod traffic;
mod triggers;

use super::*;

use crate::digest::Digest;
use crate::release::{Image, Spec};

/// One manifest, in the environment `default`.
fn try_load(text: &str) -> Result<Vec<Rendered>, Errors> {
    load(&sources(text), &default())
}

/// The one service of a manifest that is right.
fn load_one(text: &str) -> Rendered {
    let mut all = try_load(text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// The signed specification of a manifest that is right and reads no files.
fn spec_of(text: &str) -> Spec {
    load_one(text).into_spec(image(), |path| Err(format!("no file `{path}`"))).unwrap()
}

fn sources(text: &str) -> Sources {
    Sources { manifests: vec![Source { name: "web.yaml".into(), text: text.into() }], ..Sources::default() }
}

fn default() -> Environment {
    Environment::Default("default".parse().unwrap())
}

fn image() -> Image {
    Image {
        reference: "registry.example.com/web:1".into(),
        repository: "registry.example.com/web".into(),
        digest: Digest::of(b"image"),
        platform: "linux/amd64".into(),
        size: 1,
    }
}
