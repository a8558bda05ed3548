//! Errors as people read them: *what failed · why · what to do next*.
//!
//! Our own messages never repeat their source, those of other crates sometimes do; a cause whose text the
//! line before already ends with is left out.

use std::error::Error;
use std::ffi::OsString;

use serde::Serialize;

/// All causes on one line, for logs and RPC statuses: `a: b: c`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).join(": ")
}

/// The error and its causes, outermost first, without repetition.
pub fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut lines = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if lines.last().is_none_or(|last| !last.ends_with(&text)) {
            lines.push(text);
        }
        source = cause.source();
    }
    lines
}

/// Several lines, for a terminal:
///
/// ```text
/// error: failed to read client certificate `/x/tls.crt`
///   caused by: No such file or directory (os error 2)
///
/// hint: create development certificates with `windlass init`
/// ```
pub fn full(error: &(dyn Error + 'static), hint: Option<&str>) -> String {
    let mut lines = causes(error).into_iter();
    let mut text = format!("error: {}", lines.next().unwrap_or_default());
    for cause in lines {
        text.push_str("\n  caused by: ");
        text.push_str(&cause);
    }
    if let Some(hint) = hint {
        text.push_str("\n\nhint: ");
        text.push_str(hint);
    }
    text
}

/// An error as programs read it: `{"error": …, "causes": […], "hint": …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// The failure.
    pub error: String,
    /// Its causes, the outermost first.
    pub causes: Vec<String>,
    /// The next step.
    pub hint: Option<String>,
}

impl ErrorReport {
    /// The error with its causes.
    pub fn of(error: &(dyn Error + 'static), hint: Option<&str>) -> Self {
        let mut lines = causes(error).into_iter();
        let error = lines.next().unwrap_or_default();
        Self { error, causes: lines.collect(), hint: hint.map(str::to_owned) }
    }

    /// A command line that could not be read, from the words for people: `error: …`, lines of details, `tip: …`.
    pub fn of_usage(words: &str) -> Self {
        let mut lines = words.lines().map(str::trim).filter(|line| !line.is_empty());
        let error = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let (tips, causes): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("tip:"));
        let causes = causes.into_iter().filter(|line| !line.starts_with("For more")).map(str::to_owned);
        let hint = tips.first().map_or("see --help", |tip| tip.trim_start_matches("tip:").trim());
        Self { error, causes: causes.collect(), hint: Some(hint.to_owned()) }
    }

    /// One object on one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("texts are JSON")
    }
}

/// Returns whether a command line that could not be read gives one of `flags` one of `values`: `-o json`, `-ojson`,
/// `--output=json`.
pub fn gives(args: &[OsString], flags: &[&str], values: &[&str]) -> bool {
    let is_value = |text: &str| values.contains(&text);
    let apart = |pair: &[OsString]| {
        let (flag, value) = (pair[0].to_str(), pair[1].to_str());
        flag.is_some_and(|flag| flags.contains(&flag)) && value.is_some_and(is_value)
    };
    let joined = |arg: &OsString| {
        flags.iter().any(|flag| {
            let rest = arg.to_str().and_then(|arg| arg.strip_prefix(flag));
            // Only the value of a flag of one letter stands without `=`.
            let value =
                |rest: &'_ str| rest.strip_prefix('=').or((flag.len() == 2).then_some(rest)).map(is_value);
            rest.and_then(value) == Some(true)
        })
    };
    args.windows(2).any(apart) || args.iter().any(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, rest) = texts.split_first().unwrap();
        let source = (!rest.is_empty()).then(|| Box::new(layers(rest)));
        Layer { text, source }
    }

    #[test]
    fn one_line_and_many() {
        let error = layers(&["cannot start", "cannot read `x`", "no such file"]);
        assert_eq!(chain(&error), "cannot start: cannot read `x`: no such file");
        assert_eq!(
            full(&error, Some("create it")),
            "error: cannot start\n  caused by: cannot read `x`\n  caused by: no such file\n\nhint: create it"
        );
        assert_eq!(full(&layers(&["alone"]), None), "error: alone");
    }

    #[test]
    fn an_error_for_programs_has_the_same_parts() {
        let report = ErrorReport::of(&layers(&["cannot start", "no such file"]), Some("create it"));
        assert_eq!(report.json(), r#"{"error":"cannot start","causes":["no such file"],"hint":"create it"}"#);
        assert_eq!(
            ErrorReport::of(&layers(&["alone"]), None).json(),
            r#"{"error":"alone","causes":[],"hint":null}"#
        );
        let words = "error: unexpected argument '--x' found\n\n  tip: a similar argument exists: '--y'\n\nUsage: a [OPTIONS]\n\nFor \
                     more information, try '--help'.\n";
        let report = ErrorReport::of_usage(words);
        assert_eq!(report.error, "unexpected argument '--x' found");
        assert_eq!(report.causes, ["Usage: a [OPTIONS]"]);
        assert_eq!(report.hint.as_deref(), Some("a similar argument exists: '--y'"));
        assert_eq!(ErrorReport::of_usage("error: no").hint.as_deref(), Some("see --help"));
    }

    #[test]
    fn the_format_is_known_before_the_rest_is_read() {
        let asked = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            gives(&words, &["-o", "--output", "--format"], &["json", "yaml"])
        };
        for line in [
            "w -o json",
            "w --output yaml",
            "w --format json",
            "w -ojson",
            "w -o=json",
            "w --output=json",
            "w --format=yaml",
        ] {
            assert!(asked(line), "{line}");
        }
        for line in ["w -o table", "w --out json", "w json", "w -o", "w --outputjson=json"] {
            assert!(!asked(line), "{line}");
        }
    }

    #[test]
    fn a_repeated_cause_is_left_out() {
        let error = layers(&["transport: refused", "refused", "port closed"]);
        assert_eq!(chain(&error), "transport: refused: port closed");
    }
}
