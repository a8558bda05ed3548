//! `init`, `dev`, `context`, `host`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use windlass_core::{FleetId, HostId, OperatorName, Span};

use super::AttendArgs;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass init --fleet demo --server 127.0.0.1:7443 --server-dir ./server\n  \
    windlass init --fleet prod --server windlass.example.com:7443 \\\n      \
    --server-dir ./server --operator alice\n\n\
    Works offline. The server folder gets what the coordinator needs, and never a root, release or revoke key: copy it \
    to the coordinator's machine and start `windlass-server --data DIR`. `--server` is where agents and operators \
    reach it.")]
pub(crate) struct InitArgs {
    /// Name of the fleet
    #[arg(long, value_name = "NAME")]
    pub(crate) fleet: FleetId,
    /// Folder to make for the coordinator
    #[arg(long, value_name = "DIR")]
    pub(crate) server_dir: PathBuf,
    /// Your name, in the operator certificate [default: the login name]
    #[arg(long, value_name = "NAME")]
    pub(crate) operator: Option<OperatorName>,
    /// A registry off loopback that may be plain HTTP
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    pub(crate) insecure_registries: Vec<String>,
    /// Lifetime of certificates [default: operator=8h agent=24h coordinator=24h]
    #[arg(long = "lifetime", value_name = "ROLE=DURATION")]
    pub(crate) lifetimes: Vec<Lifetime>,
}

/// `agent=24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// `operator`, `agent` or `coordinator`.
    pub(crate) role: &'static str,
    /// The lifetime.
    pub(crate) span: Span,
}

impl FromStr for Lifetime {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (role, span) = text.split_once('=').ok_or("expected `role=duration`, like `agent=24h`")?;
        let role = ["operator", "agent", "coordinator"]
            .into_iter()
            .find(|known| *known == role)
            .ok_or("the role is `operator`, `agent` or `coordinator`")?;
        let span: Span = span.parse().map_err(|error| format!("{error}"))?;
        if span.duration().as_secs() < 2 { Err("at least 2s".to_owned()) } else { Ok(Self { role, span }) }
    }
}

/// The registries of a fleet of `dev` that names none.
pub(crate) const DEV_REGISTRIES: [&str; 3] = ["docker.io", "127.0.0.1:5000", "localhost:5000"];

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass dev\n  \
    windlass dev --dir ./try --engine unix:///run/user/1000/docker.sock\n  \
    windlass dev restart          in another terminal, for a changed policy.toml\n\n\
    Needs `windlass-server` and `windlass-agent` beside this program, and an engine that answers. Ctrl-C removes the \
    containers that were deployed and stops both; named volumes stay. With --keep the containers go on.")]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DevArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DevCommand>,
    /// Folder of the fleet; kept, and used again if it is there [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The engine that the agent uses
    #[arg(long, value_name = "URL", default_value = "unix:///var/run/docker.sock")]
    pub(crate) engine: String,
    /// Registries that images may come from
    #[arg(long = "registry", value_name = "HOST[:PORT]", default_values = DEV_REGISTRIES)]
    pub(crate) registries: Vec<String>,
    /// A registry off loopback that may be plain HTTP; images may come from it too
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    pub(crate) insecure_registries: Vec<String>,
    /// Port of the coordinator
    #[arg(long, default_value_t = 7443)]
    pub(crate) port: u16,
    /// Port of its metrics
    #[arg(long, default_value_t = 7480)]
    pub(crate) http_port: u16,
    /// Keep containers and folder at the end, and print how to go on
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DevCommand {
    /// Start the agent of a `dev` that runs again, so that it reads its policy anew; containers run on
    #[command(after_help = "Example:\n  windlass dev restart")]
    Restart {
        /// Folder of the fleet [default: that of WINDLASS_HOME]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// All contexts; the current one has a `*`
    #[command(after_help = "Example:\n  windlass context ls -o json")]
    Ls,
    /// Make a context the current one
    #[command(after_help = "Example:\n  windlass context use prod")]
    Use {
        /// Context name
        name: String,
    },
    /// Make a context for a fleet whose keys are in the home folder, for example after `context rm`
    #[command(
        after_help = "Example:\n  windlass context add prod --fleet prod --server deploy.example.com:7443"
    )]
    Add {
        /// Context name
        name: String,
        /// Fleet whose folder is in the home folder
        #[arg(long, value_name = "NAME")]
        fleet: FleetId,
    },
    /// Give a context another name
    #[command(after_help = "Example:\n  windlass context rename demo staging")]
    Rename {
        /// Context name
        from: String,
        /// New name
        to: String,
    },
    /// Forget a context; the keys of its fleet stay
    #[command(after_help = "Example:\n  windlass context rm demo")]
    Rm {
        /// Context name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Make a token with which a host joins, once and within ten minutes; a newer one for the same host replaces it
    #[command(after_help = "Example:\n  \
        TOKEN=$(windlass host token web-1 --label role=app)\n  \
        windlass-agent join --server 127.0.0.1:7443 --token \"$TOKEN\" \\\n      \
        --data ./agent-1 --address 127.0.0.1 \\\n      \
        --registry 127.0.0.1:5000 --policy ./policy.toml")]
    Token {
        /// Host name
        host: HostId,
        /// A label of the host until it joins again; may be repeated
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<Label>,
    },
    /// All hosts
    #[command(after_help = "Example:\n  windlass host ls -o json")]
    Ls,
    /// One host
    #[command(after_help = "Example:\n  windlass host show web-1")]
    Show {
        /// Host name
        host: HostId,
    },
    /// Labels of a host, and how to change them
    Label(LabelArgs),
    /// Mark host unschedulable, and move the slots it has
    #[command(after_help = "Examples:\n  \
        windlass host drain web-1\n  \
        windlass host drain web-1 --timeout 30m -o json\n\n\
        Each slot starts on another host before it stops here, at most `max_surge` slots of a service at a time. Slots of an \
        exclusive service, or of one with `max_surge: 0`, stop here first, at most `max_unavailable` at a time. A slot \
        with a named volume stays; a slot of a service with one per host only stops. `windlass host uncordon` is the way back.\n\n\
        Exit codes: 0 the host is empty, 1 refused, 4 only slots that cannot leave are left, 5 timeout (it goes on), 6 \
        somebody uncordoned it.")]
    Drain {
        /// Host name
        host: HostId,
        #[command(flatten)]
        attend: AttendArgs,
    },
    /// Mark host unschedulable
    #[command(after_help = "Example:\n  windlass host cordon web-1")]
    Cordon {
        /// Host name
        host: HostId,
    },
    /// Make host schedulable again
    #[command(after_help = "Example:\n  windlass host uncordon web-1")]
    Uncordon {
        /// Host name
        host: HostId,
    },
    /// After a backup was restored: show what hosts hold and the store does not, take it over, and go on
    #[command(after_help = "Examples:\n  \
        windlass host recover --look\n  \
        windlass host recover --yes\n  \
        windlass host recover --keep-store web-3\n\n\
        Workloads keep running whatever you answer. Each host has shown the newest plan that this \
        coordinator signed for it, and the releases in it, which operators signed; those are adopted, so that \
        nothing is restarted. `--keep-store` gives a host what the backup says instead, which may restart things. \
        A host that has not reported yet waits when it connects: run this once more then.")]
    Recover {
        /// Give this host what the store says, and discard what the host holds
        #[arg(long, value_name = "HOST")]
        keep_store: Vec<HostId>,
        /// Show only, change nothing
        #[arg(long)]
        look: bool,
    },
    /// Revoke the host's certificate; it may join again
    #[command(after_help = "Example:\n  windlass host evict web-1 --yes")]
    Evict {
        /// Host name
        host: HostId,
    },
    /// Revoke the host's certificate; its name may never join again
    #[command(after_help = "Example:\n  windlass host ban web-1 --yes")]
    Ban {
        /// Host name
        host: HostId,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass host label web-1\n  \
    windlass host label web-1 role=db              how to get there\n\n\
    A host has the labels of the token that it joined with, so that a coordinator cannot give it others. To change them \
    the host joins again, with a new token: this command prints the steps. Nothing that runs there restarts.")]
pub(crate) struct LabelArgs {
    /// Host name
    pub(crate) host: HostId,
    /// Labels that it is to have
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<Label>,
}

/// `role=app`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// Before the `=`.
    pub(crate) key: String,
    /// After it.
    pub(crate) value: String,
}

impl FromStr for Label {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err("expected `key=value`, like `role=app`"),
        }
    }
}
