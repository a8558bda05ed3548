//! The command line of `windlass-server`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use windlass_certs::files;
use windlass_process::completions::mended;
use windlass_process::logging::{self, Format};
use windlass_process::report::ErrorReport;
use windlass_process::{report, signals, socket};

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
    windlass-server --data ./server --listen 127.0.0.1:7443 \\\n      \
    --http 127.0.0.1:7480\n  \
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
#[command(next_help_heading = "Common options")]
struct Settings {
    /// Folder that `windlass init --server-dir` made; the store is kept there too
    #[arg(
        long,
        value_name = "DIR",
        env = "WINDLASS_DATA",
        default_value = "/var/lib/windlass/server",
        global = true
    )]
    data: PathBuf,
    /// Where agents and operators connect
    #[arg(long, value_name = "IP:PORT", env = "WINDLASS_LISTEN", value_parser = socket::listening, global = true)]
    listen: Option<SocketAddr>,
    /// Where metrics and health are read (plain HTTP); nowhere unless given
    #[arg(long, value_name = "IP:PORT", env = "WINDLASS_HTTP", value_parser = socket::listening, global = true)]
    http: Option<SocketAddr>,
    /// Log lines on stderr, like `info` or `info,windlass_server=debug`
    #[arg(long, value_name = "FILTER", env = "WINDLASS_LOG", default_value = "info", global = true)]
    log: String,
    /// Format of log lines
    #[arg(
        long,
        value_name = "human|json",
        env = "WINDLASS_LOG_FORMAT",
        default_value = "human",
        global = true
    )]
    log_format: Format,
    /// Output format of `check`, `store export` and `store import`
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t, global = true)]
    output: Output,
}

/// The format of results.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Output {
    /// For people: a line of the log
    #[default]
    Table,
    /// One document
    Json,
    /// The same as YAML
    Yaml,
}

impl Output {
    /// Prints a result to stdout, where a program reads it.
    fn result(self, view: &serde_json::Value) -> Result<(), Failure> {
        let text = match self {
            Self::Table => return Ok(()),
            Self::Json => serde_json::to_string_pretty(view)?,
            Self::Yaml => serde_saphyr::to_string(view).map_err(|error| anyhow::anyhow!("{error}"))?,
        };
        Ok(print(io::stdout().lock(), format!("{}\n", text.trim_end()).as_bytes())?)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the coordinator (the default)
    #[command(after_help = "Examples:\n  windlass-server run --data ./server --log-format json")]
    Run,
    /// Back the store up, or restore it, while the coordinator is stopped
    #[command(
        subcommand,
        after_help = "Examples:\n  windlass-server store export backup.jsonl\n  windlass-server store import backup.jsonl"
    )]
    Store(StoreCommand),
    /// Check configuration, keys and store, and start nothing
    #[command(after_help = "Examples:\n  windlass-server check\n  windlass-server --data ./server check")]
    Check,
    /// Completions for a shell
    #[command(
        after_help = "Examples:\n  windlass-server completions bash > /etc/bash_completion.d/windlass-server"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Manual pages
    #[command(after_help = "Examples:\n  windlass-server man --out /usr/local/share/man/man1")]
    Man {
        /// Write a page for each command to this folder
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Write every record to FILE
    #[command(after_help = "Examples:\n  windlass-server --data ./server store export backup.jsonl")]
    Export {
        /// File to write; must not exist yet
        file: PathBuf,
    },
    /// Read FILE into a new store. Hosts that are ahead of it are recovering until `windlass host recover`
    #[command(after_help = "Examples:\n  windlass-server --data ./server store import backup.jsonl")]
    Import {
        /// A file that `export` wrote, or one of the folder `backups`
        file: PathBuf,
        /// Take a backup without this coordinator's signature. Drops tokens, and operators and hosts that no certificate of
        /// the fleet's CA vouches for
        #[arg(long)]
        unsigned: bool,
        /// Of an unsigned backup: a member who may go on, as you know that nobody has revoked them: `operator/NAME` or
        /// `host/NAME`. All others have to join again.
        #[arg(long, value_name = "MEMBER", requires = "unsigned")]
        confirm: Vec<String>,
    },
    /// Begin with an empty store where there was one: forgets hosts, services and instances
    #[command(after_help = "Examples:\n  windlass-server --data ./server store new")]
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
    let args: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return misused(&error, &args),
    };
    let structured = !matches!(cli.settings.output, Output::Table) || cli.settings.log_format == Format::Json;
    match cli.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { error, hint }) => {
            complain(&match structured {
                true => ErrorReport::of(error.as_ref(), hint.as_deref()).json(),
                false => report::full(error.as_ref(), hint.as_deref()),
            });
            ExitCode::FAILURE
        }
    }
}

/// Prints help to stdout, and what is wrong with a command line to stderr, as JSON where that was asked for.
fn misused(error: &clap::Error, args: &[OsString]) -> ExitCode {
    let asks = |flags, values| report::gives(args, flags, values);
    if error.use_stderr()
        && (asks(&["-o", "--output"], &["json", "yaml"]) || asks(&["--log-format"], &["json"]))
    {
        complain(&ErrorReport::of_usage(&error.render().to_string()).json());
    } else {
        drop(error.print());
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[expect(clippy::print_stderr, reason = "the last words of the process, for whoever started it")]
fn complain(text: &str) {
    eprintln!("{text}");
}

impl Cli {
    /// Does what was asked.
    pub async fn run(self) -> Result<(), Failure> {
        let settings = self.settings;
        match &self.command {
            Some(Command::Completions { shell }) => {
                return Ok(print(io::stdout().lock(), completions(*shell).as_bytes())?);
            }
            Some(Command::Man { out }) => return man(out.as_deref()),
            _ => {}
        }
        logging::init(settings.log_format, &settings.log)?;
        match self.command.unwrap_or(Command::Run) {
            Command::Run => {
                let running = start::start(config(&settings)?).await?;
                Ok(running.run(signals::shutdown()).await?)
            }
            Command::Completions { .. } | Command::Man { .. } => Ok(()), // done above
            Command::Check => check(&settings).await,
            Command::Store(StoreCommand::Export { file }) => export(&settings, &file).await,
            Command::Store(StoreCommand::Import { file, unsigned, confirm }) => {
                import(&settings, &file, unsigned, &confirm).await
            }
            Command::Store(StoreCommand::New) => new(&settings.data).await,
        }
    }
}

/// Writes a result. A reader that has gone (`| head`) is no error.
fn print(mut out: impl Write, bytes: &[u8]) -> io::Result<()> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// The completions of a shell.
fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "windlass-server", &mut script);
    mended(&String::from_utf8_lossy(&script), &shell.to_string(), "windlass-server", &[])
}

/// Prints the manual, or writes a page for each command.
fn man(folder: Option<&Path>) -> Result<(), Failure> {
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder)?;
        return Ok(clap_mangen::generate_to(Cli::command(), folder)?);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    Ok(print(io::stdout().lock(), &page)?)
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
    settings.output.result(&serde_json::json!({
        "fleet": fleet, "hosts": hosts, "services": services, "audit_entries": entries,
    }))
}

async fn export(settings: &Settings, file: &Path) -> Result<(), Failure> {
    let creating = || format!("failed to create `{}`", file.display());
    if file.symlink_metadata().is_ok() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::AlreadyExists)).context(creating());
        let hint = "a backup is never written over another one: name a new file, or move that one away first";
        return Err(Failure { error, hint: Some(hint.to_owned()) });
    }
    let sealer = authority(settings)?.sealer(Clock::system().now());
    let store = start::open_own_store(&settings.data)?;
    // Under another name until it is whole, so that one that was cut off is never kept for the day it is needed.
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let mut out = BufWriter::new(files::begin_secret(&unfinished).with_context(creating)?);
    let records = dump::export_sealed(&*store, &mut out, &sealer).await?;
    Point::ExportWritten.pass();
    out.flush().and_then(|()| out.get_ref().sync_all()).context("failed to write the backup")?;
    Point::ExportSynced.pass();
    files::place_secret(&unfinished, file).with_context(creating)?;
    Point::ExportPlaced.pass();
    tracing::info!(records, file = %file.display(), "exported");
    settings.output.result(&serde_json::json!({ "records": records, "file": file }))
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
    settings
        .output
        .result(&serde_json::json!({ "records": restored.records, "file": file, "newest": newest }))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_of_results_stands_before_and_behind_the_command() {
        for line in ["check -o json", "-o json check", "store export b.jsonl --output json"] {
            let cli = Cli::try_parse_from(["windlass-server"].into_iter().chain(line.split(' '))).unwrap();
            assert!(matches!(cli.settings.output, Output::Json), "{line}");
        }
        let man = Cli::command().find_subcommand("man").map(clap::Command::is_hide_set);
        assert_eq!(man, Some(false));
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
        let mut command = Cli::command();
        command.build();
        check(&command, "windlass-server");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        assert!(print(writer, b"a page").is_ok());
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(print(full, b"a page").is_err(), "another error is one");
    }

    #[test]
    fn completions_and_manual_name_the_commands() {
        Cli::command().debug_assert();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("script"), completions(Shell::Bash)).unwrap();
        let complete = "source ./script; COMP_WORDS=(windlass-server store e); COMP_CWORD=2; \
                        _windlass__server windlass-server e store; echo \"${COMPREPLY[@]}\"";
        let mut bash = std::process::Command::new("bash");
        let done = bash.args(["-c", complete]).current_dir(folder.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "export");
        assert!(man(Some(folder.path())).is_ok());
        let page = std::fs::read_to_string(folder.path().join("windlass-server-store-import.1")).unwrap();
        assert!(page.contains("unsigned"), "{page}");
    }
}
