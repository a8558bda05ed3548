//! The words of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;
use ipnet::IpNet;
use windlass_core::units::Span;
use windlass_ingress::ProxyProtocol;
use windlass_process::socket;

use crate::failure::Failure;
use crate::{gpu, ingress, output};

/// Flags of the log.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(super) struct LogArgs {
    /// Log lines on stderr, like `info` or `info,windlass_agent=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "WINDLASS_LOG", global = true)]
    pub(super) log: String,
    /// Format of log lines
    #[arg(
        long,
        value_name = "human|json",
        default_value = "human",
        env = "WINDLASS_LOG_FORMAT",
        global = true
    )]
    pub(super) log_format: String,
    /// The filter, as version 0.1 spelled it
    #[arg(long, value_name = "FILTER", global = true, hide = true)]
    pub(super) log_filter: Option<String>,
}

impl LogArgs {
    /// Format and filter. In version 0.1 `--log` was the format, and `--log-filter` the filter.
    pub(super) fn read(&self) -> (&str, &str) {
        let filter = self.log_filter.as_deref();
        match self.log.as_str() {
            format @ ("human" | "json") => (format, filter.unwrap_or("info")),
            log => (&self.log_format, filter.unwrap_or(log)),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Join a fleet with a token
    #[command(after_help = "\
Examples:
  windlass-agent join --server 127.0.0.1:7443 --token \"$TOKEN\" \\
      --data ./agent-1 --address 127.0.0.1 \\
      --registry 127.0.0.1:5000 --policy ./policy.toml
  windlass host token web-1 | windlass-agent join --token - \\
      --registry registry.example.com

Without --server it goes where the token says. Writes the commented starter policy if there is none. May be repeated until it has worked.")]
    Join(JoinArgs),
    /// Run the agent until it is told to stop
    #[command(after_help = "\
Examples:
  windlass-agent run
  windlass-agent run --data ./agent-1 --engine unix:///var/run/docker.sock \\
      --policy ./policy.toml --log-format json

SIGTERM stops it within 10 s; a second signal at once. Workloads keep running.")]
    Run,
    /// Run the ingress of this host: the reverse proxy beside the agent
    #[command(after_help = "\
Examples:
  windlass-agent ingress --http 0.0.0.0:80 --https 0.0.0.0:443 \\
      --certs /etc/windlass/certs
  windlass-agent ingress --data ./agent-1 --http 127.0.0.1:8080 \\
      --metrics 127.0.0.1:9102 --access-log -

It needs the agent's socket and its own folder, no key. It goes on by its last tables while the agent is away. A second one \
with the same --state takes the listeners over, and the first one ends when its requests have ended: no connection is \
refused. SIGTERM stops accepting, waits for requests under way (--drain), and ends; a second signal ends it at once.")]
    Ingress(IngressArgs),
    /// Show what this host is, allows, runs and refused
    #[command(
        after_help = "Examples:\n  windlass-agent inventory\n  windlass-agent inventory -o json | jq .facts.labels"
    )]
    Inventory,
    /// Check everything that the agent needs, with a hint for each fault
    #[command(
        after_help = "Examples:\n  windlass-agent doctor\n  windlass-agent doctor -o json\n\nExit code 1 if a check failed."
    )]
    Doctor,
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
    #[command(subcommand, after_help = "Examples:\n  windlass-agent trust import trust-7.json")]
    Trust(TrustCommand),
    /// Completions for a shell
    #[command(
        after_help = "Examples:\n  windlass-agent completions bash > /etc/bash_completion.d/windlass-agent"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Manual pages
    #[command(after_help = "Examples:\n  windlass-agent man --out /usr/local/share/man/man1")]
    Man {
        /// Write a page for each command to this folder
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Asks NVIDIA's library, for an agent that must not wait for it
    #[command(name = gpu::SUBCOMMAND, hide = true)]
    GpuProbe,
}

/// An address, without the brackets in which one of IPv6 stands before a port.
fn address(text: &str) -> Result<String, std::convert::Infallible> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let inner = inner.filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    Ok(inner.unwrap_or(text).to_owned())
}

#[derive(Debug, Args)]
pub(super) struct JoinArgs {
    /// What `windlass host token HOST` printed; `-` reads it from stdin
    #[arg(long, value_name = "TOKEN", env = "WINDLASS_TOKEN", hide_env_values = true)]
    pub(super) token: String,
    /// Address at which published ports of this host are reached [default: the one that leads to the server]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub(super) address: Option<String>,
    /// Where images may come from, for the starter policy; may be repeated
    #[arg(long, value_name = "REGISTRY")]
    pub(super) registry: Vec<String>,
    /// A registry off loopback that may be plain HTTP, for the starter policy; may be repeated
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) insecure_registry: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct IngressArgs {
    /// Serve plain HTTP here
    #[arg(long, value_name = "IP:PORT", value_parser = socket::listening)]
    pub(super) http: Option<SocketAddr>,
    /// Serve HTTPS here, with the certificates of --certs
    #[arg(long, value_name = "IP:PORT", value_parser = socket::listening)]
    pub(super) https: Option<SocketAddr>,
    /// Answer plain requests with a redirect to HTTPS at this port
    #[arg(long, value_name = "PORT", requires = "http")]
    pub(super) redirect: Option<u16>,
    /// Folder with NAME.crt and NAME.key files (PEM), read again when they change; `default` serves all other names
    #[arg(long, value_name = "DIR")]
    pub(super) certs: Option<PathBuf>,
    /// Folder of the ingress for its tables [default: DATA/ingress]
    #[arg(long, value_name = "DIR", env = "WINDLASS_INGRESS_STATE")]
    pub(super) state: Option<PathBuf>,
    /// Serve /metrics for Prometheus here
    #[arg(long, value_name = "IP:PORT", value_parser = socket::listening)]
    pub(super) metrics: Option<SocketAddr>,
    /// Write a line of JSON for each request to this file, without its query; `-` is stdout
    #[arg(long, value_name = "FILE")]
    pub(super) access_log: Option<PathBuf>,
    /// Network of a proxy or load balancer before this ingress, whose X-Forwarded-* headers are believed; may be repeated
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub(super) trusted_proxy: Vec<IpNet>,
    /// Listeners at which each connection of a trusted proxy begins with a header of the PROXY protocol, version 2
    #[arg(long, value_name = "LISTENER", value_enum, value_delimiter = ',', requires = "trusted_proxy")]
    pub(super) proxy_protocol: Vec<Listener>,
    /// How long an instance may take until it begins to answer a request; then the client gets 504
    #[arg(long, value_name = "DURATION", default_value = ingress::DEFAULT_RESPONSE_TIMEOUT, value_parser = a_second_or_more)]
    pub(super) response_timeout: Span,
    /// At the end, how long requests are still taken while /.well-known/windlass/ready answers 503 to load balancers
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub(super) notice: Span,
    /// At the end, how long requests under way may go on
    #[arg(long, value_name = "DURATION", default_value = ingress::DEFAULT_DRAIN)]
    pub(super) drain: Span,
    /// At the end, how long tunnels (WebSockets) may go on; not less than --drain
    #[arg(long, value_name = "DURATION", default_value = ingress::DEFAULT_DRAIN_TUNNELS)]
    pub(super) drain_tunnels: Span,
}

/// A listener of an ingress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Listener {
    /// Plain HTTP.
    Http,
    /// HTTPS.
    Https,
}

impl IngressArgs {
    /// The listeners at which trusted proxies announce their clients before the first byte.
    pub(super) fn proxy_protocol(&self) -> ProxyProtocol {
        let at = |listener| self.proxy_protocol.contains(&listener);
        ProxyProtocol { http: at(Listener::Http), https: at(Listener::Https) }
    }
}

fn a_second_or_more(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error| format!("{error}"))?;
    if span.duration() < Duration::from_secs(1) {
        Err("give one second or more".to_owned())
    } else {
        Ok(span)
    }
}

/// The format of results.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(super) struct OutputArgs {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t, global = true)]
    pub(super) output: Format,
}

impl OutputArgs {
    /// Returns whether the output is for programs.
    pub(super) const fn is_structured(&self) -> bool {
        !matches!(self.output, Format::Table)
    }

    /// Prints a result in the format that was asked for.
    pub(super) fn result(&self, text: &str, view: &impl serde::Serialize) -> Result<(), Failure> {
        Ok(output::lines(&match self.output {
            Format::Table => text.to_owned(),
            Format::Json => serde_json::to_string_pretty(view)
                .expect("only string keys and finite numbers, so it is JSON"),
            // By way of JSON, so that both forms have the same fields.
            Format::Yaml => {
                let view = serde_json::to_value(view).unwrap_or_default();
                serde_saphyr::to_string(&view).unwrap_or_default()
            }
        })?)
    }
}

#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// Another root, for building images
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(super) root: PathBuf,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// One document.
    Json,
    /// The same as YAML.
    Yaml,
}

#[derive(Debug, Subcommand)]
pub(super) enum TrustCommand {
    /// Take trust documents from a file, when the coordinator withholds them
    #[command(
        after_help = "Examples:\n  windlass-agent trust import trust-7.json --data ./agent-1\n\nThe agent must not be running; what it runs goes on."
    )]
    Import {
        /// One envelope, or several, one per line, the oldest first
        file: PathBuf,
    },
}
/// A network, or the one address of a host.
fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| "neither an address such as 10.0.0.1 nor a network such as 10.0.0.0/8".to_owned())
}
