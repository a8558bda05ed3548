//! The containers on a host, asked of its engine alone: the witness that nothing happened.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::engine::Engine;
use crate::http;

/// Containers and images at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    /// Id and state of every container, running or not, by name.
    pub containers: BTreeMap<String, (String, String)>,
    /// Every image: its id, and the digests it is known by.
    pub images: BTreeMap<String, String>,
}

impl Scene {
    /// Looks.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub fn of(engine: &Engine) -> Result<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let containers = ask(engine, "/containers/json?all=1")?;
        let containers = containers.as_array().context("not a list")?.iter();
        let images = ask(engine, "/images/json?all=1&digests=1")?;
        let images = images.as_array().context("not a list")?.iter();
        Ok(Self {
            containers: containers
                .map(|seen| (text(&seen["Names"][0]), (text(&seen["Id"]), text(&seen["State"]))))
                .collect(),
            images: images.map(|seen| (text(&seen["Id"]), seen["RepoDigests"].to_string())).collect(),
        })
    }

    /// Names of the containers that have `part` in their names.
    pub fn named(&self, part: &str) -> Vec<&String> {
        self.containers.keys().filter(|name| name.contains(part)).collect()
    }
}

/// A moment, as an engine's events count.
pub fn moment() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

/// Everything an engine did between a moment and now: kind, action and whom it concerned.
///
/// # Errors
/// If the engine does not answer.
pub fn events(engine: &Engine, since: &str) -> Result<Vec<String>> {
    let path = format!("/events?since={since}&until={}", moment());
    let answer = http::ask_socket(&socket(engine), "GET", &path, "")?;
    ensure!(answer.status == 200, "{}", answer.body);
    let line = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let actor = &event["Actor"]["Attributes"]["name"];
        format!("{} {} {}", text(&event["Type"]), text(&event["Action"]), text(actor))
    };
    Ok(answer.body.lines().filter(|text| !text.trim().is_empty()).map(line).collect())
}

/// Asks an engine for something.
///
/// # Errors
/// If it does not answer.
pub fn ask(engine: &Engine, path: &str) -> Result<Value> {
    let answer = http::ask_socket(&socket(engine), "GET", path, "")?;
    ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.body);
    Ok(serde_json::from_str(&answer.body)?)
}

fn socket(engine: &Engine) -> PathBuf {
    engine.url().trim_start_matches("unix://").into()
}
