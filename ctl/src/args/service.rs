//! `scale`, `stop`, `rm`: what changes a service without a new release.

use clap::Args;
use windlass_core::Span;

use super::FollowArgs;

/// Flags of following a change.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct AttendArgs {
    /// Follow for at most this long (then exit code 5); the coordinator goes on
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub(crate) timeout: Span,
    /// Do not follow
    #[arg(long)]
    pub(crate) detach: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass scale web 5\n  \
    windlass scale production/web 2 --timeout 2m -o json\n\n\
    Only within the range that the release was signed with (`replicas: { min: 2, max: 10 }`); anything else is a new \
    release. With fewer, instances that do not serve go first, then the newest. Starts a stopped service. Refused while a \
    rollout moves the service.\n\n\
    Exit codes: 0 done or nothing to change, 1 refused, 5 timeout, 6 somebody else changed it meanwhile.")]
pub(crate) struct ScaleArgs {
    /// The service, `web` or `production/web`
    pub(crate) service: String,
    /// Number of instances
    #[arg(value_parser = replicas)]
    pub(crate) replicas: u32,
    #[command(flatten)]
    pub(crate) attend: AttendArgs,
}

fn replicas(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number of instances"))
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass restart web\n  \
    windlass restart production/web --timeout 5m -o json\n\n\
    Starts new instances of the service's current release in place of the old ones, in batches and with the limits of its \
    strategy. The restart is a rollout: `windlass rollout` shows and steers it. If a new instance does not come up, its \
    slot keeps the old one, and the restart stops there and says why. A stopped service is started.\n\n\
    Exit codes: 0 done, 1 refused, 3 aborted, 4 paused or failed, 5 timeout (it goes on), 6 superseded.")]
pub(crate) struct RestartArgs {
    /// The service, `web` or `production/web`
    pub(crate) service: String,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass stop web\n  \
    windlass stop web --supersede\n\n\
    Stops every instance, and keeps its slots, ports, volumes and images: over reboots, and until somebody deploys, rolls \
    back, restarts or scales the service. Refused while a rollout moves the service, unless with --supersede; and \
    while requests are routed to it (`route`) or another service calls it (`uses`), unless with --force.\n\n\
    Exit codes: 0 done or nothing to change, 1 refused, 5 timeout, 6 somebody else started it meanwhile.")]
pub(crate) struct StopArgs {
    /// The service, `web` or `production/web`
    pub(crate) service: String,
    /// End an active rollout where it is
    #[arg(long)]
    pub(crate) supersede: bool,
    /// Even if requests are routed to it, or another service calls it; they will fail
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) attend: AttendArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass rm web\n  \
    windlass rm web worker staging/cache\n  \
    windlass rm staging/web --yes --timeout 1m\n\n\
    Removes its containers from every host; a host that is away does so when it returns. Named volumes stay, and are \
    named at the end. The service's numbers are never used again: a later deploy gets the next one. Refused while a \
    rollout moves the service, unless with --supersede; and while requests are routed to it (`route`) or another service calls it (`uses`), unless with --force.\n\n\
    Exit codes: 0 done or nothing to change, 1 refused, 5 timeout, 6 somebody else deployed it meanwhile.")]
pub(crate) struct RmArgs {
    /// The services, `web` or `production/web`
    #[arg(required = true, value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// End an active rollout where it is
    #[arg(long)]
    pub(crate) supersede: bool,
    /// Even if requests are routed to it, or another service calls it; they will fail
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) attend: AttendArgs,
}
