//! The words of an unfinished command line, and the kind of name that fits at its end.

use clap::{Arg, Command, CommandFactory as _};

use crate::args::Cli;

/// A kind of name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Services,
    Hosts,
    Environments,
    Contexts,
    Operators,
    /// Releases of a service, like `r6`.
    Releases(String),
    /// Releases with their service, like `web@r6`.
    ReleasesAt(String),
}

/// The kind of name that the last of these words is, after the others.
pub(super) fn expected(words: &[&str]) -> Option<Kind> {
    let (last, before) = words.split_last()?;
    let root = Cli::command();
    let (mut command, mut path, mut given) = (&root, Vec::new(), Vec::new());
    let mut value_of: Option<&Arg> = None;
    for word in before {
        if value_of.take().is_some() {
            continue;
        }
        if let Some(flag) = word.strip_prefix('-') {
            value_of = option(&root, command, flag).filter(|arg| arg.get_action().takes_values());
        } else if let Some(sub) = command.find_subcommand(word).filter(|_| given.is_empty()) {
            command = sub;
            path.push(sub.get_name());
        } else {
            given.push(*word);
        }
    }
    let arg = match value_of {
        Some(arg) => arg,
        None if last.starts_with('-') => return None,
        None => {
            let mut found: Vec<&Arg> = command.get_positionals().collect();
            found.sort_by_key(|arg| arg.get_index());
            let is_many = |arg: &&Arg| matches!(arg.get_action(), clap::ArgAction::Append);
            found.get(given.len()).copied().or_else(|| found.last().copied().filter(is_many))?
        }
    };
    kind(&path, arg, &given, last)
}

/// The kind of an argument, by the name of its value and its command.
fn kind(path: &[&str], arg: &Arg, given: &[&str], last: &str) -> Option<Kind> {
    let of_service = || match last.rsplit_once('@') {
        Some((service, _)) => Kind::ReleasesAt(service.to_owned()),
        None => Kind::Services,
    };
    let release = || given.first().map(|service| Kind::Releases((*service).to_owned()));
    let name = arg.get_value_names().and_then(|names| names.first()).map(|name| name.to_uppercase());
    let name = name.unwrap_or_else(|| arg.get_id().as_str().to_uppercase());
    match (path, arg.get_id().as_str()) {
        (["release", "show"], "of") => return Some(of_service()),
        // `SERVICE rN rN`, or two of `SERVICE@rN`.
        (["release", "diff"], "of") if given.first().is_some_and(|first| !first.contains('@')) => {
            return release();
        }
        (["release", "diff"], "of") => return Some(of_service()),
        (["release", "show"] | ["logs"] | ["rollback"], "release" | "to") => return release(),
        (["context", ..], "name" | "from") | (_, "context") => return Some(Kind::Contexts),
        (["operator", "revoke"], "name") => return Some(Kind::Operators),
        (_, "environment") => return Some(Kind::Environments),
        _ => {}
    }
    match name.as_str() {
        "SERVICE" | "ROLLOUT" => Some(of_service()),
        "HOST" => Some(Kind::Hosts),
        _ => None,
    }
}

/// The option that a word names, without its first dash.
fn option<'a>(root: &'a Command, command: &'a Command, flag: &str) -> Option<&'a Arg> {
    let is_it = |arg: &&Arg| match flag.strip_prefix('-') {
        Some(long) => arg.get_long() == Some(long),
        None => flag.chars().count() == 1 && arg.get_short() == flag.chars().next(),
    };
    command.get_arguments().chain(root.get_arguments()).find(is_it)
}

/// Joins `web`, `@`, `r6`, into which bash splits one word. The second value is how much of the last word stands before what
/// bash completes.
pub(super) fn joined(words: &[&str]) -> (Vec<String>, usize) {
    let (mut whole, mut before): (Vec<String>, usize) = (Vec::new(), 0);
    let mut is_open = false;
    for word in words {
        let joins = is_open || word.starts_with('@') && !whole.is_empty();
        match whole.last_mut().filter(|_| joins) {
            Some(last) => {
                before = if *word == "@" { last.len() + 1 } else { last.len() };
                last.push_str(word);
            }
            None => {
                before = 0;
                whole.push((*word).to_owned());
            }
        }
        is_open = *word == "@";
    }
    (whole, before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_before_the_cursor_say_which_names_fit() {
        use Kind::{Contexts, Environments, Hosts, Operators, Services};
        let (releases, at) =
            (|| Some(Kind::Releases("web".to_owned())), || Some(Kind::ReleasesAt("web".to_owned())));
        #[rustfmt::skip]
        let table = [
            ("rollback w", Some(Services)), ("rollback web ", None), ("rm web w", Some(Services)), ("rollout show ", Some(Services)),
            ("host show ", Some(Hosts)), ("host drain --timeout 5m w", Some(Hosts)), ("ps --host ", Some(Hosts)), ("ps --host h1 ", Some(Services)),
            ("-e prod status ", Some(Services)), ("status -", None), ("deploy ", None), ("events --service w", Some(Services)),
            ("wait h1 ", Some(Hosts)), ("routes forget ", Some(Hosts)), ("ro", None), ("", None),
            ("release show ", Some(Services)), ("release show web ", releases()), ("release show web@", at()), ("release show web@r", at()),
            ("release diff ", Some(Services)), ("release diff web r6 ", releases()), ("release diff web@r6 web@", at()), ("rollback web --to ", releases()),
            ("rollback --to ", None), ("rollback web@r", at()), ("rollout show web@", at()), ("logs web --release ", releases()), ("release ls ", Some(Services)),
            ("context use ", Some(Contexts)), ("context rm d", Some(Contexts)), ("context rename ", Some(Contexts)), ("context rename a ", None),
            ("--context ", Some(Contexts)), ("status --context d", Some(Contexts)), ("operator revoke ", Some(Operators)), ("operator invite ", None),
            ("status -e ", Some(Environments)), ("--env p", Some(Environments)),
        ];
        for (line, want) in table {
            assert_eq!(expected(&line.split(' ').collect::<Vec<_>>()), want, "{line}");
        }
    }

    #[test]
    fn a_word_that_bash_splits_is_joined() {
        #[rustfmt::skip]
        let table = [
            ("rollback web @ r6", "rollback web@r6", 4), ("rollback web @", "rollback web@", 4), ("rollback web@r", "rollback web@r", 0),
            ("release diff web @ r6 web @ r", "release diff web@r6 web@r", 4), ("rm web ", "rm web ", 0),
        ];
        for (line, want, before) in table {
            let words: Vec<&str> = line.split(' ').collect();
            let (got, length) = joined(&words);
            assert_eq!((got.join(" ").as_str(), length), (want, before), "{line}");
        }
    }
}
