//! Answers of a registry: manifests, indexes, configurations. The CLI's reader is private to it, so that its
//! source is built in here.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

#[path = "../../../ctl/src/registry/auth.rs"]
mod auth;
#[path = "../../../ctl/src/registry/document.rs"]
mod document;

use document::{Document, Platform, platform_of};

fuzz_target!(|data: &[u8]| {
    let wanted: Platform = "linux/amd64".parse().expect("a platform");
    match Document::read(data) {
        Ok(Document::Index(index)) => {
            let chosen = index.choose(&wanted);
            let listed = index.platforms().iter().any(|platform| platform.starts_with("linux/amd64"));
            assert!(chosen.is_none() || listed);
        }
        Ok(Document::Manifest(manifest)) => drop((manifest.size(), manifest.config.digest)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(platform) = platform_of(data) {
        assert!(platform.accepts(&platform));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = auth::Challenge::parse(text);
        if let Ok(platform) = text.parse::<Platform>() {
            assert_eq!(platform.to_string(), text, "one spelling");
        }
    }
});
