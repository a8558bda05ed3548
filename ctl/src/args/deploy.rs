//! `plan`, `deploy`, `rollout`, `rollback`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use windlass_core::manifest::Setting;
use windlass_core::{Counter, Span};

/// Manifests, and the flags that make releases of them.
#[derive(Debug, Clone, Args)]
pub(crate) struct ManifestArgs {
    /// A manifest, or a folder for every `*.yaml` in it; `-` reads stdin. Repeat it for several, in order
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Manifests or folders, as with `-f`; taken after those of `-f`
    #[arg(value_name = "FILE")]
    pub(crate) manifests: Vec<PathBuf>,
    /// Overrides a value of the manifest, like `image=registry.example.com/web:2`
    #[arg(long = "set", value_name = "[SERVICE:]KEY=VALUE")]
    pub(crate) settings: Vec<Setting>,
    /// Platform of the images
    #[arg(long, value_name = "OS/ARCH", default_value = "linux/amd64")]
    pub(crate) platform: String,
    /// A registry off loopback that may be plain HTTP
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    pub(crate) insecure_registries: Vec<String>,
}

/// Flags of the beginning of a rollout.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct SubmitArgs {
    /// End an active rollout of the same service, and keep its fallback
    #[arg(long)]
    pub(crate) supersede: bool,
    /// Start it although the same content failed before
    #[arg(long)]
    pub(crate) retry_quarantined: bool,
}

/// Flags of following a rollout.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct FollowArgs {
    /// Follow for at most this long (then exit code 5); the rollout goes on
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub(crate) timeout: Span,
    /// Do not follow
    #[arg(long)]
    pub(crate) detach: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass plan web.yaml\n  \
    windlass plan -f web.yaml --save web.plan && windlass deploy --plan web.plan\n\n\
    Exit codes: 0 nothing to change, 10 changes, 1 it cannot be done.")]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) manifest: ManifestArgs,
    /// Plan as if content that failed before may start
    #[arg(long)]
    pub(crate) retry_quarantined: bool,
    /// Keep the plan, so that `deploy --plan` does exactly this
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass deploy web.yaml --timeout 2m\n  \
    windlass deploy -f services/                  every *.yaml of it, in order\n  \
    windlass deploy -f web.yaml --set image=registry.example.com/web:2\n  \
    windlass deploy -f web.yaml --supersede\n  \
    windlass deploy --plan web.plan\n\n\
    Exit codes: 0 done or nothing to change, 1 failed before anything changed (services that come before stay \
    deployed), 3 rolled back or aborted, 4 paused or failed, 5 timeout (the rollout goes on), 6 superseded.")]
pub(crate) struct DeployArgs {
    #[command(flatten)]
    pub(crate) manifest: ManifestArgs,
    /// Apply a plan that `plan --save` wrote, only if it is still what would happen
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "manifests", "settings", "releases"])]
    pub(crate) plan: Option<PathBuf>,
    /// Submit a release that `release sign` wrote
    #[arg(long = "release", value_name = "FILE", conflicts_with_all = ["files", "manifests", "settings"])]
    pub(crate) releases: Vec<PathBuf>,
    /// Sign with this key instead of the context's; repeat it for several
    #[arg(long = "key", env = "WINDLASS_RELEASE_KEY", value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) submit: SubmitArgs,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
    /// Only show what would happen, as `plan`
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass rollback web\n  \
    windlass rollback production/web --to r5\n  \
    windlass rollback web@r5\n\n\
    Goes to the good release that served last before the current one and that nobody rolled back from: the next rollback \
    goes one release further back. `--to` names any good release, also one that was rolled back from; \
    `windlass release ls` shows them. Skips batches and soak, and supersedes a rollout that is active. If the release has \
    no `route` for a name that is served now, it asks on a terminal (--yes answers), and warns a script.")]
pub(crate) struct RollbackArgs {
    /// The service, `web` or `production/web`; `web@r5` for a release of it
    pub(crate) service: String,
    /// To this release
    #[arg(long, value_name = "rN", value_parser = counter)]
    pub(crate) to: Option<Counter>,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

/// Reads the number of a release.
pub(super) fn counter(text: &str) -> Result<Counter, String> {
    text.parse().map_err(|_| format!("`{text}` is not a release: write it like `r7`"))
}

#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Rollouts, the newest first
    #[command(after_help = "Example:\n  windlass rollout ls web")]
    Ls {
        /// Only of this service
        service: Option<String>,
    },
    /// One rollout, with the evidence of what failed
    #[command(
        after_help = "Examples:\n  windlass rollout show 0193ab\n  windlass rollout show web\n  windlass rollout show web@r6"
    )]
    Show {
        /// Rollout: id or id prefix, `web@r6`, or a service (its newest)
        rollout: String,
    },
    /// Follow a rollout until it ends or pauses
    #[command(after_help = "Example:\n  windlass rollout watch web --timeout 5m")]
    Watch {
        /// Rollout: id or id prefix, `web@r6`, or a service (its newest)
        rollout: String,
        /// Follow for at most this long (then exit code 5); the rollout goes on
        #[arg(long, value_name = "DURATION", default_value = "1h")]
        timeout: Span,
    },
    /// Pause a rollout
    #[command(after_help = "Example:\n  windlass rollout pause web")]
    Pause {
        /// Rollout: id or id prefix, `web@r6`, or a service (its newest)
        rollout: String,
    },
    /// Resume a rollout
    #[command(after_help = "Example:\n  windlass rollout resume web")]
    Resume {
        /// Rollout: id or id prefix, `web@r6`, or a service (its newest)
        rollout: String,
    },
    /// Approve the current step (not by the operator who deployed)
    #[command(
        after_help = "Where the manifest says `approve: true`, the rollout waits until another operator has approved. The \
                      approval names rollout, release and step, counts for 24 hours, and stands in the audit log. Gates \
                      and times still count.\n\n\
                      Examples:\n  windlass rollout approve web\n  windlass rollout approve web --step 2 --yes"
    )]
    Approve {
        /// Rollout: id or id prefix, `web@r6`, or a service (its newest)
        rollout: String,
        /// Refuse unless the rollout is at this step
        #[arg(long, value_name = "N")]
        step: Option<u32>,
    },
    /// Move traffic to the next step now
    #[command(
        after_help = "A rollout that moves traffic in steps (`strategy.blue_green`, `strategy.canary`) takes the next one \
                      without the rest of its time, its gates and its approval; the audit log says so. It never skips a \
                      health check.\n\n\
                      Examples:\n  windlass rollout promote web\n  windlass rollout promote web --full"
    )]
    Promote {
        /// Rollout: id or id prefix, `web@r6`, or a service (its newest)
        rollout: String,
        /// Next step only (default)
        #[arg(long, conflicts_with = "full", hide = true)]
        step: bool,
        /// All remaining steps at once; without it, the next step only
        #[arg(long)]
        full: bool,
    },
    /// Abort a rollout and roll back
    #[command(after_help = "Example:\n  windlass rollout abort web --yes")]
    Abort {
        /// Rollout: id or id prefix, `web@r6`, or a service (its newest)
        rollout: String,
    },
}
