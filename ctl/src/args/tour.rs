//! `ps`, `quarantine`, `audit ls`, `version`, `import`: lists and small commands.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use windlass_core::{HostId, Span};

use super::look::Since;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  windlass ps\n  windlass ps web\n  windlass ps --host web-1 -o json")]
pub(crate) struct PsArgs {
    /// Only of these services, `web` or `production/web`
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Only on this host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<HostId>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// Contents of releases that failed; hosts do not start them again by themselves
    #[command(after_help = "Example:\n  windlass quarantine ls web")]
    Ls {
        /// Only of this service
        service: Option<String>,
    },
    /// Let content that failed start again with its next deploy
    #[command(after_help = "Examples:\n  \
        windlass quarantine clear web          all of the service\n  \
        windlass quarantine clear web@r6       the content of one release\n\n\
        Starts nothing by itself. What it clears may start again with its next deploy, as with --retry-quarantined.")]
    Clear {
        /// The service, or `web@r6` for the content of one release
        service: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass audit ls\n  \
    windlass audit ls --since 1d --actor operator/alice\n  \
    windlass audit ls --from 0 --limit 1000 -o json     the first page\n\n\
    Each page says where the next one begins. Shows entries as the coordinator sends them; `windlass audit verify` checks them.")]
pub(crate) struct AuditLsArgs {
    /// So many entries at most: the newest, or with --from the first ones
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// From this entry on
    #[arg(long, value_name = "N")]
    pub(crate) from: Option<u64>,
    /// Only from this moment on: `10m` for ten minutes ago, or `2026-11-22T13:00:00Z`
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Since>,
    /// Only by this actor, like `operator/alice` or `alice`
    #[arg(long, value_name = "ACTOR")]
    pub(crate) actor: Option<String>,
    /// Only verbs that begin so: `release`, `host.join`
    #[arg(long, value_name = "VERB")]
    pub(crate) verb: Option<String>,
    /// Only subjects that contain TEXT, like `web`
    #[arg(long, value_name = "TEXT")]
    pub(crate) subject: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  windlass version\n  windlass version --client\n  windlass version -o json"
)]
pub(crate) struct VersionArgs {
    /// Of this program only
    #[arg(long)]
    pub(crate) client: bool,
    /// Longest wait for the coordinator
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub(crate) timeout: Span,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// A manifest per service of a compose file
    #[command(after_help = "Examples:\n  \
        windlass import compose docker-compose.yml > services.yaml\n  \
        windlass import compose compose.yaml --out services/\n  windlass plan services/\n\n\
        Says on stderr, key by key, what a manifest cannot carry over, and what to do about it. Services come in the order \
        of `depends_on`. `${NAME:-value}` becomes the value; nothing is read from the environment or from `.env`.\n\n\
        Exit codes: 0 manifests were written, 1 none could be made.")]
    Compose {
        /// The compose file; `-` reads stdin
        file: PathBuf,
        /// Write DIR/SERVICE.yaml instead of stdout; a file that is there already is not touched
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}
