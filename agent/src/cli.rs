//! The command line.

use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use windlass_core::units::Span;
use windlass_process::{logging, report, signals};

use crate::config::{Config, Given};
use crate::failure::Failure;
use crate::install::Places;
use crate::join::{Join, join};
use crate::runtime::docker::DockerEngine;
use crate::{clear, doctor, gpu, import, ingress, inventory, output, run};

const ABOUT: &str = "Runs on each host: pulls images, runs containers, probes them, and rolls back by itself";

const EXAMPLES: &str = "\
Examples:
  windlass-agent join --server deploy.example.com:7443 --token windlass2… --address 10.0.0.5 --registry registry.example.com
  windlass-agent run
  windlass-agent doctor
  windlass-agent inventory -o json

Stopping, upgrading or killing the agent never stops a workload.";

/// Arguments.
#[derive(Debug, Parser)]
#[command(name = "windlass-agent", version, about = ABOUT, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    given: Given,
    /// How log lines look (on stderr)
    #[arg(
        long,
        value_name = "human|json",
        default_value = "human",
        env = "WINDLASS_LOG_FORMAT",
        global = true
    )]
    log: String,
    /// Which log lines there are, like `info` or `info,windlass_agent=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "WINDLASS_LOG", global = true)]
    log_filter: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Join a fleet with a token
    #[command(after_help = "\
Examples:
  windlass-agent join --server 127.0.0.1:7443 --token \"$TOKEN\" --data ./agent-1 --address 127.0.0.1 \\
      --registry 127.0.0.1:5000 --policy ./policy.toml
  windlass host token web-1 | windlass-agent join --server deploy.example.com:7443 --token - --registry registry.example.com

Writes the commented starter policy if there is none. May be repeated until it has worked.")]
    Join(JoinArgs),
    /// Run the agent until it is told to stop
    #[command(after_help = "\
Examples:
  windlass-agent run
  windlass-agent run --data ./agent-1 --engine unix:///var/run/docker.sock --policy ./policy.toml --log json

SIGTERM stops it within 10 s; a second signal at once. What runs goes on.")]
    Run,
    /// Run the ingress of this host: the reverse proxy beside the agent
    #[command(after_help = "\
Examples:
  windlass-agent ingress --http 0.0.0.0:80 --https 0.0.0.0:443 --certs /etc/windlass/certs
  windlass-agent ingress --data ./agent-1 --http 127.0.0.1:8080 --metrics 127.0.0.1:9102 --access-log -

It needs the agent's socket and its own folder, no key. It goes on by its last tables while the agent is away. A second one
with the same --state takes the listeners over, and the first one ends when its requests have ended: no connection is
refused. SIGTERM stops accepting, waits for requests under way (--drain), and ends; a second signal ends it at once.")]
    Ingress(IngressArgs),
    /// Show what this host is, allows, runs and refused
    #[command(
        after_help = "Examples:\n  windlass-agent inventory\n  windlass-agent inventory -o json | jq .facts.labels"
    )]
    Inventory(OutputArgs),
    /// Check everything that the agent needs, with a hint for each thing that is not right
    #[command(
        after_help = "Examples:\n  windlass-agent doctor\n  windlass-agent doctor -o json\n\nExit code 1 if a check failed."
    )]
    Doctor(OutputArgs),
    /// Install the agent as a systemd service, with the configuration given
    #[command(
        after_help = "Examples:\n  windlass-agent install\n  windlass-agent install --data /srv/windlass/agent"
    )]
    Install(PlaceArgs),
    /// Remove the service; what runs, the agent's folder and the policy stay
    #[command(after_help = "Examples:\n  windlass-agent uninstall")]
    Uninstall(PlaceArgs),
    /// Stop and remove every container of this host; named volumes stay
    #[command(
        after_help = "Examples:\n  windlass-agent remove-workloads\n  windlass-agent remove-workloads --data ./agent-1\n\nThe agent must not be running: it would start them again."
    )]
    RemoveWorkloads,
    /// The fleet's trust document
    #[command(subcommand)]
    Trust(TrustCommand),
    /// Asks NVIDIA's library, for an agent that must not wait for it
    #[command(name = gpu::SUBCOMMAND, hide = true)]
    GpuProbe,
}

#[derive(Debug, Args)]
struct JoinArgs {
    /// What `windlass host token HOST` printed; `-` reads it from stdin
    #[arg(long, value_name = "TOKEN", env = "WINDLASS_TOKEN", hide_env_values = true)]
    token: String,
    /// Address at which published ports of this host are reached [default: the one that leads to the server]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Where images may come from, for the starter policy; may be repeated
    #[arg(long, value_name = "REGISTRY")]
    registry: Vec<String>,
}

#[derive(Debug, Args)]
struct IngressArgs {
    /// Serve plain HTTP here
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Serve HTTPS here, with the certificates of --certs
    #[arg(long, value_name = "ADDRESS")]
    https: Option<SocketAddr>,
    /// Answer plain requests with a redirect to HTTPS at this port
    #[arg(long, value_name = "PORT", requires = "http")]
    redirect: Option<u16>,
    /// Folder with NAME.crt and NAME.key files (PEM), read again when they change; `default` serves all other names
    #[arg(long, value_name = "DIR")]
    certs: Option<PathBuf>,
    /// Folder of the ingress itself [default: DATA/ingress]
    #[arg(long, value_name = "DIR", env = "WINDLASS_INGRESS_STATE")]
    state: Option<PathBuf>,
    /// Serve /metrics for Prometheus here
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Write a line of JSON for each request to this file, without its query; `-` is stdout
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// At the end, how long requests under way may go on
    #[arg(long, value_name = "TIME", default_value = ingress::DEFAULT_DRAIN)]
    drain: Span,
    /// At the end, how long tunnels (WebSockets) may go on
    #[arg(long, value_name = "TIME", default_value = ingress::DEFAULT_DRAIN_TUNNELS)]
    drain_tunnels: Span,
}

#[derive(Debug, Args)]
struct OutputArgs {
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Debug, Args)]
struct PlaceArgs {
    /// Another root, for building images
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
enum TrustCommand {
    /// Take trust documents from a file, when the coordinator withholds them
    #[command(
        after_help = "Examples:\n  windlass-agent trust import trust-7.json --data ./agent-1\n\nThe agent must not be running; what it runs goes on."
    )]
    Import {
        /// One envelope, or several, one per line, the oldest first
        file: PathBuf,
    },
}

/// Parses, runs, and turns the outcome into an exit code: 0 done, 1 failed, 2 usage.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Unwell) => ExitCode::FAILURE,
        Err(failure) => {
            output::complain(&report::full(&failure, failure.hint().as_deref()));
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: &Cli) -> Result<(), Failure> {
    if matches!(cli.command, Command::GpuProbe) {
        return Ok(gpu::serve()?); // no log, no settings, no runtime: it only answers
    }
    logging::init(cli.log.parse()?, &cli.log_filter)?;
    let config = Config::resolve(&cli.given)?;
    if let Command::Ingress(args) = &cli.command {
        return serve(&config, args);
    }
    // One thread: the agent waits for others nearly all the time. A few more only for files and fsync.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(std::time::Duration::from_secs(2))
        .build()?;
    runtime.block_on(async {
        match &cli.command {
            Command::GpuProbe | Command::Ingress(_) => Ok(()), // done above
            Command::Join(args) => joined(&config, args).await,
            Command::Run => {
                let engine = config.engine.clone();
                let make = |local, files: &Path| Ok(DockerEngine::new(&engine, local, files)?);
                Ok(Box::pin(run::run(&config, signals::shutdown(), make)).await?)
            }
            Command::Inventory(args) => {
                let inventory = inventory::collect(&config).await?;
                Ok(output::lines(&match args.output {
                    Format::Table => inventory.table(),
                    Format::Json => json(&inventory),
                })?)
            }
            Command::Doctor(args) => {
                let findings = doctor::examine(&config).await;
                output::lines(&match args.output {
                    Format::Table => doctor::table(&findings),
                    Format::Json => json(&findings),
                })?;
                if doctor::is_unwell(&findings) { Err(Failure::Unwell) } else { Ok(()) }
            }
            Command::Install(args) => {
                let done = Places::below(&args.root).install(&config, &std::env::current_exe()?)?;
                Ok(output::lines(&done)?)
            }
            Command::Uninstall(args) => Ok(output::lines(&Places::below(&args.root).uninstall(&config)?)?),
            Command::RemoveWorkloads => {
                let count = clear::remove_workloads(&config).await?;
                Ok(output::lines(&format!("removed {count} container{}", if count == 1 { "" } else { "s" }))?)
            }
            Command::Trust(TrustCommand::Import { file }) => {
                let version = import::import(&config, file).await?;
                Ok(output::lines(&format!("trust version {version} is in force"))?)
            }
        }
    })
}

/// The ingress takes as many threads as there are cores.
fn serve(config: &Config, args: &IngressArgs) -> Result<(), Failure> {
    let options = ingress::Options {
        socket: config.ingress_socket(),
        state: args.state.clone().unwrap_or_else(|| config.data.join("ingress")),
        http: args.http,
        https: args.https,
        redirect: args.redirect,
        certs: args.certs.clone(),
        metrics: args.metrics,
        access_log: args.access_log.clone(),
        drain: args.drain.duration(),
        drain_tunnels: args.drain_tunnels.duration(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(8).build()?;
    let ended = runtime.block_on(ingress::run(&options, signals::shutdown()));
    // A successor that says nothing keeps a thread for up to a minute: nobody waits for it.
    runtime.shutdown_background();
    Ok(ended?)
}

async fn joined(config: &Config, args: &JoinArgs) -> Result<(), Failure> {
    let server = config.server.clone().ok_or(Failure::NoServer)?;
    let mut token = args.token.clone();
    if token == "-" {
        token.clear();
        std::io::stdin().take(windlass_certs::join::MAX_LEN as u64).read_to_string(&mut token)?;
    }
    let address = match &args.address {
        Some(address) => address.clone(),
        None => {
            own_address(&server).map_err(|source| Failure::OwnAddress { server: server.clone(), source })?
        }
    };
    let joined = join(&Join {
        server,
        token,
        data: config.data.clone(),
        address,
        registries: args.registry.clone(),
        policy: config.policy.clone(),
    })
    .await?;
    let mut text = format!("joined fleet `{}` as `{}`", joined.member.fleet, joined.member.host);
    if joined.wrote_policy {
        text.push_str(&format!("\nwrote the starter policy {}", config.policy.display()));
    }
    Ok(output::lines(&text)?)
}

/// The address from which this host reaches the server. Nothing is sent for that.
fn own_address(server: &str) -> std::io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect(server).map(|()| socket));
    let socket = match socket {
        Ok(socket) => socket,
        Err(_) => UdpSocket::bind("[::]:0").and_then(|socket| socket.connect(server).map(|()| socket))?,
    };
    Ok(socket.local_addr()?.ip().to_string())
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("only string keys and finite numbers, so it is JSON")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_documented_commands_parse() {
        for line in [
            "join --server 127.0.0.1:7443 --token T --data ./agent-1 --address 127.0.0.1 --registry 127.0.0.1:5000 --policy ./policy.toml",
            "run --data ./agent-1 --engine unix:///var/run/docker.sock --policy ./policy.toml",
            "run --data d --log json",
            "ingress --http 0.0.0.0:80 --https 0.0.0.0:443 --certs /etc/windlass/certs",
            "ingress --data d --http 127.0.0.1:80 --metrics [::1]:9102 --access-log - --drain 5s",
            "inventory -o json",
            "doctor",
            "remove-workloads --data ./agent-1",
            "trust import trust.json",
        ] {
            let words = std::iter::once("windlass-agent").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }
}
