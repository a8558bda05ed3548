//! `completions` and `__complete`: scripts for shells, which ask this program for the names of services and hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::Shell;
use windlass_core::{EnvironmentId, ServiceName};

use crate::args::{Cli, CompleteArgs, CompletionsArgs, Global};
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::printer::Printer;

/// Longest wait for names: a person has pressed a key.
const DEADLINE: Duration = Duration::from_secs(1);

/// Completes names in bash beside what clap generates.
const BASH: &str = r#"
_windlass_named() {
    _windlass "$@"
    local cur="${COMP_WORDS[COMP_CWORD]}"
    [[ "$cur" == -* ]] && return 0
    COMPREPLY+=($(compgen -W "$(windlass __complete for "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "$cur"))
}
"#;

/// Completes names in zsh.
const ZSH: &str = r#"
_windlass_services() { compadd -- ${(f)"$(windlass __complete services 2>/dev/null)"} }
_windlass_hosts() { compadd -- ${(f)"$(windlass __complete hosts 2>/dev/null)"} }
"#;

/// Completes names in fish.
const FISH: &str = r#"
complete -c windlass -a '(windlass __complete for (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
"#;

/// A kind of name that the coordinator knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Services,
    Hosts,
}

impl Kind {
    /// The kind of an argument, by the name of its value.
    fn of(arg: &Arg) -> Option<Self> {
        let name = arg.get_value_names().and_then(|names| names.first()).map(|name| name.to_uppercase());
        match name.unwrap_or_else(|| arg.get_id().as_str().to_uppercase()).as_str() {
            "SERVICE" | "ROLLOUT" => Some(Self::Services),
            "HOST" => Some(Self::Hosts),
            _ => None,
        }
    }
}

pub(super) fn completions(args: &CompletionsArgs, printer: &Printer) -> Result<Exit, CtlError> {
    super::tools::only_text("completions", printer)?;
    printer.text(&script(args.shell));
    Ok(Exit::Done)
}

/// The script that clap generates, with names of services and hosts.
fn script(shell: Shell) -> String {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "windlass", &mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match shell {
        Shell::Bash => {
            let at = text.rfind("\nif [[").map_or(text.len(), |at| at + 1);
            let (function, register) = text.split_at(at);
            format!(
                "{function}{BASH}\n{}",
                register.replace("complete -F _windlass ", "complete -F _windlass_named ")
            )
        }
        Shell::Zsh => {
            let lines: String = text.lines().map(|line| named(line) + "\n").collect();
            let (head, body) = lines.split_once('\n').unwrap_or_default();
            format!("{head}\n{ZSH}{body}")
        }
        Shell::Fish => text + FISH,
        _ => text,
    }
}

/// A line of the zsh script, with a function where a service or a host is completed.
fn named(line: &str) -> String {
    let begins = |name: &str| {
        let text = line.trim_start();
        ["':", "'::", "'*:", "'*::"]
            .iter()
            .any(|mark| text.strip_prefix(mark).is_some_and(|rest| rest.starts_with(name)))
    };
    let function = if begins("service") || begins("rollout") || line.contains("]:SERVICE:") {
        "_windlass_services"
    } else if begins("host") || line.contains("]:HOST:") {
        "_windlass_hosts"
    } else {
        return line.to_owned();
    };
    line.replace(":_default'", &format!(":{function}'"))
}

/// Prints the names that a shell asks for. Silent where there is no answer in time.
pub(super) async fn names(args: &CompleteArgs, global: &Global, printer: &Printer) -> Exit {
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    let (kind, given) = match words.as_slice() {
        ["services"] => (Some(Kind::Services), &[][..]),
        ["hosts"] => (Some(Kind::Hosts), &[][..]),
        ["for", given @ ..] => (expected(given), given),
        _ => (None, &[][..]),
    };
    let after = |flag: &str| given.windows(2).find(|pair| pair[0] == flag).map(|pair| pair[1].to_owned());
    let mut global = global.clone();
    global.context = after("--context").or(global.context);
    global.server = after("--server").or(global.server);
    if let Some(kind) = kind
        && let Ok(Ok(names)) = tokio::time::timeout(DEADLINE, ask(kind, &global)).await
    {
        printer.text(&names.join("\n"));
    }
    Exit::Done
}

async fn ask(kind: Kind, global: &Global) -> Result<Vec<String>, CtlError> {
    let context = Context::load(global)?;
    let session = context.session().await?;
    let mut client = session.client();
    Ok(match kind {
        Kind::Hosts => client.hosts().await?.into_iter().map(|host| host.name.to_string()).collect(),
        Kind::Services => {
            let services =
                client.status("").await?.into_iter().map(|status| (status.service, status.environment));
            shortest(services.collect(), context.config.environment.as_ref())
        }
    })
}

/// Each service by the shortest name that means it.
fn shortest(services: Vec<(ServiceName, EnvironmentId)>, usual: Option<&EnvironmentId>) -> Vec<String> {
    let mut counts: BTreeMap<ServiceName, usize> = BTreeMap::new();
    services.iter().for_each(|(name, _)| *counts.entry(name.clone()).or_default() += 1);
    let short = |name: &ServiceName, environment: &EnvironmentId| match usual {
        Some(usual) => usual == environment,
        None => counts.get(name) == Some(&1),
    };
    let text = |(name, environment): &(ServiceName, EnvironmentId)| {
        if short(name, environment) { name.to_string() } else { format!("{environment}/{name}") }
    };
    services.iter().map(text).collect()
}

/// The kind of name that the last of these words is, after the others.
fn expected(words: &[&str]) -> Option<Kind> {
    let (last, before) = words.split_last()?;
    let root = Cli::command();
    let (mut command, mut positionals) = (&root, 0);
    let mut value_of: Option<&Arg> = None;
    for word in before {
        if value_of.take().is_some() {
            continue;
        }
        if let Some(flag) = word.strip_prefix('-') {
            value_of = option(&root, command, flag).filter(|arg| arg.get_action().takes_values());
        } else if let Some(sub) = command.find_subcommand(word).filter(|_| positionals == 0) {
            command = sub;
        } else {
            positionals += 1;
        }
    }
    if let Some(arg) = value_of {
        return Kind::of(arg);
    }
    if last.starts_with('-') {
        return None;
    }
    let mut found: Vec<&Arg> = command.get_positionals().collect();
    found.sort_by_key(|arg| arg.get_index());
    let is_many = |arg: &&&Arg| matches!(arg.get_action(), clap::ArgAction::Append);
    Kind::of(found.get(positionals).or_else(|| found.last().filter(is_many))?)
}

/// The option that a word names, without its first dash.
fn option<'a>(root: &'a Command, command: &'a Command, flag: &str) -> Option<&'a Arg> {
    let is_it = |arg: &&Arg| match flag.strip_prefix('-') {
        Some(long) => arg.get_long() == Some(long),
        None => flag.chars().count() == 1 && arg.get_short() == flag.chars().next(),
    };
    command.get_arguments().chain(root.get_arguments()).find(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_before_the_cursor_say_which_names_fit() {
        use Kind::{Hosts, Services};
        #[rustfmt::skip]
        let table = [
            ("rollback w", Some(Services)), ("rollback web ", None), ("rm web w", Some(Services)), ("rollout show ", Some(Services)),
            ("host show ", Some(Hosts)), ("host drain --timeout 5m w", Some(Hosts)), ("ps --host ", Some(Hosts)), ("ps --host h1 ", Some(Services)),
            ("-e prod status ", Some(Services)), ("status -", None), ("deploy ", None), ("events --service w", Some(Services)),
            ("wait h1 ", Some(Hosts)), ("routes forget ", Some(Hosts)), ("ro", None), ("", None),
        ];
        for (line, want) in table {
            assert_eq!(expected(&line.split(' ').collect::<Vec<_>>()), want, "{line}");
        }
    }

    #[test]
    fn services_have_the_shortest_name_that_means_them() {
        let of = |list: &[&str]| {
            let parts = |text: &&str| {
                text.split_once('/').map(|(e, n)| (n.parse().unwrap(), e.parse().unwrap())).unwrap()
            };
            list.iter().map(parts).collect::<Vec<_>>()
        };
        let all = of(&["a/web", "b/web", "b/db"]);
        assert_eq!(shortest(all.clone(), None), ["a/web", "b/web", "db"]);
        assert_eq!(shortest(all, Some(&"b".parse().unwrap())), ["a/web", "web", "db"]);
    }

    #[test]
    fn zsh_and_fish_ask_for_names() {
        let zsh = script(Shell::Zsh);
        for function in [":_windlass_services'", ":_windlass_hosts'"] {
            assert!(zsh.matches(function).count() > 5, "{function}");
        }
        assert!(zsh.starts_with("#compdef windlass\n"));
        assert!(script(Shell::Fish).contains("windlass __complete for"));
        assert!(script(Shell::Bash).contains("complete -F _windlass_named "));
    }
}
