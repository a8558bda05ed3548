//! Image references, repositories, paths of the host: the spellings that policy compares.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_core::manifest::ImageReference;
use windlass_core::policy::{allows_repository, check_mount, normalise_path, normalise_repository};

fuzz_target!(|text: &str| {
    if let Ok(image) = text.parse::<ImageReference>() {
        assert_eq!(image.to_string().parse::<ImageReference>().as_ref(), Ok(&image));
        let repository = image.repository();
        assert_eq!(
            normalise_repository(&repository).as_deref(),
            Ok(repository.as_str()),
            "what is pinned can run"
        );
        assert!(allows_repository(std::slice::from_ref(&repository), &repository));
        assert!(
            !allows_repository(&["registry.example.com/team".to_owned()], &repository)
                || repository == "registry.example.com/team"
                || repository.starts_with("registry.example.com/team/")
        );
    }
    if let Ok(repository) = normalise_repository(text) {
        assert_eq!(normalise_repository(&repository).as_ref(), Ok(&repository));
    }
    if let Ok(path) = normalise_path(text) {
        assert_eq!(normalise_path(&path).as_ref(), Ok(&path));
        assert!(path.starts_with('/') && !path.contains("//") && !path.split('/').any(|part| part == ".."));
    }
    if check_mount(&["/srv".to_owned()], text, &["/srv/agent".to_owned()]).is_ok() {
        let path = normalise_path(text).expect("only paths are bound");
        assert!(path == "/srv" || path.starts_with("/srv/"));
        assert!(path != "/srv" && path != "/srv/agent" && !path.starts_with("/srv/agent/"));
    }
});
