//! The command line, as clap reads it. Only shapes and help texts; what they do stands in `commands`.

mod deploy;
mod fleet;
mod look;
mod operator;
mod service;
mod tour;
mod trust;

use clap::{Args, Parser, Subcommand};
use windlass_core::EnvironmentId;

use crate::printer::Format;

pub(crate) use deploy::{
    DeployArgs, FollowArgs, ManifestArgs, PlanArgs, RollbackArgs, RolloutCommand, SubmitArgs,
};
pub(crate) use fleet::{
    ContextCommand, DEV_REGISTRIES, DevArgs, DevCommand, HostCommand, InitArgs, Label, LabelArgs,
};
pub(crate) use look::{
    CompleteArgs, CompletionsArgs, EventsArgs, ExplainArgs, LogsArgs, ManArgs, RenderArgs, RoutesArgs,
    RoutesCommand, SchemaArgs, StatusArgs, Tail, TopArgs, TopView, WaitArgs,
};
pub(crate) use operator::{OperatorCommand, OperatorJoinArgs};
pub(crate) use service::{AttendArgs, RestartArgs, RmArgs, ScaleArgs, StopArgs};
pub(crate) use tour::{AuditLsArgs, ImportCommand, PsArgs, QuarantineCommand, VersionArgs};
pub(crate) use trust::{
    AcceptArgs, AuditCommand, ChangeArgs, ReleaseCommand, RevokeArgs, SignArgs, TrustCommand,
};

/// Deploy signed releases to hosts, and roll them back safely.
#[derive(Debug, Parser)]
#[command(
    name = "windlass",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Examples:\n  \
        windlass dev                                  try it on this machine\n  \
        windlass deploy web.yaml --timeout 2m         deploy, and follow it\n  \
        windlass status                               what runs where\n  \
        windlass rollback web                         back to the last good release\n\n\
        Exit codes: 0 done, 1 refused, 2 usage, 3 rolled back or aborted, 4 paused or failed, 5 timeout, \
        6 superseded; `plan`: 10 changes."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Global {
    /// The context: which fleet, and as whom
    #[arg(long, global = true, env = "WINDLASS_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The coordinator, instead of the context's
    #[arg(long, global = true, env = "WINDLASS_SERVER", value_name = "HOST:PORT", value_parser = server)]
    pub(crate) server: Option<String>,
    /// The environment. For a manifest: the context's, else `default`; for a named service: the only one that has it
    #[arg(short, long = "env", global = true, env = "WINDLASS_ENV", value_name = "NAME")]
    pub(crate) environment: Option<EnvironmentId>,
    /// Output format
    #[arg(
        short = 'o',
        long = "output",
        alias = "format",
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub(crate) output: Format,
    /// Answer yes to every question
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
    /// More log on stderr (-vv: all)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log lines on stderr, like `debug` or `warn,windlass_ctl=debug`
    #[arg(long, global = true, env = "WINDLASS_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a fleet: keys, trust document, CA, operator certificate, context
    Init(InitArgs),
    /// Try it: coordinator and agent on this machine, with a throw-away fleet
    Dev(DevArgs),
    /// Manage contexts: which fleet, and as whom
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Examples:\n  windlass context ls\n  windlass context use prod\n  windlass context rename demo staging"
    )]
    Context(ContextCommand),
    /// Hosts: join, look, take out of service
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Examples:\n  windlass host token web-1 --label role=app\n  windlass host ls\n  windlass host drain web-1"
    )]
    Host(HostCommand),
    /// Show what a deploy would do
    Plan(PlanArgs),
    /// Sign a release, submit it, follow it until it is done
    Deploy(Box<DeployArgs>),
    /// Look at and steer one rollout
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Examples:\n  windlass rollout ls\n  windlass rollout watch web\n  windlass rollout abort web"
    )]
    Rollout(RolloutCommand),
    /// Go back to an older release
    Rollback(RollbackArgs),
    /// Run more or fewer instances, within what was signed
    Scale(ScaleArgs),
    /// Replace the instances of a service, a few at a time
    Restart(RestartArgs),
    /// Stop every instance, and keep everything for its return
    Stop(StopArgs),
    /// Remove services from every host
    Rm(RmArgs),
    /// List or clear quarantined releases
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Examples:\n  windlass quarantine ls\n  windlass quarantine clear web"
    )]
    Quarantine(QuarantineCommand),
    /// Show what runs where, at which release, and its health
    #[command(visible_alias = "ls")]
    Status(StatusArgs),
    /// Instances of all services, one per line
    Ps(PsArgs),
    /// Show routes and the ingresses that have them
    Routes(RoutesArgs),
    /// Wait until the coordinator answers, and hosts are ready
    Wait(WaitArgs),
    /// Show the decisions of a rollout and their inputs
    Explain(ExplainArgs),
    /// Releases as documents
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Examples:\n  windlass release ls web\n  windlass release diff web r6 r7\n  windlass release verify web.release.json"
    )]
    Release(ReleaseCommand),
    /// Show the logs of a service
    Logs(LogsArgs),
    /// Show the events of the fleet
    Events(EventsArgs),
    /// Hosts, services, rollouts, instances and GPUs in this terminal, as they are now
    Top(TopArgs),
    /// The trust document: who may do what
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Examples:\n  windlass trust show\n  windlass trust add-key ed25519:Xq3\u{2026} --scope staging\n  windlass trust remove-key 5f2a81c09d3e"
    )]
    Trust(TrustCommand),
    /// Operators: let in, look, take out
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Examples:\n  windlass operator invite bob --role deployer -e staging\n  windlass operator join \"$TOKEN\"\n  windlass operator ls\n  windlass operator revoke bob"
    )]
    Operator(OperatorCommand),
    /// The audit log: what was done
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Examples:\n  windlass audit ls\n  windlass audit verify"
    )]
    Audit(AuditCommand),
    /// Manifests from the files of other systems
    #[command(
        subcommand,
        arg_required_else_help = true,
        after_help = "Example:\n  windlass import compose docker-compose.yml > services.yaml"
    )]
    Import(ImportCommand),
    /// JSON Schema of manifests, or of what commands print
    Schema(SchemaArgs),
    /// The finished manifest, and where each value came from
    Render(RenderArgs),
    /// Completions for a shell
    #[command(alias = "completion")]
    Completions(CompletionsArgs),
    /// Manual pages
    Man(ManArgs),
    /// Print names for a shell that completes them
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),
    /// Versions of this program and of the coordinator
    Version(VersionArgs),
}

/// The address of a coordinator. An empty one is one that a script left out, and named where it is needed.
pub(crate) fn server(text: &str) -> Result<String, String> {
    if text.is_empty() || windlass_certs::join::is_address(text) {
        return Ok(text.to_owned());
    }
    let plain = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
    let like = [plain.to_owned(), format!("{plain}:7443")];
    let like = like.into_iter().find(|text| windlass_certs::join::is_address(text));
    let like = like.map_or_else(String::new, |like| format!(", like `{like}`"));
    Err(format!("write it HOST:PORT{like}"))
}

/// The log filter for so many `-v`.
pub(crate) const fn log_filter(verbose: u8) -> &'static str {
    match verbose {
        0 => "error",
        1 => "warn,windlass_ctl=debug,windlass_certs=debug",
        _ => "debug",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn old_spellings_still_parse() {
        for line in ["status --format json", "rollout promote web --step", "--format=yaml host ls"] {
            let words = std::iter::once("windlass").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_filter_of_the_log_stands_before_and_behind() {
        for line in ["--log debug status", "status --log debug"] {
            let words = std::iter::once("windlass").chain(line.split(' '));
            assert_eq!(Cli::try_parse_from(words).unwrap().global.log.as_deref(), Some("debug"), "{line}");
        }
    }

    /// Every help is wrapped once, at the width of the terminal.
    #[test]
    fn help_is_wrapped_once() {
        fn check(command: &clap::Command, path: &str) {
            for width in [80, 100] {
                let text = command.clone().term_width(width).render_long_help().to_string();
                let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > width).collect();
                assert!(long.is_empty(), "{path} at {width}: {long:?}");
            }
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> = after.lines().collect();
            for (n, line) in lines.iter().enumerate() {
                let (is_prose, follows) = (!line.starts_with(' '), n > 0 && !lines[n - 1].is_empty());
                assert!(
                    is_prose || line.chars().count() <= 78,
                    "{path}: example of more than 78 columns: {line}"
                );
                assert!(!is_prose || line.is_empty() || !follows, "{path}: a break in a paragraph: {line}");
            }
            for sub in command.get_subcommands() {
                check(sub, &format!("{path} {}", sub.get_name()));
            }
        }
        let mut command = <Cli as clap::CommandFactory>::command();
        command.build();
        check(&command, "windlass");
    }
}
