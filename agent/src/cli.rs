//! The command line.

mod args;

use std::ffi::OsString;
use std::io::Read;
use std::net::UdpSocket;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use clap_complete::Shell;
use windlass_certs::join::{InvalidToken, JoinToken};
use windlass_process::completions::mended;
use windlass_process::report::ErrorReport;
use windlass_process::{logging, report, signals};

use args::{Command, IngressArgs, JoinArgs, LogArgs, OutputArgs, TrustCommand};

use crate::config::{Config, Given};
use crate::failure::Failure;
use crate::install::Places;
use crate::join::{Join, JoinError, join};
use crate::runtime::docker::DockerEngine;
use crate::{clear, doctor, gpu, import, ingress, inventory, output, run};

const ABOUT: &str = "Runs on each host: pulls images, runs containers, probes them, and rolls back by itself";

const EXAMPLES: &str = "\
Examples:
  windlass-agent join --server deploy.example.com:7443 --token windlass2… \\
      --address 10.0.0.5 --registry registry.example.com
  windlass-agent run
  windlass-agent doctor
  windlass-agent inventory -o json

Stopping, upgrading or killing the agent never stops a workload.";

/// Arguments.
#[derive(Debug, Parser)]
#[command(name = "windlass-agent", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: Command,
}

/// Parses, runs, and turns the outcome into an exit code: 0 done, 1 failed, 2 usage.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return misused(&error, &args),
    };
    match execute(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Unwell) => ExitCode::FAILURE,
        Err(failure) => {
            let hint = failure.hint();
            output::complain(&match cli.output.is_structured() || cli.log.read().0 == "json" {
                true => ErrorReport::of(&failure, hint.as_deref()).json(),
                false => report::full(&failure, hint.as_deref()),
            });
            ExitCode::FAILURE
        }
    }
}

/// Prints help to stdout, and what is wrong with a command line to stderr, as JSON where that was asked for.
fn misused(error: &clap::Error, args: &[OsString]) -> ExitCode {
    let asks = |flags, values| report::gives(args, flags, values);
    let structured =
        asks(&["-o", "--output"], &["json", "yaml"]) || asks(&["--log-format", "--log"], &["json"]);
    if error.use_stderr() && structured {
        output::complain(&ErrorReport::of_usage(&error.render().to_string()).json());
    } else {
        drop(error.print());
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn execute(cli: &Cli) -> Result<(), Failure> {
    if matches!(cli.command, Command::GpuProbe) {
        return Ok(gpu::serve()?); // no log, no settings, no runtime: it only answers
    }
    match &cli.command {
        Command::Completions { shell } => return Ok(output::lines(&completions(*shell))?),
        Command::Man { out } => return man(out.as_deref()),
        _ => {}
    }
    let (format, filter) = cli.log.read();
    logging::init(format.parse()?, filter)?;
    let config = Config::resolve(&cli.given)?;
    if let Command::Ingress(args) = &cli.command {
        return serve(&config, args);
    }
    // One thread: the agent waits for others nearly all the time. A few more only for files and fsync.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(std::time::Duration::from_secs(2))
        .build()?;
    runtime.block_on(async {
        match &cli.command {
            Command::GpuProbe | Command::Ingress(_) | Command::Completions { .. } | Command::Man { .. } => {
                Ok(())
            } // done above
            Command::Join(args) => joined(&config, args, &cli.output).await,
            Command::Run => {
                let engine = config.engine.clone();
                let make = |local, files: &Path| Ok(DockerEngine::new(&engine, local, files)?);
                Ok(Box::pin(run::run(&config, signals::shutdown(), make)).await?)
            }
            Command::Inventory => {
                let inventory = inventory::collect(&config).await?;
                cli.output.result(&inventory.table(), &inventory)
            }
            Command::Doctor => {
                let findings = doctor::examine(&config).await;
                cli.output.result(&doctor::table(&findings), &findings)?;
                if doctor::is_unwell(&findings) { Err(Failure::Unwell) } else { Ok(()) }
            }
            Command::Install(args) => {
                let done = Places::below(&args.root).install(&config, &std::env::current_exe()?)?;
                cli.output.result(&done, &steps(&done))
            }
            Command::Uninstall(args) => {
                let done = Places::below(&args.root).uninstall(&config)?;
                cli.output.result(&done, &steps(&done))
            }
            Command::RemoveWorkloads => {
                let count = clear::remove_workloads(&config).await?;
                let mut text = format!("removed {count} container{}", if count == 1 { "" } else { "s" });
                if count > 0 {
                    text.push_str(
                        "\nthe coordinator wants them here still: an agent that runs starts them again. For good: \
                         `windlass host drain HOST` before, or `windlass host evict HOST`",
                    );
                }
                cli.output.result(&text, &serde_json::json!({ "removed": count }))
            }
            Command::Trust(TrustCommand::Import { file }) => {
                let version = import::import(&config, file).await?;
                let text = format!("trust version {version} is in force");
                cli.output.result(&text, &serde_json::json!({ "trust_version": version }))
            }
        }
    })
}

/// The ingress takes as many threads as there are cores.
fn serve(config: &Config, args: &IngressArgs) -> Result<(), Failure> {
    let options = ingress::Options {
        socket: config.ingress_socket(),
        state: args.state.clone().unwrap_or_else(|| config.data.join("ingress")),
        http: args.http,
        https: args.https,
        redirect: args.redirect,
        certs: args.certs.clone(),
        metrics: args.metrics,
        access_log: args.access_log.clone(),
        trusted_proxies: args.trusted_proxy.clone(),
        proxy_protocol: args.proxy_protocol(),
        response_timeout: args.response_timeout.duration(),
        notice: args.notice.duration(),
        drain: args.drain.duration(),
        drain_tunnels: args.drain_tunnels.duration(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(8).build()?;
    let ended = runtime.block_on(ingress::run(&options, signals::shutdown()));
    // A successor that says nothing keeps a thread for up to a minute: nobody waits for it.
    runtime.shutdown_background();
    Ok(ended?)
}

async fn joined(config: &Config, args: &JoinArgs, output: &OutputArgs) -> Result<(), Failure> {
    let mut token = args.token.clone();
    if token == "-" {
        token.clear();
        std::io::stdin().take(windlass_certs::join::MAX_LEN as u64).read_to_string(&mut token)?;
    }
    // The token names the address that the operator who made it uses. One that is damaged names none, and is told of first.
    let named = named(&token).map_err(JoinError::Token)?;
    let server = config.server.clone().or(named).ok_or(Failure::NoServer)?;
    let address = match &args.address {
        Some(address) => address.clone(),
        None => {
            own_address(&server).map_err(|source| Failure::OwnAddress { server: server.clone(), source })?
        }
    };
    let joined = join(&Join {
        server,
        token,
        data: config.data.clone(),
        address,
        registries: args.registry.clone(),
        insecure_registries: args.insecure_registry.clone(),
        policy: config.policy.clone(),
    })
    .await?;
    let mut text = format!("joined fleet `{}` as `{}`", joined.member.fleet, joined.member.host);
    if joined.wrote_policy {
        text.push_str(&format!("\nwrote the starter policy {}", config.policy.display()));
    }
    let (data, file) = (config.data.display(), config.policy.display());
    text.push_str(&format!(
        "\nnext: `windlass-agent run --data {data} --policy {file}`, or the service of `windlass-agent install`"
    ));
    let policy = joined.wrote_policy.then_some(&config.policy);
    let view = serde_json::json!({
        "fleet": joined.member.fleet, "host": joined.member.host, "wrote_policy": policy,
    });
    output.result(&text, &view)
}

/// The coordinator that a token names.
///
/// # Errors
/// The token is damaged.
fn named(token: &str) -> Result<Option<String>, InvalidToken> {
    Ok(JoinToken::parse(token)?.terms().server.clone())
}

/// The completions of a shell.
fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "windlass-agent", &mut script);
    let script = String::from_utf8_lossy(&script);
    mended(&script, &shell.to_string(), "windlass-agent", &["--log-filter", gpu::SUBCOMMAND])
}

/// Prints the manual, or writes a page for each command.
fn man(folder: Option<&Path>) -> Result<(), Failure> {
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder)?;
        return Ok(clap_mangen::generate_to(Cli::command(), folder)?);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    Ok(output::lines(&String::from_utf8_lossy(&page))?)
}

/// The steps that were done, one per line of `text`.
fn steps(text: &str) -> serde_json::Value {
    serde_json::json!({ "done": text.lines().collect::<Vec<_>>() })
}

/// The address from which this host reaches the server. Nothing is sent for that.
fn own_address(server: &str) -> std::io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect(server).map(|()| socket));
    let socket = match socket {
        Ok(socket) => socket,
        Err(_) => UdpSocket::bind("[::]:0").and_then(|socket| socket.connect(server).map(|()| socket))?,
    };
    Ok(socket.local_addr()?.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bash_completes_the_options_of_a_command() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("script"), completions(Shell::Bash)).unwrap();
        let complete = "source ./script; COMP_WORDS=(windlass-agent join --tok); COMP_CWORD=2; \
                        _windlass__agent windlass-agent --tok join; echo \"${COMPREPLY[@]}\"";
        let mut bash = std::process::Command::new("bash");
        let done = bash.args(["-c", complete]).current_dir(folder.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "--token");
        for shell in [Shell::Bash, Shell::Fish] {
            let script = completions(shell);
            assert!(!script.contains("log-filter ") && !script.contains("\"gpu-probe\""), "{shell}");
        }
    }

    #[test]
    fn an_address_of_ipv6_may_stand_in_brackets() {
        for (given, want) in [("[fd00::4]", "fd00::4"), ("fd00::4", "fd00::4"), ("[web]", "[web]")] {
            let cli = Cli::try_parse_from(["windlass-agent", "join", "--token", "T", "--address", given]);
            let Command::Join(args) = cli.unwrap().command else { panic!("a join") };
            assert_eq!(args.address.as_deref(), Some(want));
        }
    }

    #[test]
    fn a_balancer_that_announces_clients_is_named() {
        let read = |line: &str| {
            let words = ["windlass-agent", "ingress", "--http", "0.0.0.0:80"];
            let cli = Cli::try_parse_from(words.into_iter().chain(line.split(' '))).ok()?;
            let Command::Ingress(args) = cli.command else { panic!("an ingress") };
            let at = args.proxy_protocol();
            Some((at.http, at.https))
        };
        assert_eq!(read("--proxy-protocol https --trusted-proxy 10.0.0.0/8"), Some((false, true)));
        assert_eq!(read("--proxy-protocol http,https --trusted-proxy 10.0.0.0/8"), Some((true, true)));
        assert_eq!(read("--trusted-proxy 10.0.0.0/8"), Some((false, false)));
        assert_eq!(read("--proxy-protocol https"), None, "of whom?");
    }

    #[test]
    fn old_and_new_spellings_of_log_flags_mean_the_same() {
        let read = |line: &str| {
            let cli =
                Cli::try_parse_from(["windlass-agent", "run"].into_iter().chain(line.split(' '))).unwrap();
            let (format, filter) = cli.log.read();
            (format.to_owned(), filter.to_owned())
        };
        let is = |format: &str, filter: &str| (format.to_owned(), filter.to_owned());
        assert_eq!(read("--log json"), is("json", "info"));
        assert_eq!(read("--log json --log-filter debug"), is("json", "debug"));
        assert_eq!(read("--log debug --log-format json"), is("json", "debug"));
        assert_eq!(read("--log-format json"), is("json", "info"));
        assert_eq!(read("--log-filter warn"), is("human", "warn"));
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
        check(&command, "windlass-agent");
    }

    #[test]
    fn completions_and_manual_name_the_commands() {
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut Cli::command(), "windlass-agent", &mut script);
        assert!(String::from_utf8(script).unwrap().contains("remove-workloads"));
        let folder = tempfile::tempdir().unwrap();
        man(Some(folder.path())).unwrap();
        let page = std::fs::read_to_string(folder.path().join("windlass-agent-join.1")).unwrap();
        assert!(page.contains("Join a fleet with a token"), "{page}");
    }

    #[test]
    fn a_token_names_the_coordinator_where_no_flag_does() {
        use windlass_certs::join::Terms;
        let fleet: windlass_core::FleetId = "demo".parse().unwrap();
        let host: windlass_core::HostId = "web-1".parse().unwrap();
        let pin = windlass_core::Digest::of(b"pin");
        let bare = JoinToken::new(fleet.clone(), host.clone(), pin, pin).unwrap();
        assert_eq!(named(&bare.to_string()).unwrap(), None);
        let terms = Terms { server: Some("deploy.example.com:7443".to_owned()), ..Terms::default() };
        let full = bare.under(fleet, host, pin, pin, terms).to_string();
        assert_eq!(named(&format!(" {full}\n")).unwrap().as_deref(), Some("deploy.example.com:7443"));
        assert!(named("no token").is_err(), "a damaged token is told of, and no missing --server");
    }

    #[test]
    fn the_format_of_results_stands_before_and_behind_the_command() {
        for line in [
            "doctor -o yaml",
            "-o yaml doctor",
            "inventory --output yaml",
            "--output yaml trust import t.json",
        ] {
            let cli = Cli::try_parse_from(["windlass-agent"].into_iter().chain(line.split(' '))).unwrap();
            assert!(matches!(cli.output.output, args::Format::Yaml), "{line}");
        }
        let names: Vec<String> = Cli::command()
            .get_subcommands()
            .filter(|c| !c.is_hide_set())
            .map(|c| c.get_name().to_owned())
            .collect();
        assert!(names.contains(&"man".to_owned()), "{names:?}");
    }

    #[test]
    fn the_documented_commands_parse() {
        for line in [
            "join --server 127.0.0.1:7443 --token T --data ./agent-1 --address 127.0.0.1 --registry 127.0.0.1:5000 --policy ./policy.toml",
            "run --data ./agent-1 --engine unix:///var/run/docker.sock --policy ./policy.toml",
            "run --data d --log json",
            "run --log json --log-filter info,windlass_agent=debug",
            "run --log info,windlass_agent=debug --log-format json",
            "remove-workloads -o json",
            "install --root /mnt -o json",
            "trust import trust.json -o json",
            "completions zsh",
            "man --out pages",
            "ingress --http 0.0.0.0:80 --https 0.0.0.0:443 --certs /etc/windlass/certs",
            "ingress --data d --http 127.0.0.1:80 --metrics [::1]:9102 --access-log - --drain 5s",
            "inventory -o json",
            "doctor",
            "remove-workloads --data ./agent-1",
            "trust import trust.json",
        ] {
            let words = std::iter::once("windlass-agent").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }
}
