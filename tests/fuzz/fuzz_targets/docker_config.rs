//! `~/.docker/config.json`. The CLI's reader is private to it, so that its source is built in here.
#![no_main]
#![allow(dead_code)]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;

#[path = "../../../ctl/src/registry/credentials.rs"]
mod credentials;

/// As in `ctl/src/registry/error.rs`.
#[derive(Debug)]
enum ResolveError {
    Config { path: PathBuf, source: serde_json::Error },
    ConfigRead { path: PathBuf, source: std::io::Error },
    Helper { helper: String, problem: String },
}

fuzz_target!(|data: &[u8]| {
    let Ok(credentials) = credentials::Credentials::read(data) else { return };
    // A helper is a program of the user's, and would be run: not here, under no spelling.
    let has = |part: &[u8]| data.windows(part.len()).any(|window| window == part);
    if has(b"\\") || has(b"credHelpers") || has(b"credsStore") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for registry in ["docker.io", "registry.example.com", "127.0.0.1:5000"] {
        if let Ok(Some(login)) = runtime.block_on(credentials.login(registry)) {
            assert_eq!(format!("{login:?}"), "Login(…)");
        }
    }
});
