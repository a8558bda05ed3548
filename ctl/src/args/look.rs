//! `status`, `logs`, `events`, `schema`, `render`, `completions`.

use clap::Args;
use clap_complete::Shell;

use super::ManifestArgs;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  windlass status\n  windlass status web -o json")]
pub(crate) struct StatusArgs {
    /// The service, `web` or `production/web`; all of them if absent
    pub(crate) service: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  windlass logs web --tail 50\n  windlass logs production/web -f")]
pub(crate) struct LogsArgs {
    /// The service, `web` or `production/web`
    pub(crate) service: String,
    /// Only this instance
    #[arg(long, value_name = "ID", default_value = "")]
    pub(crate) instance: String,
    /// Last lines per instance
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    pub(crate) tail: u32,
    /// Go on until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  windlass events --tail 20\n  windlass events -f -o json")]
pub(crate) struct EventsArgs {
    /// Past events to begin with, at most 1000
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) tail: u32,
    /// Go on until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass schema > windlass.schema.json\n  \
    windlass schema --output")]
pub(crate) struct SchemaArgs {
    /// Of what commands print with `-o json`, instead of manifests
    #[arg(long = "output", id = "outputs")]
    pub(crate) outputs: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass render -f web.yaml -e staging\n  \
    windlass render -f web.yaml --set replicas=3 -o json")]
pub(crate) struct RenderArgs {
    #[command(flatten)]
    pub(crate) manifest: ManifestArgs,
    /// Without where each value came from
    #[arg(long)]
    pub(crate) plain: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    windlass completions bash > /etc/bash_completion.d/windlass\n  \
    source <(windlass completions zsh)")]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}
