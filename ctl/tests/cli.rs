//! The program as people and scripts meet it: exit code, stdout, stderr. Where a coordinator
//! is needed, one stands in that answers from a script, over real mTLS.
//!
//! Run with `INSTA_UPDATE=always` to accept new screens, and read the diff.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "cli/coordinator.rs"]
mod coordinator;
#[path = "cli/errors.rs"]
mod errors;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/hints.rs"]
mod hints;
#[path = "cli/init.rs"]
mod init;
#[path = "cli/lies.rs"]
mod lies;
#[path = "cli/near.rs"]
mod near;
#[path = "cli/offline.rs"]
mod offline;
#[path = "cli/recovery.rs"]
mod recovery;
#[path = "cli/renewal.rs"]
mod renewal;
#[path = "cli/rollouts.rs"]
mod rollouts;
#[path = "cli/services.rs"]
mod services;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/top.rs"]
mod top;
#[path = "cli/tour.rs"]
mod tour;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

/// A home folder, a working folder, and nothing of the machine's own settings.
struct Desk {
    root: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    /// With a fleet `demo`.
    fn with_fleet() -> Self {
        let desk = Self::new();
        let done =
            desk.run(&["init", "--fleet", "demo", "--server", "127.0.0.1:1", "--server-dir", "server"]);
        assert!(done.status.success(), "{}", stderr(&done));
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        name.to_owned()
    }

    fn command(&self) -> Command {
        let mut command = Command::cargo_bin("windlass").unwrap();
        command
            .current_dir(self.root.path())
            .env_clear()
            .env("WINDLASS_HOME", self.path("home"))
            .env("DOCKER_CONFIG", self.path("docker"))
            .env("USER", "alice");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).output().unwrap()
    }

    /// Exit code, stdout and stderr on one screen, without what differs from run to run.
    fn screen(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let code = output.status.code().unwrap();
        let text =
            format!("$ windlass {}\n{}{}exit {code}", args.join(" "), stdout(&output), stderr(&output));
        text.replace(&self.root.path().display().to_string(), "DESK")
    }

    fn json(&self, args: &[&str]) -> serde_json::Value {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn error(&self, args: &[&str]) -> serde_json::Value {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?} should fail");
        assert_eq!(stdout(&output), "", "{args:?}: results and errors do not mix");
        serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{args:?}: {}", stderr(&output)))
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Pinned by digest, so that no registry is needed.
const PINNED: &str = "service: web\n\
    image: registry.example.com/web@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\
    ports: { http: 8080 }\n";
