//! The command line of `windlass-server`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use windlass_certs::files;
use windlass_process::logging::{self, Format};
use windlass_process::{report, signals};

use crate::authority::{Authority, first_trust};
use crate::clock::Clock;
use crate::config::{Config, Overrides};
use crate::crash::Point;
use crate::ledger::{Ledger, State};
use crate::recovery::{Confirmed, Dropped, Proof, import_proven};
use crate::start::{self, StartError};
use crate::store::StoreError;
use crate::store::dump::{self, DumpError};

/// The coordinator of a Windlass fleet: takes signed releases, and tells each host's agent what to run.
#[derive(Debug, Parser)]
#[command(name = "windlass-server", version, max_term_width = 100)]
#[command(
    after_help = "Examples:\n  windlass init --fleet demo --server 127.0.0.1:7443 --server-dir ./server\n  \
    windlass-server --data ./server --listen 127.0.0.1:7443 --http 127.0.0.1:7480\n  \
    windlass-server --data ./server store export backup.jsonl\n  \
    windlass-server --data ./server store import backup.jsonl"
)]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Settings {
    /// Folder that `windlass init --server-dir` made; the store is kept there too.
    #[arg(long, env = "WINDLASS_DATA", default_value = "/var/lib/windlass/server", global = true)]
    data: PathBuf,
    /// Where agents and operators connect.
    #[arg(long, env = "WINDLASS_LISTEN", global = true)]
    listen: Option<SocketAddr>,
    /// Where metrics and health are read (plain HTTP); nowhere unless given.
    #[arg(long, env = "WINDLASS_HTTP", global = true)]
    http: Option<SocketAddr>,
    /// What is logged, like `info` or `windlass_server=debug`.
    #[arg(long, env = "WINDLASS_LOG", default_value = "info", global = true)]
    log: String,
    /// How log lines look: `human` or `json`.
    #[arg(long, env = "WINDLASS_LOG_FORMAT", default_value = "human", global = true)]
    log_format: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the coordinator (the default).
    Run,
    /// Back the store up, or restore it, while the coordinator is stopped.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Check configuration, keys and store, and start nothing.
    Check,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Write every record to FILE.
    Export {
        /// Must not exist.
        file: PathBuf,
    },
    /// Read FILE into a new store. Hosts that are ahead of it are recovering until `windlass host recover`.
    Import {
        /// What `export` wrote, or a file of the folder `backups`.
        file: PathBuf,
        /// Take a backup without this coordinator's signature. Drops tokens, and operators and hosts that no certificate of
        /// the fleet's CA vouches for.
        #[arg(long)]
        unsigned: bool,
        /// Of an unsigned backup: a member who may go on, as you know that nobody has revoked them: `operator/NAME` or
        /// `host/NAME`. All others have to join again.
        #[arg(long, value_name = "MEMBER", requires = "unsigned")]
        confirm: Vec<String>,
    },
    /// Begin with an empty store where there was one: forgets hosts, services and what runs.
    New,
}

/// What failed, with what to do next.
#[derive(Debug)]
pub struct Failure {
    /// What failed.
    pub error: anyhow::Error,
    /// What to do next.
    pub hint: Option<String>,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let hint = error
            .downcast_ref::<StartError>()
            .and_then(StartError::hint)
            .or_else(|| error.downcast_ref::<DumpError>().and_then(|e| e.hint().map(str::to_owned)))
            // A store that fails under a running coordinator ends the task that wrote.
            .or_else(|| {
                error.chain().find_map(|cause| cause.downcast_ref::<StoreError>()?.hint()).map(str::to_owned)
            });
        Self { error, hint }
    }
}

/// The whole program: arguments, command, exit code, and the last words of a failure.
#[tokio::main]
pub async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&report::full(failure.error.as_ref(), failure.hint.as_deref()));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the last words of the process, for whoever started it")]
fn complain(text: &str) {
    eprintln!("{text}");
}

impl Cli {
    /// Does what was asked.
    pub async fn run(self) -> Result<(), Failure> {
        let settings = self.settings;
        logging::init(settings.log_format, &settings.log)?;
        match self.command.unwrap_or(Command::Run) {
            Command::Run => {
                let running = start::start(config(&settings)?).await?;
                Ok(running.run(signals::shutdown()).await?)
            }
            Command::Check => check(&settings).await,
            Command::Store(StoreCommand::Export { file }) => export(&settings, &file).await,
            Command::Store(StoreCommand::Import { file, unsigned, confirm }) => {
                import(&settings, &file, unsigned, &confirm).await
            }
            Command::Store(StoreCommand::New) => new(&settings.data).await,
        }
    }
}

fn config(settings: &Settings) -> Result<Config, StartError> {
    let overrides = Overrides { listen: settings.listen, http: settings.http };
    Ok(Config::load(&settings.data, overrides)?)
}

/// The keys of the data folder.
fn authority(settings: &Settings) -> Result<Authority, StartError> {
    let config = config(settings)?;
    let fleet = first_trust(&config.data)?.document().fleet.clone();
    Ok(Authority::load(&config.data, &fleet, config.lifetimes)?)
}

async fn check(settings: &Settings) -> Result<(), Failure> {
    let config = config(settings)?;
    let trust = first_trust(&config.data).map_err(StartError::from)?;
    let fleet = trust.document().fleet.clone();
    authority(settings)?;
    let store = start::open_own_store(&config.data)?;
    let (ledger, _) =
        Ledger::open(store, State::new(trust), Clock::system()).await.map_err(StartError::from)?;
    let (hosts, services, entries) =
        ledger.read(|state| (state.hosts.len(), state.services.len(), state.head.size));
    tracing::info!(%fleet, hosts, services, audit_entries = entries, "everything can be read");
    Ok(())
}

async fn export(settings: &Settings, file: &Path) -> Result<(), Failure> {
    let sealer = authority(settings)?.sealer(Clock::system().now());
    let store = start::open_own_store(&settings.data)?;
    let creating = || format!("failed to create `{}`", file.display());
    // Under another name until it is whole, so that one that was cut off is never kept for the day it is needed.
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    if file.symlink_metadata().is_ok() {
        return Err(anyhow::Error::from(io::Error::from(io::ErrorKind::AlreadyExists))
            .context(creating())
            .into());
    }
    let mut out = BufWriter::new(files::begin_secret(&unfinished).with_context(creating)?);
    let records = dump::export_sealed(&*store, &mut out, &sealer).await?;
    Point::ExportWritten.pass();
    out.flush().and_then(|()| out.get_ref().sync_all()).context("failed to write the backup")?;
    Point::ExportSynced.pass();
    files::place_secret(&unfinished, file).with_context(creating)?;
    Point::ExportPlaced.pass();
    tracing::info!(records, file = %file.display(), "exported");
    Ok(())
}

async fn import(settings: &Settings, file: &Path, unsigned: bool, confirm: &[String]) -> Result<(), Failure> {
    let (authority, now) = (authority(settings)?, Clock::system().now());
    let (sealer, vouching) = (authority.sealer(now), authority.vouching(Confirmed::parse(confirm)?, now));
    let proof = if unsigned { Proof::None(&vouching) } else { Proof::Seal(&sealer) };

    let input = File::open(file).with_context(|| format!("failed to open `{}`", file.display()))?;
    start::close(&settings.data)?;
    let store = start::open_store(&settings.data).map_err(StartError::from)?;
    let restored = import_proven(&*store, &mut BufReader::new(input), now, proof).await?;
    let newest = restored.newest.map(|at| at.to_string()).unwrap_or_default();
    tracing::info!(records = restored.records, file = %file.display(), newest, "imported");
    if unsigned {
        let Dropped { tokens, operators, hosts, unconfirmed } = restored.dropped;
        tracing::warn!(
            tokens,
            operators,
            hosts,
            unconfirmed,
            "nobody has signed this backup: dropped what no certificate vouches for"
        );
        tracing::warn!(
            "who was revoked, evicted or banned is known of nobody in it: members whom no `--confirm` names have to join again \
             (`windlass host token`, `windlass operator invite`); without an operator, `windlass operator recover --name NEW`"
        );
    }
    tracing::info!("hosts that are ahead of it keep what they run; look with `windlass host recover`");
    Ok(())
}

async fn new(data: &Path) -> Result<(), Failure> {
    let trust = first_trust(data).map_err(StartError::from)?;
    let fleet = trust.document().fleet.clone();
    let store = start::open_store(data).map_err(StartError::from)?;
    if !store.list("").await?.is_empty() {
        return Err(DumpError::NotEmpty.into());
    }
    Ledger::open(store, State::new(trust), Clock::system()).await.map_err(StartError::from)?;
    tracing::info!(%fleet, "an empty store: every host has to join again");
    Ok(())
}
