//! One host of the lab: address, network namespace, engine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::engine::{Container, Engine};
use crate::http;
use crate::process::words;

/// A host.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Its engine.
    pub engine: Engine,
    netns: PathBuf,
}

impl Host {
    pub(crate) fn read(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("host.env")).expect("`host.sh up` wrote the host's file");
        let values: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let value = |key| (*values.get(key).unwrap_or_else(|| panic!("host.env lacks {key}"))).to_owned();
        Self {
            name: value("HOST_NAME"),
            address: value("HOST_ADDRESS"),
            engine: Engine::new(Path::new(&value("DOCKER_SOCKET"))),
            netns: value("HOST_NETNS_PATH").into(),
        }
    }

    /// A command line that runs `command` on this host. `nsenter` becomes it, so that its pid is the program's.
    pub fn on(&self, command: Vec<OsString>) -> Vec<OsString> {
        let mut all = words(["nsenter".into(), OsString::from(format!("--net={}", self.netns.display()))]);
        all.extend(command);
        all
    }

    /// Runs a program on this host to its end; it must succeed.
    #[track_caller]
    pub fn run(&self, command: &[&str]) -> String {
        let line = self.on(words(command));
        let output = Command::new(&line[0]).args(&line[1..]).output().expect("nsenter is installed");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{command:?} on {}: {}", self.name, text(&output.stderr));
        text(&output.stdout)
    }

    /// The container's answer to `GET /version`.
    pub fn version(&self, container: &Container) -> Result<String> {
        let port = container.port.context("it publishes no port")?;
        let answer = http::get(&format!("{}:{port}", self.address), "/version", Duration::from_secs(5))?;
        anyhow::ensure!(answer.status == 200, "status {}", answer.status);
        Ok(answer.body.trim().to_owned())
    }

    /// The answer at a port of this host, asked from the host itself: the way for one that is cut off.
    pub fn ask_inside(&self, port: u16, path: &str) -> Result<String> {
        let url = format!("http://127.0.0.1:{port}{path}");
        let line = self.on(words(["curl", "--silent", "--show-error", "--fail", "--max-time", "5", &url]));
        let output = Command::new(&line[0]).args(&line[1..]).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        anyhow::ensure!(output.status.success(), "{url}: {}", text(&output.stderr));
        Ok(text(&output.stdout))
    }

    /// Ids of what runs here, sorted.
    pub fn running_ids(&self, service: &str) -> Vec<String> {
        let running = self.engine.running(service).unwrap_or_default();
        let mut ids: Vec<String> = running.into_iter().map(|container| container.id).collect();
        ids.sort();
        ids
    }

    /// Versions of what runs and answers here, asked of the engine and the containers alone.
    pub fn serving(&self, service: &str) -> Vec<String> {
        let running = self.engine.running(service).unwrap_or_default();
        running.iter().filter_map(|container| self.version(container).ok()).collect()
    }
}
