//! `${NAME:-value}` in texts, replaced as compose does where no variable is set.

/// Stands for `$$` until values are written.
pub(super) const DOLLAR: char = '\u{1}';

/// Replaces variables that have a default; others are left as `${NAME}`, and `$$` becomes [`DOLLAR`].
pub(super) fn interpolate(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push(DOLLAR);
            rest = after;
            continue;
        }
        let (body, after) = match rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((body, after)) => (body, after),
            None => rest.split_at(name_length(rest)),
        };
        let length = name_length(body);
        if length == 0 {
            out.push(DOLLAR);
            continue;
        }
        let (name, default) = body.split_at(length);
        match default.strip_prefix(":-").or_else(|| default.strip_prefix('-')) {
            Some(default) => out.push_str(default),
            None => out.push_str(&format!("${{{name}}}")),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn name_length(text: &str) -> usize {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let length = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    if starts_well { length } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_by_their_defaults() {
        #[rustfmt::skip]
        let table = [
            ("${A:-x}", "x"), ("${A-x}/y", "x/y"), ("${A}", "${A}"), ("$A-b", "${A}-b"), ("${A:?no}", "${A}"),
            ("a$$b", "a\u{1}b"), ("5$", "5\u{1}"), ("$1", "\u{1}1"), ("${A:-}${B:-2}", "2"), ("${", "\u{1}{"),
        ];
        for (text, want) in table {
            assert_eq!(interpolate(text), want, "{text}");
        }
    }
}
