//! One module per command: arguments and context in, an exit code or an error out. `files` has the
//! documents on disk.

mod audit;
mod complete;
mod context;
mod deploy;
mod dev;
mod drain;
mod events;
mod explain;
mod files;
mod host;
mod import;
mod init;
mod logs;
mod near;
mod operator;
mod plan;
mod ps;
mod quarantine;
mod recover;
mod release;
mod rollback;
mod rollout;
mod routes;
mod service;
mod status;
mod tools;
mod top;
mod trust;
mod version;
mod wait;

use crate::args::{Cli, Command};
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;

pub(crate) use audit::AuditEntryView;
pub(crate) use context::ContextView;
pub(crate) use ps::PsView;
pub(crate) use rollout::steer_rollout;

/// Runs the command of the command line. An error about a name that the fleet does not have names the nearest one.
pub(crate) async fn run(cli: Cli, printer: &Printer) -> Result<Exit, CtlError> {
    let global = cli.global.clone();
    match Box::pin(dispatch(cli, printer)).await {
        Ok(exit) => Ok(exit),
        Err(error) => Err(Box::pin(near::suggested(error, &global)).await),
    }
}

async fn dispatch(cli: Cli, printer: &Printer) -> Result<Exit, CtlError> {
    let global = cli.global;
    match cli.command {
        Command::Init(args) => init::run(&args, &global, printer),
        Command::Dev(args) => Box::pin(dev::run(&args, printer)).await,
        Command::Context(command) => context::run(&command, &global, printer),
        Command::Host(command) => host::run(command, &global, printer).await,
        Command::Plan(args) => Box::pin(plan::run(&args, &global, printer)).await,
        Command::Deploy(args) => Box::pin(deploy::run(&args, &global, printer)).await,
        Command::Rollout(command) => Box::pin(rollout::run(command, &global, printer)).await,
        Command::Rollback(args) => Box::pin(rollback::run(&args, &global, printer)).await,
        Command::Scale(args) => Box::pin(service::scale(&args, &global, printer)).await,
        Command::Restart(args) => Box::pin(service::restart(&args, &global, printer)).await,
        Command::Stop(args) => Box::pin(service::stop(&args, &global, printer)).await,
        Command::Rm(args) => Box::pin(service::rm(&args, &global, printer)).await,
        Command::Quarantine(command) => quarantine::run(command, &global, printer).await,
        Command::Ps(args) => ps::run(&args, &global, printer).await,
        Command::Version(args) => Box::pin(version::run(&args, &global, printer)).await,
        Command::Explain(args) => explain::run(&args, &global, printer).await,
        Command::Status(args) => status::run(&args, &global, printer).await,
        Command::Routes(args) => routes::run(&args, &global, printer).await,
        Command::Wait(args) => Box::pin(wait::run(&args, &global, printer)).await,
        Command::Release(command) => Box::pin(release::run(command, &global, printer)).await,
        Command::Logs(args) => logs::run(&args, &global, printer).await,
        Command::Top(args) => Box::pin(top::run(&args, &global, printer)).await,
        Command::Events(args) => events::run(&args, &global, printer).await,
        Command::Trust(command) => trust::run(command, &global, printer).await,
        Command::Operator(command) => Box::pin(operator::run(command, &global, printer)).await,
        Command::Audit(command) => audit::run(command, &global, printer).await,
        Command::Import(command) => import::run(&command, printer),
        Command::Schema(args) => Ok(tools::schema(&args, printer)),
        Command::Man(args) => tools::man(&args, printer),
        Command::Complete(args) => Ok(Box::pin(complete::names(&args, &global, printer)).await),
        Command::Render(args) => tools::render(&args, &global, printer),
        Command::Completions(args) => complete::completions(&args, printer),
    }
}
