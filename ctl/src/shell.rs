//! Commands that people paste: every word that is not plain is quoted, so that a shell takes it as it stands.

use std::borrow::Cow;

/// A word of a command line.
pub(crate) fn quote(word: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=@,+%".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        #[rustfmt::skip]
        let table = [("next.trust.json", "next.trust.json"), ("/a b/c", "'/a b/c'"), ("$(id)", "'$(id)'"), ("it's", r"'it'\''s'"),
            ("", "''"), ("a;b", "'a;b'"), ("ed25519:Ab-_", "ed25519:Ab-_"), ("line\nline", "'line\nline'")];
        for (word, want) in table {
            assert_eq!(quote(word), want, "{word:?}");
        }
    }
}
