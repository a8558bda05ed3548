//! The text of a name.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Bytes that a text holds in itself.
const HEAD: usize = 16;

/// The text of a name, in ASCII and without a zero byte. Maps are searched by names all the time: copying and comparing a short one
/// looks at no other memory, and copies of a longer one share it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Text {
    /// Its first bytes; zeros follow a shorter one.
    head: [u8; HEAD],
    /// All of it, if it is longer.
    long: Option<Arc<String>>,
}

impl Text {
    /// Holds `text`, a name that was checked.
    pub(super) fn new(text: &str) -> Self {
        let mut head = [0; HEAD];
        head.iter_mut().zip(text.bytes()).for_each(|(to, byte)| *to = byte);
        Self { head, long: (text.len() > HEAD).then(|| Arc::new(text.to_owned())) }
    }

    pub(super) fn as_str(&self) -> &str {
        if let Some(long) = &self.long {
            return long;
        }
        let len = self.head.iter().position(|byte| *byte == 0).unwrap_or(HEAD);
        std::str::from_utf8(&self.head[..len]).expect("a name that was checked is ASCII")
    }

    /// The first bytes as a number whose order is that of the text: a zero byte is below every byte of a name.
    #[inline]
    const fn number(&self) -> u128 {
        u128::from_be_bytes(self.head)
    }
}

/// By text.
impl Ord for Text {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        // With equal heads, a text that ends there is the beginning of a longer one: none is below some.
        self.number().cmp(&other.number()).then_with(|| self.long.cmp(&other.long))
    }
}

impl PartialOrd for Text {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Names around the length of a head, which share it, or are the beginning of each other.
    fn texts() -> Vec<String> {
        let long = "web-frontend-in-eu-central-1";
        let mut texts: Vec<String> = (1..=long.len()).map(|len| long[..len].to_owned()).collect();
        let others =
            ["a", "z", "web", "web-0", "web-frontend-10", "web-frontend-in-", "web-frontend-in-e0", "9"];
        texts.extend(others.map(str::to_owned));
        texts.push("a".repeat(63));
        texts
    }

    #[test]
    fn names_compare_as_their_texts_do() {
        for one in &texts() {
            for other in &texts() {
                let (a, b) = (Text::new(one), Text::new(other));
                assert_eq!((a.cmp(&b), a == b), (one.cmp(other), one == other), "{one} and {other}");
            }
        }
    }

    #[test]
    fn a_name_gives_its_text_back_and_maps_find_it() {
        let known: BTreeSet<Text> = texts().iter().map(|text| Text::new(text)).collect();
        for text in &texts() {
            assert_eq!(Text::new(text).as_str(), text);
            assert!(known.contains(&Text::new(text).clone()), "{text}");
        }
        let sorted: BTreeSet<String> = texts().into_iter().collect();
        assert!(known.iter().map(Text::as_str).eq(sorted.iter().map(String::as_str)));
    }
}
