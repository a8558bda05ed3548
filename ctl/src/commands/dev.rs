//! `dev`: coordinator and agent on this machine, with a fleet under one folder, until Ctrl-C.
//!
//! The two other programs stand beside this one. They run in process groups of their own, so that a Ctrl-C reaches
//! only us, and we stop them in order: the agent, then the coordinator. Containers go on, as always.

mod child;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_core::HostId;
use windlass_process::signals;

use super::init::{self, Wanted};
use crate::args::{DevArgs, InitArgs};
use crate::error::CtlError;
use crate::exit::Exit;
use crate::home::Home;
use crate::printer::Printer;
use crate::session::Session;

use child::Child;

const FLEET: &str = "dev";
const HOST: &str = "dev-1";
/// How long the coordinator may take to answer.
const START: Duration = Duration::from_secs(20);

/// Why there is nothing to try.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevError {
    #[error("`{0}` does not stand beside this program")]
    NoProgram(PathBuf),
    #[error("failed to start `{program}`")]
    Start {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{program}` ended: {status}")]
    Ended { program: String, status: String, log: PathBuf },
    #[error("the coordinator did not answer within {} s", START.as_secs())]
    NoAnswer {
        log: PathBuf,
        #[source]
        source: Box<CtlError>,
    },
    #[error("failed to make `{path}`")]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl DevError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoProgram(_) => {
                Some("install `windlass-server` and `windlass-agent` in the same folder".to_owned())
            }
            Self::Ended { log, .. } | Self::NoAnswer { log, .. } => {
                Some(format!("its last words are in {}", log.display()))
            }
            Self::Start { .. } | Self::Folder { .. } => None,
        }
    }
}

pub(super) async fn run(args: &DevArgs, printer: &Printer) -> Result<Exit, CtlError> {
    let is_temporary = args.dir.is_none();
    let dir = args
        .dir
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("windlass-dev-{}", std::process::id())));
    let dir = std::path::absolute(&dir).map_err(|source| DevError::Folder { path: dir, source })?;
    let home = Home::at(dir.join("home"));
    if !home.config()?.contexts.contains_key(FLEET) {
        make(&home, &dir, args)?;
    }
    let outcome = Box::pin(supervise(&home, &dir, args, printer)).await;
    if is_temporary && outcome.is_ok() {
        drop(std::fs::remove_dir_all(&dir));
    }
    outcome
}

fn make(home: &Home, dir: &Path, args: &DevArgs) -> Result<(), CtlError> {
    let init = InitArgs {
        fleet: FLEET.parse()?,
        server_dir: dir.join("server"),
        operator: None,
        insecure_registries: Vec::new(),
        lifetimes: Vec::new(),
    };
    let server = format!("127.0.0.1:{}", args.port);
    let wanted = Wanted { args: &init, server, context: FLEET.to_owned(), environment: None };
    init::make(home, &wanted).map(drop)
}

async fn supervise(home: &Home, dir: &Path, args: &DevArgs, printer: &Printer) -> Result<Exit, CtlError> {
    let (_, config) = home.config()?.context(Some(FLEET), home.path())?;
    let http = format!("127.0.0.1:{}", args.http_port);
    let server_dir = dir.join("server");
    let mut server = Child::start("windlass-server", dir, |command| {
        command.arg("--data").arg(&server_dir).args(["--listen", &config.server, "--http", &http]);
    })?;
    let session = answering(home, &config, &mut server).await?;
    let agent_dir = dir.join("agent");
    let policy = dir.join("policy.toml");
    // Written once joining has worked: a run that was cut off in between joins again.
    let joined = dir.join("joined");
    if !joined.exists() {
        let host: HostId = HOST.parse()?;
        let (token, _) = session.client().host_token(&host, Default::default()).await?;
        Child::start("windlass-agent", dir, |command| {
            command.args(["join", "--server", &config.server, "--token", &token, "--address", "127.0.0.1"]);
            command.arg("--data").arg(&agent_dir).arg("--policy").arg(&policy);
            args.registries.iter().for_each(|registry| {
                command.args(["--registry", registry]);
            });
        })?
        .finish()
        .await?;
        let failed = |source| DevError::Folder { path: joined.clone(), source };
        std::fs::write(&joined, HOST).map_err(failed)?;
    }
    let mut agent = Child::start("windlass-agent", dir, |command| {
        command.arg("run").arg("--data").arg(&agent_dir).args(["--engine", &args.engine]);
        command.arg("--policy").arg(&policy);
    })?;
    printer.text(&welcome(home, &http, dir));
    let ended = tokio::select! {
        () = signals::shutdown() => Ok(Exit::Done),
        error = server.ended() => Err(error.into()),
        error = agent.ended() => Err(error.into()),
    };
    printer.note("stopping; containers go on");
    agent.stop().await;
    server.stop().await;
    printer.note(&format!(
        "remove them with: docker rm -f $(docker ps -aq --filter label=windlass.fleet={FLEET})"
    ));
    ended
}

/// Waits until the coordinator answers.
async fn answering(
    home: &Home,
    config: &crate::home::ContextConfig,
    server: &mut Child,
) -> Result<Session, CtlError> {
    let deadline = Instant::now() + START;
    let fleet = home.fleet(&config.fleet);
    loop {
        match Box::pin(Session::open(&fleet, config)).await {
            Ok(session) => return Ok(session),
            Err(error) if Instant::now() > deadline => {
                let source = Box::new(CtlError::from(error));
                return Err(DevError::NoAnswer { log: server.log().to_owned(), source }.into());
            }
            Err(error) => tracing::debug!(error = windlass_process::report::chain(&error), "not yet"),
        }
        tokio::select! {
            error = server.ended() => return Err(error.into()),
            () = sleep(Duration::from_millis(100)) => {}
        }
    }
}

fn welcome(home: &Home, http: &str, dir: &Path) -> String {
    format!(
        "A fleet of one host runs, under {}.\n\n  \
         export WINDLASS_HOME={}\n  \
         windlass host ls\n  \
         windlass deploy -f web.yaml\n  \
         windlass status\n\n\
         Dashboard: http://{http}/\n\
         Logs: {}/*.log\n\
         Ctrl-C stops coordinator and agent.",
        dir.display(),
        home.path().display(),
        dir.display()
    )
}
