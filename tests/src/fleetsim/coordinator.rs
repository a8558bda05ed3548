//! The released coordinator, in a process of its own, on this machine's loopback.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::time::sleep;
use tonic::transport::Channel;
use windlass_certs::revocation::Revocations;
use windlass_certs::tls::{ClientTls, ConnectOptions, connect};
use windlass_proto::limits::MAX_MESSAGE;
use windlass_proto::pb;
use windlass_proto::pb::control_client::ControlClient;

use super::papers::{Papers, Signed, fleet};
use crate::fleet::program;
use crate::http;
use crate::process::{Process, words};

const READY: Duration = Duration::from_secs(60);
/// Between two looks at a rollout, at least.
const SOON: Duration = Duration::from_millis(100);
/// The longest time between two looks at a rollout.
const LATEST: Duration = Duration::from_millis(500);

/// A coordinator. Dropping it ends the process.
#[derive(Debug)]
pub struct Coordinator {
    /// Its process.
    pub process: Process,
    /// Its keys.
    pub papers: Papers,
    /// The address for agents and operators.
    pub address: SocketAddr,
    http: SocketAddr,
}

impl Coordinator {
    /// Starts one in `folder`, with these lines in `server.toml`.
    pub async fn start(folder: &Path, settings: &str) -> Result<Self> {
        let (address, http) = (free_address()?, free_address()?);
        let papers = Papers::generate()?;
        let data = folder.join("server");
        papers.write(&data, address, settings)?;
        let mut command = vec![program("windlass-server"), "--data".into(), data.into()];
        command.extend(words([
            "--listen",
            &address.to_string(),
            "--http",
            &http.to_string(),
            "--log",
            "warn",
        ]));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let environment: Vec<(OsString, OsString)> = vec![("PATH".into(), path)];
        let process = Process::start("windlass-server", command, environment, &folder.join("server.log"));
        let mut coordinator = Self { process, papers, address, http };
        coordinator.ready().await?;
        Ok(coordinator)
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.ended() {
                bail!("the coordinator ended with {status}: {}", self.process.tail(20));
            }
            let answer = http::get(&self.http.to_string(), "/readyz", Duration::from_secs(1));
            if answer.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            ensure!(begun.elapsed() < READY, "the coordinator is not ready: {}", self.process.tail(20));
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGKILL, and the same program again.
    pub async fn kill_and_start(&mut self) -> Result<()> {
        self.process.start_again();
        self.ready().await
    }

    /// The client of an operator with `grant`.
    pub async fn control(&self, grant: &str) -> Result<ControlClient<Channel>> {
        let operator = self.papers.operator(grant)?;
        let pins = vec![self.papers.ca.fingerprint()];
        let tls = ClientTls::new(fleet(), pins, &operator, Revocations::new())?;
        let channel = connect(&self.address.to_string(), &tls, &ConnectOptions::default()).await?;
        Ok(ControlClient::new(channel).max_decoding_message_size(MAX_MESSAGE))
    }

    /// Submits a release; answers with its rollout.
    pub async fn submit(&self, release: &Signed) -> Result<String> {
        let mut control = self.control("deployer/*").await?;
        let envelope = release.envelope.clone().into();
        // A release is submitted whatever its service is at.
        let request = pb::SubmitReleaseRequest { envelope, supersede: true, ..Default::default() };
        Ok(control.submit_release(request).await?.into_inner().rollout)
    }

    /// Waits until a rollout is in a final state, and answers with that.
    pub async fn follow(&self, rollout: &str, limit: Duration) -> Result<String> {
        let mut control = self.control("viewer/*").await?;
        let begun = Instant::now();
        loop {
            let asked = Instant::now();
            let request = pb::GetRolloutRequest { rollout: rollout.to_owned() };
            let view = control.get_rollout(request).await?.into_inner().view;
            let view: serde_json::Value = serde_json::from_slice(&view)?;
            if let Some(outcome) = view["outcome"].as_str() {
                return Ok(outcome.to_owned());
            }
            let seen = json_line(&view);
            ensure!(begun.elapsed() < limit, "the rollout has not ended within {limit:?}: {seen}");
            // A view of thousands of slots costs what a step does: who looks takes little part. The end is seen so much later at most.
            sleep((asked.elapsed() * 9).clamp(SOON, LATEST)).await;
        }
    }

    /// All of `/metrics`.
    pub fn metrics(&self) -> Result<String> {
        Ok(http::get(&self.http.to_string(), "/metrics", Duration::from_secs(30))?.body)
    }

    /// One figure of `/metrics`; lines are named with their labels.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let text = self.metrics()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("no metric `{name}`"))?.trim().parse()?)
    }
}

fn json_line(view: &serde_json::Value) -> String {
    let keys = ["state", "total", "available", "waiting", "reason"];
    keys.map(|key| format!("{key} {}", view[key])).join(", ")
}

/// An address nobody listens on now. The kernel does not give the same one twice in a row.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
