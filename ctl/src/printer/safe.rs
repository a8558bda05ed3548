//! Text for a person's terminal. Much of it was written by others: names and reasons that a captured host made up,
//! lines of a container, the words of a registry. None of it may move the cursor, set a title, or turn the text around.

use std::borrow::Cow;

/// The text, with everything replaced that a terminal would act upon. Colours stay: they are ours, and harmless.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
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

/// The same for one line: a line end that others wrote would begin a line of theirs that looks like one of ours.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    match safe(text.trim_end_matches(['\n', '\r'])) {
        Cow::Borrowed(text) if !text.contains('\n') => Cow::Borrowed(text),
        text => Cow::Owned(text.replace('\n', "\u{fffd}")),
    }
}

/// JSON, with everything that a terminal would act upon written as an escape: the same document to a program.
pub(super) fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Returns whether a terminal would act upon `c`.
pub(crate) fn acts(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
    );
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    // Characters without a shape, by which a text says something else than it shows.
    let hides = matches!(
        c,
        '\u{00ad}'
            | '\u{200b}'..='\u{200d}'
            | '\u{2060}'..='\u{2064}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    (c.is_control() && c != '\n' && c != '\t') || turns || breaks || hides
}

/// The colours that we paint with. Others hide text (8), or let it blink.
const COLOURS: [&str; 12] = ["", "0", "1", "2", "4", "31", "32", "33", "34", "35", "36", "90"];
/// The colours of cells as comfy-table writes them: red, green, yellow, and the end of each.
const CELLS: [&str; 4] = ["38;5;9", "38;5;10", "38;5;11", "39"];

/// Length of the colour that `text` begins with: `ESC [ 31 m`. 0 if it is something else.
fn colour(text: &str) -> usize {
    let Some(after) = text.strip_prefix("\u{1b}[") else { return 0 };
    let digits = after.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').take(16).count();
    let codes = &after[..digits];
    let ours = CELLS.contains(&codes) || codes.split(';').all(|code| COLOURS.contains(&code));
    if ours && after.as_bytes().get(digits) == Some(&b'm') { 2 + digits + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            ("\u{1b}[8mhidden", "\u{fffd}[8mhidden"), ("\u{1b}]52;c;aGk=\u{7}", "\u{fffd}]52;c;aGk=\u{fffd}"),
            ("\u{1b}[38;5;0mblack", "\u{fffd}[38;5;0mblack"), ("\u{1b}[38;5;9;8mhidden", "\u{fffd}[38;5;9;8mhidden"),
            ("\u{202e}gnp.exe", "\u{fffd}gnp.exe"), ("\u{2066}x\u{2069}", "\u{fffd}x\u{fffd}"),
        ];
        for (text, want) in table {
            assert_eq!(safe(text), want, "{text:?}");
            assert_eq!(safe(want), want, "what is safe stays as it is");
        }
    }

    /// A piece of text as an attacker would write it: plain, and every class of what terminals act upon.
    fn pieces() -> impl Strategy<Value = String> {
        let terminators = prop_oneof![Just("\u{7}"), Just("\u{1b}\\"), Just("\u{9c}"), Just("")];
        let osc = (0_u16..2000, "[ -~]{0,12}", terminators)
            .prop_map(|(n, text, end)| format!("\u{1b}]{n};{text}{end}"));
        let csi = ("[0-9;?<=>!]{0,6}", "[@-~]").prop_map(|(params, end)| format!("\u{1b}[{params}{end}"));
        let dcs = ("[PX^_]", "[ -~]{0,8}").prop_map(|(kind, text)| format!("\u{1b}{kind}{text}\u{1b}\\"));
        let esc = "[ -~]".prop_map(|end| format!("\u{1b}{end}"));
        let control = (0_u32..0x20).prop_map(|c| char::from_u32(c).unwrap_or(' ').to_string());
        let c1 = (0x7f_u32..0xa0).prop_map(|c| char::from_u32(c).unwrap_or(' ').to_string());
        let odd = (0x2000_u32..0x2070).prop_map(|c| char::from_u32(c).unwrap_or(' ').to_string());
        let piece = prop_oneof![osc, csi, dcs, esc, control, c1, odd, any::<String>(), "[a-z ö→]{0,8}"];
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    /// The text without our colours.
    fn plain(text: &str) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some(c) = rest.chars().next() {
            let taken = if c == '\u{1b}' { colour(rest) } else { 0 };
            if taken == 0 {
                out.push(c);
            }
            rest = &rest[taken.max(if taken == 0 { c.len_utf8() } else { 0 })..];
        }
        out
    }

    proptest! {
        #[test]
        fn no_escape_of_any_class_reaches_the_terminal(text in pieces()) {
            for shown in [safe(&text).into_owned(), line(&text).into_owned()] {
                prop_assert!(!plain(&shown).chars().any(acts), "{shown:?}");
            }
            prop_assert!(!line(&text).contains('\n'), "one line stays one line");
            let document = serde_json::json!({ "words": &text, "list": [&text] });
            let written = serde_json::to_string_pretty(&document).unwrap();
            let shown = json(&written);
            prop_assert!(!shown.chars().any(acts), "{shown:?}");
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), document);
        }
    }
}
