//! Command lines that cannot be read: what clap says, with hints that are right. The words of other systems have their own
//! (`foreign`); what clap finds alike stays only where a typing error explains it.

mod foreign;

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _};
use windlass_core::manifest::closest;
use windlass_process::report::{ErrorReport, gives};

use crate::args::Cli;
use crate::error::Report;
use crate::exit::Exit;
use crate::printer;

/// Fewest letters of the beginning of a word that stand for it.
const BEGINNING: usize = 3;

/// Prints the answer of clap: help and versions to stdout, mistakes to stderr, as JSON where that was asked for.
pub(crate) fn told(mut error: clap::Error, args: &[OsString]) -> Exit {
    if !error.use_stderr() {
        drop(error.print());
        return Exit::Done;
    }
    let own = mend(&mut error, args);
    if gives(args, &["-o", "--output", "--format"], &["json", "yaml"]) {
        let ErrorReport { error, causes, hint } = ErrorReport::of_usage(&error.render().to_string());
        let hint = own.or(hint);
        printer::failure(&Report { error, causes, hint, problems: Vec::new() }, true);
    } else {
        drop(error.print());
    }
    Exit::Usage
}

/// Puts right what clap suggests. Answers with the hint that it gave, if it gave one of ours.
fn mend(error: &mut clap::Error, args: &[OsString]) -> Option<String> {
    let root = Cli::command();
    let (path, command) = reached(&root, args);
    let own = with_unit(error).or_else(|| foreign_word(error, &path, command));
    // `-- --flag` is no service of anybody; a flag that stands before its command (`'deploy --detach' exists`) is worth a tip.
    if let Some(ContextValue::StyledStrs(mut tips)) = error.remove(ContextKind::Suggested) {
        tips.retain(|tip| tip.to_string().ends_with("exists"));
        if !tips.is_empty() {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        }
    }
    if let Some(hint) = &own {
        for kind in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        {
            error.remove(kind);
        }
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.clone().into()]));
        return own;
    }
    if let Some(word) = text(error, ContextKind::InvalidSubcommand) {
        let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        let names: Vec<&str> =
            shown.flat_map(|sub| std::iter::once(sub.get_name()).chain(sub.get_visible_aliases())).collect();
        let near = near(&word, &names).map(|name| ContextValue::Strings(vec![name.to_owned()]));
        suggest(error, ContextKind::SuggestedSubcommand, near);
    }
    for (given, kind) in [
        (ContextKind::InvalidArg, ContextKind::SuggestedArg),
        (ContextKind::InvalidValue, ContextKind::SuggestedValue),
    ] {
        let (Some(word), Some(like)) = (text(error, given), text(error, kind)) else { continue };
        let near = near(word.trim_start_matches('-'), &[like.trim_start_matches('-')]).is_some();
        suggest(error, kind, near.then_some(ContextValue::String(like)));
    }
    None
}

fn suggest(error: &mut clap::Error, kind: ContextKind, value: Option<ContextValue>) {
    match value {
        Some(value) => drop(error.insert(kind, value)),
        None => drop(error.remove(kind)),
    }
}

/// The name that is a typing error away from `word`, or the only one that begins with it.
fn near<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let beginning = || {
        let mut found = names.iter().filter(|name| word.len() >= BEGINNING && name.starts_with(word));
        found.next().filter(|_| found.next().is_none()).copied()
    };
    closest(word, names.iter().copied()).or_else(beginning)
}

/// The command that a command line has come to, and its path: `rollout ls`.
fn reached<'c>(root: &'c Command, args: &[OsString]) -> (String, &'c Command) {
    let (mut command, mut path) = (root, Vec::new());
    let mut words = args.iter().skip(1).filter_map(|arg| arg.to_str());
    while let Some(word) = words.next() {
        if let Some(flag) = word.strip_prefix('-') {
            if takes_value(root, flag) {
                words.next();
            }
            continue;
        }
        let Some(sub) = command.find_subcommand(word) else { break };
        command = sub;
        path.push(sub.get_name());
    }
    (path.join(" "), command)
}

/// Returns whether the value of a common flag is the next word.
fn takes_value(root: &Command, flag: &str) -> bool {
    let is_it = |arg: &&clap::Arg| match flag.strip_prefix('-') {
        Some(long) => arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&long)),
        None => arg.get_short().is_some_and(|short| flag == short.to_string()),
    };
    root.get_arguments().find(is_it).is_some_and(|arg| arg.get_action().takes_values())
}

/// The hint for a word of another system.
fn foreign_word(error: &clap::Error, path: &str, command: &Command) -> Option<String> {
    let kind = match error.kind() {
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidValue => ContextKind::InvalidValue,
        _ => return None,
    };
    let word = text(error, kind)?;
    let word = word.split(['=', ' ']).next().unwrap_or_default();
    let same =
        || foreign::same(word).filter(|name| !path.is_empty() && command.find_subcommand(name).is_some());
    let hint = foreign::hint(path, word).map(str::to_owned);
    hint.or_else(|| same().map(|name| format!("`windlass {path} {name}`")))
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// The hint for `2` where `2s` was meant.
fn with_unit(error: &clap::Error) -> Option<String> {
    let text = text(error, ContextKind::InvalidValue)?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_duration = error.source().is_some_and(|source| source.to_string().contains("is not a duration"));
    (is_number && is_duration).then(|| format!("with a unit: `{text}s`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_a_line_has_come_to_is_found() {
        let root = Cli::command();
        for (line, want) in [
            ("windlass delete web", ""),
            ("windlass -e staging rollout undo", "rollout"),
            ("windlass --output=json rollout ls --x", "rollout ls"),
            ("windlass --context prod -y ls web", "status"),
            ("windlass", ""),
        ] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(reached(&root, &args).0, want, "{line}");
        }
    }

    #[test]
    fn a_word_is_near_to_its_typing_errors_and_beginnings() {
        let names = ["completions", "context", "deploy", "release", "status"];
        for (word, want) in [
            ("complet", Some("completions")),
            ("statsu", Some("status")),
            ("delete", None),
            ("secret", None),
            ("co", None),
            ("con", Some("context")),
        ] {
            assert_eq!(near(word, &names), want, "{word}");
        }
    }
}
