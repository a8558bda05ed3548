//! `completions` and `__complete`: scripts for shells, which ask this program for the names of services and hosts.

mod words;

use std::collections::BTreeSet;
use std::time::Duration;

use clap::CommandFactory as _;
use clap_complete::Shell;
use windlass_process::completions::mended;

use super::near::shortest;
use crate::args::{Cli, CompleteArgs, CompletionsArgs, Global};
use crate::client::Client;
use crate::context::Context;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::home::Home;
use crate::printer::Printer;
use words::{Kind, expected, joined};

/// Longest wait for names: a person has pressed a key.
const DEADLINE: Duration = Duration::from_secs(1);

/// Completes names in bash where names stand, and nothing else there: no file of the folder is a host.
const BASH: &str = r#"
_windlass_named() {
    _windlass "$@"
    local cur="${COMP_WORDS[COMP_CWORD]}" names
    [[ "$cur" == -* ]] && return 0
    [[ "$cur" == @ ]] && cur=""
    names="$(windlass __complete for "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" || return 0
    COMPREPLY=($(compgen -W "$names" -- "$cur"))
    compopt +o default +o bashdefault 2>/dev/null
    return 0
}
"#;

/// Completes names in zsh; files where there are none.
const ZSH: &str = r#"
_windlass_names() {
    local -a names
    names=(${(f)"$(windlass __complete for "${_windlass_line[@]}" 2>/dev/null)"})
    if (( $#names )); then compadd -a names; else _default; fi
}
"#;

/// Keeps the whole line, of which zsh shows a command only its own part.
const ZSH_LINE: &str = r#"
    (( ${+_windlass_line} )) || local -a _windlass_line=("${(@)words[2,CURRENT]}")"#;

/// Asks for names in fish, and for files where no name stands.
const FISH: &str = r#"
function __windlass_names
    windlass __complete for (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null
end

complete -c windlass -n 'set -g __windlass_found (__windlass_names)' -f -a '$__windlass_found'
"#;

/// The values of an option in fish.
const FISH_VALUES: &str = " -f -a '(__windlass_names)'";
/// The options whose values are names.
const NAMED: [&str; 6] = ["host", "to", "release", "service", "context", "env"];

pub(super) fn completions(args: &CompletionsArgs, printer: &Printer) -> Result<Exit, CtlError> {
    super::tools::only_text("completions", printer)?;
    printer.text(&script(args.shell));
    Ok(Exit::Done)
}

/// The script that clap generates, with names of services and hosts.
fn script(shell: Shell) -> String {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "windlass", &mut bytes);
    let text = mended(&String::from_utf8_lossy(&bytes), &shell.to_string(), "windlass", &["__complete"]);
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
            let body = body.replacen("_windlass() {", &format!("_windlass() {{{ZSH_LINE}"), 1);
            format!("{head}\n{ZSH}{body}")
        }
        Shell::Fish => text.lines().map(|line| valued(line) + "\n").collect::<String>() + FISH,
        _ => text,
    }
}

/// A line of the zsh script, which asks for names where a name may stand.
fn named(line: &str) -> String {
    let text = line.trim_start();
    let begins = |name: &str| {
        ["':", "'::", "'*:", "'*::"]
            .iter()
            .any(|mark| text.strip_prefix(mark).is_some_and(|rest| rest.starts_with(name)))
    };
    let is_named = ["service", "rollout", "host", "of", "release", "name", "from"].into_iter().any(begins)
        || ["]:SERVICE:", "]:HOST:", "]:NAME:", "]:rN:"].iter().any(|value| line.contains(value));
    if is_named { line.replace(":_default'", ":_windlass_names'") } else { line.to_owned() }
}

/// A line of the fish script, which asks for names where an option has them.
fn valued(line: &str) -> String {
    let is_named = NAMED.iter().any(|name| line.contains(&format!(" -l {name} ")));
    if is_named && line.ends_with(" -r") { format!("{line}{FISH_VALUES}") } else { line.to_owned() }
}

/// Prints the names that a shell asks for, or fails where no name stands. Silent where there is no answer in time.
pub(super) async fn names(args: &CompleteArgs, global: &Global, printer: &Printer) -> Exit {
    let given: Vec<&str> = args.words.iter().map(String::as_str).collect();
    let (whole, before) = joined(given.strip_prefix(&["for"]).unwrap_or_default());
    let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
    let kind = match given.as_slice() {
        ["services"] => Some(Kind::Services),
        ["hosts"] => Some(Kind::Hosts),
        _ => expected(&whole),
    };
    let after = |flags: [&str; 2]| {
        let pair = whole.windows(2).find(|pair| flags.contains(&pair[0]));
        pair.map(|pair| pair[1].to_owned())
    };
    let mut global = global.clone();
    global.context = after(["--context"; 2]).or(global.context);
    global.server = after(["--server"; 2]).or(global.server);
    let environment = after(["-e", "--env"]).and_then(|name| name.parse().ok());
    // An environment name that is being typed is not one yet.
    global.environment = environment.filter(|_| kind != Some(Kind::Environments)).or(global.environment);
    let Some(kind) = kind else { return Exit::Refused };
    let last = whole.last().copied().unwrap_or_default();
    if let Ok(Ok(names)) = tokio::time::timeout(DEADLINE, ask(kind, last, &global)).await {
        let rests: Vec<&str> = names.iter().filter_map(|name| name.get(before..)).collect();
        printer.text(&rests.join("\n"));
    }
    Exit::Done
}

/// The names of a kind; services with their environment once the word has one.
async fn ask(kind: Kind, word: &str, global: &Global) -> Result<Vec<String>, CtlError> {
    if kind == Kind::Contexts {
        return Ok(Home::find()?.config()?.contexts.into_keys().collect());
    }
    let context = Context::load(global)?;
    let session = context.session().await?;
    let mut client = session.client();
    Ok(match kind {
        Kind::Contexts => Vec::new(),
        Kind::Hosts => client.hosts().await?.into_iter().map(|host| host.name.to_string()).collect(),
        Kind::Operators => client.operators().await?.into_iter().map(|one| one.name.to_string()).collect(),
        Kind::Environments => {
            let known = client.status("").await?.into_iter().map(|status| status.environment.to_string());
            known.collect::<BTreeSet<_>>().into_iter().collect()
        }
        Kind::Releases(service) => releases(&service, &context, &mut client).await?,
        Kind::ReleasesAt(service) => {
            let known = releases(&service, &context, &mut client).await?;
            known.into_iter().map(|release| format!("{service}@{release}")).collect()
        }
        Kind::Services => {
            let services =
                client.status("").await?.into_iter().map(|status| (status.service, status.environment));
            match &global.environment {
                _ if word.contains('/') => services.map(|(name, at)| format!("{at}/{name}")).collect(),
                Some(given) => {
                    services.filter(|(_, at)| at == given).map(|(name, _)| name.to_string()).collect()
                }
                None => shortest(&services.collect::<Vec<_>>(), context.config.environment.as_ref()),
            }
        }
    })
}

/// The releases of a service, the newest first.
async fn releases(service: &str, context: &Context, client: &mut Client) -> Result<Vec<String>, CtlError> {
    let service = context.service(service, client).await?;
    Ok(client.releases(&service).await?.into_iter().map(|one| one.release.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_the_shortest_name_that_means_them() {
        let of = |list: &[&str]| {
            let parts = |text: &&str| {
                text.split_once('/').map(|(e, n)| (n.parse().unwrap(), e.parse().unwrap())).unwrap()
            };
            list.iter().map(parts).collect::<Vec<_>>()
        };
        let all = of(&["a/web", "b/web", "b/db"]);
        assert_eq!(shortest(&all, None), ["a/web", "b/web", "db"]);
        assert_eq!(shortest(&all, Some(&"b".parse().unwrap())), ["a/web", "web", "db"]);
    }

    #[test]
    fn zsh_and_fish_ask_for_names() {
        let zsh = script(Shell::Zsh);
        assert!(zsh.matches(":_windlass_names'").count() > 20);
        assert_eq!(zsh.matches("local -a _windlass_line=").count(), 1);
        assert!(zsh.starts_with("#compdef windlass\n"));
        let fish = script(Shell::Fish);
        for option in ["ps\" -l host ", "rollback\" -l to ", "events\" -l service ", "status\" -s e -l env "]
        {
            let line = fish.lines().find(|line| line.contains(option)).expect(option);
            assert!(line.ends_with(FISH_VALUES), "{line}");
        }
        let file = fish.lines().find(|line| line.contains("deploy\" -l release ")).unwrap();
        assert!(file.ends_with(" -r -F"), "a release is deployed from a file: {file}");
        assert!(fish.contains("-f -a \"bash elvish fish powershell zsh\"\n"));
        let bash = script(Shell::Bash);
        assert!(bash.contains("complete -F _windlass_named "));
        assert!(!fish.contains("-a \"__complete\"") && !bash.contains(" __complete version"));
    }
}
