//! The word of a host's engine, asked directly: the truth that no part of the product has touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::http;

/// A Docker Engine.
#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
}

/// A container.
#[derive(Debug, Clone)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// `running`, `exited` and so on.
    pub state: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The port of the host at which it answers, if it publishes one.
    pub port: Option<u16>,
}

impl Container {
    /// A label of ours, or nothing.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(&format!("windlass.{name}")).map_or("", String::as_str)
    }
}

impl Engine {
    /// The engine behind a socket.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Its address, as `--engine` takes it.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Every container of a service, running or not, by creation, the oldest first.
    pub fn containers(&self, service: &str) -> Result<Vec<Container>> {
        let filter = format!(r#"{{"label":["windlass.service={service}"]}}"#);
        let path = format!("/containers/json?all=1&filters={}", escape(&filter));
        let list = self.ask("GET", &path, "")?;
        let mut list: Vec<&Value> = list.as_array().context("not a list")?.iter().collect();
        list.sort_by_key(|entry| entry["Created"].as_i64());
        Ok(list.into_iter().map(container).collect())
    }

    /// Those of them that run.
    pub fn running(&self, service: &str) -> Result<Vec<Container>> {
        let mut list = self.containers(service)?;
        list.retain(|container| container.state == "running");
        Ok(list)
    }

    /// The output of `docker inspect`.
    pub fn inspect(&self, id: &str) -> Result<Value> {
        self.ask("GET", &format!("/containers/{id}/json"), "")
    }

    /// Whether somebody has sent a signal to a container since then, as every stop begins with one.
    pub fn was_signalled(&self, id: &str, since: SystemTime) -> Result<bool> {
        let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (since, now) = (seconds(since), seconds(SystemTime::now()));
        let filter = escape(&format!(r#"{{"container":["{id}"],"event":["kill"]}}"#));
        let path = format!("/events?since={since}&until={now}&filters={filter}");
        let answer = http::ask_socket(&self.socket, "GET", &path, "")?;
        anyhow::ensure!(answer.status == 200, "the engine answered GET {path} with {}", answer.status);
        Ok(!answer.body.trim().is_empty())
    }

    /// Runs a container that no agent started, publishing `port` of the host. Answers with its id.
    pub fn run(&self, image: &str, port: u16, labels: &Value) -> Result<String> {
        let (name, tag) = image.rsplit_once(':').context("the image has no tag")?;
        self.ask("POST", &format!("/images/create?fromImage={name}&tag={tag}"), "")?;
        let body = json!({
            "Image": image,
            "Labels": labels,
            "ExposedPorts": { "8080/tcp": {} },
            "HostConfig": { "PortBindings": { "8080/tcp": [{ "HostPort": port.to_string() }] } },
        });
        let created = self.ask("POST", "/containers/create", &body.to_string())?;
        let id = created["Id"].as_str().context("no id")?.to_owned();
        self.ask("POST", &format!("/containers/{id}/start"), "")?;
        Ok(id)
    }

    /// Freezes every process of a container: for its engine it runs, its kernel accepts connections, and it answers nobody.
    pub fn freeze(&self, id: &str) -> Result<()> {
        self.signal(id, "STOP")
    }

    /// Lets the processes of a container go on.
    pub fn thaw(&self, id: &str) -> Result<()> {
        self.signal(id, "CONT")
    }

    /// Sends a signal to each process of a container: the first one may be an init process, which serves nobody.
    fn signal(&self, id: &str, signal: &str) -> Result<()> {
        let top = self.ask("GET", &format!("/containers/{id}/top"), "")?;
        let column =
            top["Titles"].as_array().and_then(|titles| titles.iter().position(|title| title == "PID"));
        let column = column.context("no process ids")?;
        let processes = top["Processes"].as_array().into_iter().flatten();
        let pids: Vec<u32> = processes.filter_map(|of| of[column].as_str()?.parse().ok()).collect();
        anyhow::ensure!(!pids.is_empty() && !pids.contains(&1), "it has no processes: {top}");
        let pids = pids.iter().map(u32::to_string);
        let sent = std::process::Command::new("kill").args(["-s", signal]).args(pids).status()?;
        anyhow::ensure!(sent.success(), "{signal} could not be sent");
        Ok(())
    }

    /// Ends a container's first process, as its kernel would; the engine may start it again.
    pub fn end(&self, id: &str) -> Result<()> {
        let pid =
            self.inspect(id)?["State"]["Pid"].as_u64().filter(|pid| *pid > 1).context("it has no process")?;
        let ended = std::process::Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status()?;
        anyhow::ensure!(ended.success(), "process {pid} could not be ended");
        Ok(())
    }

    /// Removes a container, running or not.
    pub fn remove(&self, id: &str) -> Result<()> {
        self.ask("DELETE", &format!("/containers/{id}?force=1"), "").map(drop)
    }

    /// One request to the engine's API; an answer of 400 or more is an error with its text.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let answer = http::ask_socket(&self.socket, method, path, body)?;
        if answer.status >= 400 {
            bail!("the engine answered {method} {path} with {}: {}", answer.status, answer.body);
        }
        // A pull answers with one object per line; nobody reads those.
        Ok(serde_json::from_str(&answer.body).unwrap_or(Value::Null))
    }
}

fn container(entry: &Value) -> Container {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let labels = entry["Labels"].as_object().into_iter().flatten();
    let ports = entry["Ports"].as_array().into_iter().flatten();
    Container {
        id: text("Id"),
        state: text("State"),
        labels: labels
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        port: ports.filter_map(|port| port["PublicPort"].as_u64()).find_map(|port| u16::try_from(port).ok()),
    }
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
