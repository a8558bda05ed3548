//! `status`, `logs`, `events`, `schema`, `render`, `completions`, `man`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;
use windlass_core::{Counter, HostId, Span, Timestamp};
use windlass_proto::limits::MAX_LOG_TAIL;

use super::ManifestArgs;
use super::deploy::counter;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  windlass status\n  windlass status web -o json")]
pub(crate) struct StatusArgs {
    /// The service, `web` or `production/web`; all of them if absent
    pub(crate) service: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  windlass routes\n  windlass routes web -o json\n  windlass routes forget edge-1"
)]
pub(crate) struct RoutesArgs {
    #[command(subcommand)]
    pub(crate) command: Option<RoutesCommand>,
    /// The service, `web` or `production/web`; all of them if absent
    pub(crate) service: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoutesCommand {
    /// Stop waiting for a host's ingress that is gone; it counts again when it reports
    #[command(after_help = "Example:\n  windlass routes forget edge-1")]
    Forget {
        /// Name of the host
        host: HostId,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass wait                                 until the coordinator answers\n  \
    windlass wait web-1 web-2 --timeout 1m        until these hosts are ready\n\n\
    Exit code 5 if that takes longer than the timeout.")]
pub(crate) struct WaitArgs {
    /// Hosts that are to be connected, with an engine that answers
    #[arg(value_name = "HOST")]
    pub(crate) hosts: Vec<HostId>,
    /// Longest wait
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub(crate) timeout: Span,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass logs web --tail 50\n  \
    windlass logs production/web -f                over restarts and rollouts\n  \
    windlass logs web --since 10m --grep timeout\n  \
    windlass logs web --previous --tail all        before the last restart\n\n\
    Lines of all instances are merged by time. Where lines are missing, that is said in their place, and the command \
    exits with 1.")]
pub(crate) struct LogsArgs {
    /// The service, `web` or `production/web`
    pub(crate) service: String,
    /// Only this instance: its name, its slot or its container
    #[arg(long, value_name = "ID")]
    pub(crate) instance: Option<String>,
    /// Last lines per instance, at most 1000000, or `all` [default: 100; all with --since, --until, --grep, --previous]
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<Tail>,
    /// Follow the service until Ctrl-C, `--until` or its removal
    #[arg(short, long, conflicts_with = "previous")]
    pub(crate) follow: bool,
    /// Only from this moment on: `10m` for ten minutes ago, or `2026-11-22T13:00:00Z`
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Since>,
    /// Only before this moment, written as for --since
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<Since>,
    /// Begin each line with its time
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// Only earlier runs of the containers, before their last restart
    #[arg(long)]
    pub(crate) previous: bool,
    /// Only instances of this release
    #[arg(long, value_name = "rN", value_parser = counter)]
    pub(crate) release: Option<Counter>,
    /// Only lines with this text in them
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
}

/// The number of last lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// So many.
    Last(u32),
    /// All that are kept.
    All,
}

impl std::str::FromStr for Tail {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let lines = text.parse().ok().filter(|lines| *lines <= MAX_LOG_TAIL).map(Self::Last);
        lines.ok_or_else(|| format!("expected a number up to {MAX_LOG_TAIL}, or `all`"))
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass explain web                          the newest rollout of `web`\n  \
    windlass explain 0193ab -o json\n  \
    windlass explain web --recompute              verdicts of its gates\n\n\
    Shows every decision in order, with what it was made from: where slots were placed and why, images, batches and \
    the limits they kept to, failures with exit code, log and probes, who steered, deadlines, and what serves now.")]
pub(crate) struct ExplainArgs {
    /// Rollout: id or id prefix, `web@r6`, or a service (its newest)
    pub(crate) rollout: String,
    /// Compute every verdict of its gates again from what is stored of it; exit code 1 if one differs
    #[arg(long)]
    pub(crate) recompute: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass events --tail 20\n  \
    windlass events -f -o json\n  \
    windlass events --since 1h --kind rollout --service web\n\n\
    Followed events go on over a restart of the coordinator, each once. The coordinator keeps the newest 2000.")]
pub(crate) struct EventsArgs {
    /// Past events to begin with, at most 1000
    #[arg(long, value_name = "COUNT", default_value_t = 100, conflicts_with = "since")]
    pub(crate) tail: u32,
    /// Go on until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only from this moment on: `10m` for ten minutes ago, or `2026-11-22T13:00:00Z`
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Since>,
    /// Only about this service, `web` or `production/web`
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    /// Only about this host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<HostId>,
    /// Only kinds that begin so: `rollout`, `host.lost`
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass top                                  all hosts; ? shows the keys\n  \
    windlass top instances --filter production/web\n  \
    windlass top services --once                  one frame, for scripts\n  \
    windlass top -o json                          the data of one frame")]
pub(crate) struct TopArgs {
    /// First view [default: hosts]
    #[arg(value_enum)]
    pub(crate) view: Option<TopView>,
    /// Only rows that contain TEXT
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// Print one frame
    #[arg(long)]
    pub(crate) once: bool,
    /// Interval of updates
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = often)]
    pub(crate) interval: Span,
}

/// A view of `top`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TopView {
    Hosts,
    Services,
    Rollouts,
    Instances,
    Gpus,
    Events,
    Routes,
    Ingresses,
}

/// An interval that costs the coordinator little.
fn often(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error| format!("{error}"))?;
    let is_fine = (1..=3600).contains(&span.duration().as_secs());
    if is_fine { Ok(span) } else { Err("between 1s and 1h".to_owned()) }
}

/// A moment, as a person says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long ago.
    Ago(Span),
    /// Then.
    At(Timestamp),
}

impl Since {
    /// The moment, seen from `now`.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(span) => now - span.duration(),
            Self::At(at) => at,
        }
    }
}

impl std::str::FromStr for Since {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let ago = text.parse().map(Self::Ago);
        ago.or_else(|_| text.parse().map(Self::At))
            .map_err(|_| "expected so long ago, like `10m`, or a time like `2026-11-22T13:00:00Z`".to_owned())
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass schema > windlass.schema.json\n  \
    windlass schema --results")]
pub(crate) struct SchemaArgs {
    /// Schema of what commands print with `-o json`, instead of manifests
    #[arg(long = "results", id = "outputs")]
    pub(crate) outputs: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass render -f web.yaml -e staging\n  \
    windlass render -f web.yaml --set replicas=3 -o json")]
pub(crate) struct RenderArgs {
    #[command(flatten)]
    pub(crate) manifest: ManifestArgs,
    /// Omit where each value came from
    #[arg(long)]
    pub(crate) plain: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass completions bash > /etc/bash_completion.d/windlass\n  \
    source <(windlass completions zsh)\n\n\
    In bash, zsh and fish, names of services and hosts are completed too: the script asks the context's coordinator, for \
    1 second at most.")]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass man | man -l -\n  \
    windlass man --out /usr/local/share/man/man1   one page for each command")]
pub(crate) struct ManArgs {
    /// Write a page for each command to this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Words of a shell that completes a name: `services`, `hosts`, or `for` and the words of the command line.
#[derive(Debug, Args)]
pub(crate) struct CompleteArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}
