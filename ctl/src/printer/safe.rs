//! What reaches a person's terminal. Much of it was written by others: names and reasons that a captured host made up,
//! lines of a container, the words of a registry. None of it may move the cursor, set a title, or turn the text around.

use std::borrow::Cow;

/// The text, with everything replaced that a terminal would act upon. Colours stay: they are ours, and harmless.
pub(super) fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = if c == '\u{1b}' { colour(rest) } else { 0 };
        if taken > 0 {
            out.push_str(&rest[..taken]);
            rest = &rest[taken..];
            continue;
        }
        out.push(if acts(c) { '\u{fffd}' } else { c });
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(out)
}

fn acts(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && c != '\n' && c != '\t') || turns
}

/// Length of the colour that `text` begins with: `ESC [ 31 m`. 0 if it is something else.
fn colour(text: &str) -> usize {
    let Some(after) = text.strip_prefix("\u{1b}[") else { return 0 };
    let digits = after.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').take(16).count();
    if after.as_bytes().get(digits) == Some(&b'm') { 2 + digits + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_wrote_acts_on_the_terminal() {
        #[rustfmt::skip]
        let table = [
            ("plain, with\ttabs\nand lines", "plain, with\ttabs\nand lines"), ("größer → ✔", "größer → ✔"),
            ("\u{1b}[31mred\u{1b}[0m", "\u{1b}[31mred\u{1b}[0m"), ("\u{1b}[1;31mred\u{1b}[m", "\u{1b}[1;31mred\u{1b}[m"),
            ("\u{1b}[2J", "\u{fffd}[2J"), ("\u{1b}]0;title\u{7}", "\u{fffd}]0;title\u{fffd}"), ("\u{1b}[31", "\u{fffd}[31"),
            ("\u{1b}", "\u{fffd}"), ("\u{1b}\u{1b}[31m", "\u{fffd}\u{1b}[31m"), ("\u{1b}[31;2Jm", "\u{fffd}[31;2Jm"),
            ("over\rwritten", "over\u{fffd}written"), ("ba\u{8}ck", "ba\u{fffd}ck"), ("\u{9b}2J", "\u{fffd}2J"), ("nul\0", "nul\u{fffd}"),
            ("\u{202e}gnp.exe", "\u{fffd}gnp.exe"), ("\u{2066}x\u{2069}", "\u{fffd}x\u{fffd}"),
        ];
        for (text, want) in table {
            assert_eq!(safe(text), want, "{text:?}");
            assert_eq!(safe(want), want, "what is safe stays as it is");
        }
    }
}
