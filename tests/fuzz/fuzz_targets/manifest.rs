//! Manifests: problems are told, never panicked over; what loads becomes a release that every agent reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_core::manifest::{Environment, Origins, Source, Sources, load};

fuzz_target!(|data: &str| {
    // Manifest, overlay and settings in one input, parted by lines that no YAML needs.
    let mut parts = data.split("\n\u{1}\n");
    let mut sources = Sources::default();
    let text = parts.next().unwrap_or_default().to_owned();
    sources.manifests.push(Source { name: "web.yaml".to_owned(), text });
    let environment: windlass_core::EnvironmentId = "production".parse().expect("a name");
    if let Some(text) = parts.next() {
        let overlay = Source { name: "production.yaml".to_owned(), text: text.to_owned() };
        sources.overlays.insert(environment.clone(), overlay);
    }
    sources.settings = parts.take(4).filter_map(|text| text.parse().ok()).collect();
    match load(&sources, &Environment::Default(environment.clone())) {
        Err(errors) => assert!(!errors.to_string().is_empty()),
        Ok(all) => {
            for rendered in all {
                let yaml = rendered.yaml(Origins::Hidden);
                let again = Sources {
                    manifests: vec![Source { name: "again.yaml".to_owned(), text: yaml.clone() }],
                    ..Sources::default()
                };
                let again = load(&again, &Environment::Default(environment.clone()));
                let again = again.unwrap_or_else(|errors| panic!("what we print we read: {errors}\n{yaml}"));
                assert_eq!(again.len(), 1);
                assert_eq!(again[0].yaml(Origins::Hidden), yaml);
            }
        }
    }
});
