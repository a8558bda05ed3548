//! `dev`: coordinator and agent on this machine, with a fleet under one folder, until Ctrl-C.
//!
//! The two other programs stand beside this one. They run in process groups of their own, so that a Ctrl-C reaches
//! only us, and we stop them in order: the agent, then the coordinator. Then the containers of the fleet go, unless they
//! are to be kept: nobody would manage them.

mod child;
mod error;
mod keep;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};
use windlass_core::HostId;
use windlass_process::signals;

use super::init::{self, Wanted};
use super::wait::{answering, readiness};
use crate::args::{DEV_REGISTRIES, DevArgs, DevCommand, InitArgs};
use crate::error::CtlError;
use crate::exit::Exit;
use crate::home::Home;
use crate::printer::Printer;
use crate::session::Session;

use child::Child;
pub(crate) use error::DevError;
use error::START;
use keep::{Callers, kept};

/// Name of the context, and how the fleet's name begins. The rest of it is drawn, so that two of them on one engine have
/// nothing to do with each other.
const DEV: &str = "dev";
const HOST: &str = "dev-1";

/// The deadline of the engine's first sign of life.
const ENGINE: Duration = Duration::from_secs(5);

pub(super) async fn run(args: &DevArgs, printer: &Printer) -> Result<Exit, CtlError> {
    if let Some(DevCommand::Restart { dir }) = &args.command {
        return keep::restart(dir.as_deref(), printer).await;
    }
    let is_temporary = args.dir.is_none();
    let dir = args
        .dir
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("windlass-dev-{}", std::process::id())));
    let dir = std::path::absolute(&dir).map_err(|source| DevError::Folder { path: dir, source })?;
    let home = Home::at(dir.join("home"));
    let is_new = !home.config()?.contexts.contains_key(DEV);
    let server = if is_new {
        format!("127.0.0.1:{}", args.port)
    } else {
        home.config()?.context(Some(DEV), home.path())?.1.server
    };
    free(&server, args, is_new)?;
    // Before anything is made: without an engine nothing can be deployed, and nothing was.
    answers(&args.engine)
        .await
        .map_err(|source| DevError::NoEngine { engine: args.engine.clone(), source })?;
    if is_new {
        make(&home, &dir, server, args)?;
    } else {
        let policy = std::fs::read_to_string(dir.join("policy.toml")).unwrap_or_default();
        if let Some(left_out) = left_out(&policy, &args.registries, &args.insecure_registries) {
            printer.warn(&format!(
                "{left_out}: a registry is taken when the folder is made; name another `--dir`, or add it to {}/policy.toml and to \
                 `insecure_registries` of the context, and start again",
                dir.display()
            ));
        }
    }
    let outcome = Box::pin(supervise(&home, &dir, args, printer)).await;
    if is_temporary && outcome.is_ok() && !args.keep {
        drop(std::fs::remove_dir_all(&dir));
    }
    outcome
}

/// The registries of the command line that the policy of a folder made before does not name. Those that are named by default do not
/// count: the folder may have been made with others.
fn left_out(policy: &str, registries: &[String], insecure: &[String]) -> Option<String> {
    let is_default = |name: &&String| DEV_REGISTRIES.contains(&name.as_str());
    let named = registries.iter().filter(|name| !is_default(name)).chain(insecure);
    let left_out: Vec<&str> =
        named.map(String::as_str).filter(|name| !policy.contains(&format!("\"{name}\""))).collect();
    (!policy.is_empty() && !left_out.is_empty()).then(|| left_out.join(", "))
}

/// Finds out before anything is made whether the ports can be had.
fn free(server: &str, args: &DevArgs, is_new: bool) -> Result<(), DevError> {
    let port = server.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(args.port);
    let other = if is_new {
        "end what has it, or choose another with `--port`".to_owned()
    } else {
        "end what has it, or take another folder with `--dir`: the fleet of this one lives at that port"
            .to_owned()
    };
    let metrics = "end what has it, or choose another with `--http-port`".to_owned();
    for (port, purpose, hint) in [(port, "the coordinator", other), (args.http_port, "its metrics", metrics)]
    {
        TcpListener::bind(("127.0.0.1", port)).map_err(|source| DevError::Port {
            port,
            purpose,
            hint,
            source,
        })?;
    }
    Ok(())
}

/// Finds out whether somebody listens at the engine's address. One of another form is left to the agent.
async fn answers(engine: &str) -> Result<(), std::io::Error> {
    let connected = async {
        if let Some(socket) = engine.strip_prefix("unix://") {
            return UnixStream::connect(socket).await.map(drop);
        }
        match engine.strip_prefix("tcp://").or_else(|| engine.strip_prefix("http://")) {
            Some(address) => TcpStream::connect(address.trim_end_matches('/')).await.map(drop),
            None => Ok(()),
        }
    };
    let late = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {ENGINE:?}"));
    timeout(ENGINE, connected).await.map_err(late)?
}

fn make(home: &Home, dir: &Path, server: String, args: &DevArgs) -> Result<(), CtlError> {
    let drawn = RandomState::new().build_hasher().finish();
    let init = InitArgs {
        fleet: format!("{DEV}-{:06x}", drawn & 0xff_ffff).parse()?,
        server_dir: dir.join("server"),
        operator: None,
        insecure_registries: args.insecure_registries.clone(),
        lifetimes: Vec::new(),
    };
    let wanted = Wanted { args: &init, server, context: DEV.to_owned(), environment: None };
    init::make(home, &wanted).map(drop)
}

async fn supervise(home: &Home, dir: &Path, args: &DevArgs, printer: &Printer) -> Result<Exit, CtlError> {
    let (_, config) = home.config()?.context(Some(DEV), home.path())?;
    let http = format!("127.0.0.1:{}", args.http_port);
    let server_dir = dir.join("server");
    let mut server = Child::start("windlass-server", dir, |command| {
        command.arg("--data").arg(&server_dir).args(["--listen", &config.server, "--http", &http]);
    })?;
    let deadline = Instant::now() + START.duration();
    let fleet = home.fleet(&config.fleet);
    let session = tokio::select! {
        session = answering(&fleet, &config, (deadline, START)) => session?,
        error = server.ended() => return Err(error.into()),
    };
    let agent_dir = dir.join("agent");
    let policy = dir.join("policy.toml");
    // Written once joining has worked: a run that was cut off in between joins again.
    let joined = dir.join("joined");
    let host: HostId = HOST.parse()?;
    if !joined.exists() {
        let (token, _) = session.client().host_token(&host, Default::default()).await?;
        Child::start("windlass-agent", dir, |command| {
            command.args(["join", "--server", &config.server, "--token", &token, "--address", "127.0.0.1"]);
            command.arg("--data").arg(&agent_dir).arg("--policy").arg(&policy);
            for registry in args.registries.iter().chain(&args.insecure_registries) {
                command.args(["--registry", registry]);
            }
            for registry in &args.insecure_registries {
                command.args(["--insecure-registry", registry]);
            }
        })?
        .finish()
        .await?;
        let failed = |source| DevError::Folder { path: joined.clone(), source };
        std::fs::write(&joined, HOST).map_err(failed)?;
    }
    let start = || {
        Child::start("windlass-agent", dir, |command| {
            command.arg("run").arg("--data").arg(&agent_dir).args(["--engine", &args.engine]);
            command.arg("--policy").arg(&policy);
        })
    };
    let mut agent = start()?;
    let log = agent.log().to_owned();
    let begun = tokio::select! {
        () = signals::shutdown() => Ok(false),
        ready = ready(&session, &host, args, &log) => ready.map(|()| true),
        error = server.ended() => Err(error.into()),
        error = agent.ended() => Err(error.into()),
    };
    let ended = match begun {
        Ok(true) => {
            let callers = Callers::open(dir).inspect_err(|error| {
                printer.warn(&format!("`windlass dev restart` does not reach this fleet: {error}"));
            });
            printer.text(&welcome(home, &http, dir, args));
            tokio::select! {
                () = signals::shutdown() => Ok(Exit::Done),
                error = server.ended() => Err(error.into()),
                error = kept(&mut agent, start, callers.as_ref().ok(), printer) => Err(error.into()),
            }
        }
        Ok(false) => Ok(Exit::Done),
        Err(error) => Err(error),
    };
    printer.note("stopping coordinator and agent");
    agent.stop().await;
    server.stop().await;
    // Without an engine there is nothing to remove, and nobody to ask.
    let failed = ended.as_ref().err().and_then(CtlError::told);
    if !matches!(failed, Some(DevError::NotReady { .. })) {
        leave(dir, args, printer).await;
    }
    ended
}

/// Waits until the host is connected and its engine answers: before, nothing can be deployed.
async fn ready(session: &Session, host: &HostId, args: &DevArgs, log: &Path) -> Result<(), CtlError> {
    let deadline = Instant::now() + START.duration();
    while let Err(why) = readiness(&mut session.client(), host).await? {
        if Instant::now() >= deadline {
            let (engine, log) = (args.engine.clone(), log.to_owned());
            return Err(DevError::NotReady { why, engine, log }.into());
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Removes the containers that were deployed, or says how to go on with them.
async fn leave(dir: &Path, args: &DevArgs, printer: &Printer) {
    let (again, remove) = (again(dir, args), remove(dir, args));
    if args.keep {
        return printer.note(&format!(
            "containers go on, and nobody manages them until you say:\n  {again}\nor remove them with:\n  {remove}"
        ));
    }
    let agent = dir.join("agent");
    let removed = Child::start("windlass-agent", dir, |command| {
        command.arg("remove-workloads").arg("--data").arg(agent).args(["--engine", &args.engine]);
    });
    let removed = match removed {
        Ok(child) => child.finish().await,
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => printer.note("removed the containers that were deployed; named volumes stay"),
        Err(error) => printer.warn(&format!(
            "containers may be left: {}; remove them with:\n  {remove}",
            windlass_process::report::chain(&error)
        )),
    }
}

fn again(dir: &Path, args: &DevArgs) -> String {
    let (dir, engine, port) = (dir.display(), &args.engine, args.http_port);
    format!("windlass dev --dir {dir} --engine {engine} --http-port {port}")
}

fn remove(dir: &Path, args: &DevArgs) -> String {
    format!("windlass-agent remove-workloads --data {} --engine {}", dir.join("agent").display(), args.engine)
}

fn welcome(home: &Home, http: &str, dir: &Path, args: &DevArgs) -> String {
    let end = if args.keep {
        "Ctrl-C stops coordinator and agent; containers go on."
    } else {
        "Ctrl-C removes the containers and stops coordinator and agent."
    };
    format!(
        "A fleet of one host runs, under {}. In another terminal:\n\n  \
         export WINDLASS_HOME={}\n  \
         windlass host ls\n  \
         windlass deploy -f web.yaml    # a manifest of yours\n  \
         windlass status\n\n\
         Metrics: http://{http}/metrics\n\
         Logs: {}/*.log\n\
         Policy of the host: {}/policy.toml; `windlass dev restart` has the agent read it again\n\
         {end}",
        dir.display(),
        home.path().display(),
        dir.display(),
        dir.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_an_older_folder_lacks_is_told() {
        let policy = "registries = [\"docker.io\", \"reg:5000\"]\ninsecure_registries = [\"reg:5000\"]\n";
        let left_out = |policy: &str, registries: &[&str], insecure: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            left_out(policy, &owned(registries), &owned(insecure))
        };
        assert_eq!(left_out(policy, &["docker.io", "127.0.0.1:5000"], &["reg:5000"]), None);
        assert_eq!(left_out(policy, &["ghcr.io/you"], &["reg:50"]).as_deref(), Some("ghcr.io/you, reg:50"));
        assert_eq!(left_out("", &["ghcr.io/you"], &[]), None, "it is not written yet");
    }
}
