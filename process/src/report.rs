//! Errors as people read them: *what failed · why · what to do next*.
//!
//! Our own messages never repeat their source, those of other crates sometimes do; a cause whose text the
//! line before already ends with is left out.

use std::error::Error;

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
    fn a_repeated_cause_is_left_out() {
        let error = layers(&["transport: refused", "refused", "port closed"]);
        assert_eq!(chain(&error), "transport: refused: port closed");
    }
}
