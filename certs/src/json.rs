//! Strict JSON for everything that is signed: one reading of the bytes, or none.
//!
//! serde_json keeps the last of two equal keys in a map and stops at 128 levels; another reader may keep the
//! first. A first pass over the bytes refuses both before a type is filled in. Unknown fields are refused by
//! the types themselves (`#[serde(deny_unknown_fields)]`).

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

/// Levels of objects and arrays in our documents.
pub const MAX_DEPTH: usize = 32;

/// The reason for which bytes are no document.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than this kind of document may have.
    #[error("{len} bytes are more than the {limit} allowed")]
    TooLarge {
        /// The number of bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// Nested deeper than allowed.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// Not a JSON object at the top.
    #[error("not a JSON object")]
    NotAnObject,
    /// Not JSON, a duplicate or unknown field, a missing field, a value out of range.
    #[error("not a valid document")]
    Malformed(#[source] serde_json::Error),
}

/// Decodes a document: a JSON object without duplicate fields at any level, without trailing bytes, at most
/// `max_depth` deep.
pub fn decode_strict<T: DeserializeOwned>(bytes: &[u8], max_depth: usize) -> Result<T, DecodeError> {
    check(bytes, max_depth)?;
    serde_json::from_slice(bytes).map_err(DecodeError::Malformed)
}

/// Like [`decode_strict`], and refuses more than `max_len` bytes before looking at one.
pub fn decode_bounded<T: DeserializeOwned>(bytes: &[u8], max_len: usize) -> Result<T, DecodeError> {
    if bytes.len() > max_len {
        return Err(DecodeError::TooLarge { len: bytes.len(), limit: max_len });
    }
    decode_strict(bytes, MAX_DEPTH)
}

/// The first pass: structure only, nothing is kept but the keys of the objects that are open.
fn check(bytes: &[u8], max_depth: usize) -> Result<(), DecodeError> {
    // serde fills a struct from an array too, which would be a second spelling of every document.
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return Err(DecodeError::NotAnObject);
    }
    let mut too_deep = false;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let walked = Walk { left: max_depth, too_deep: &mut too_deep }
        .deserialize(&mut reader)
        .and_then(|()| reader.end());
    match walked {
        Ok(()) => Ok(()),
        Err(_) if too_deep => Err(DecodeError::TooDeep(max_depth)),
        Err(error) => Err(DecodeError::Malformed(error)),
    }
}

struct Walk<'a> {
    left: usize,
    too_deep: &'a mut bool,
}

impl Walk<'_> {
    fn deeper<E: Error>(&mut self) -> Result<Walk<'_>, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Walk { left, too_deep: self.too_deep }),
            None => {
                *self.too_deep = true;
                Err(E::custom("nested too deep"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut seen = BTreeSet::new();
        // The *decoded* name: `"\\u0061"` and `"a"` are the same field.
        while let Some(key) = map.next_key::<String>()? {
            map.next_value_seed(Walk { left: inner.left, too_deep: &mut *inner.too_deep })?;
            if !seen.insert(key) {
                return Err(A::Error::custom("duplicate field"));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(Walk { left: inner.left, too_deep: &mut *inner.too_deep })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Any = BTreeMap<String, serde_json::Value>;

    #[test]
    fn one_reading_or_none() {
        #[rustfmt::skip]
        let table = [
            ("an object", r#"{"a":1,"b":[{"a":1},{"a":2}],"c":null,"d":1.5,"e":-1,"f":true}"#, true),
            ("white space around it", " {\"a\":1}\n", true),
            ("duplicate at the top", r#"{"a":1,"a":1}"#, false),
            ("duplicate inside a list", r#"{"x":[{"a":1,"b":2,"a":3}]}"#, false),
            ("duplicate behind an escape", r#"{"a":1,"\u0061":2}"#, false),
            ("trailing bytes", r#"{"a":1}x"#, false),
            ("two documents", r#"{"a":1}{"a":1}"#, false),
            ("an array", "[1]", false),
            ("a number", "1", false),
            ("nothing", "", false),
            ("cut off", r#"{"a":1"#, false),
        ];
        for (case, text, want) in table {
            assert_eq!(decode_strict::<Any>(text.as_bytes(), MAX_DEPTH).is_ok(), want, "{case}");
        }
        assert!(decode_strict::<Any>(b"{\"a\":\"\xff\"}", MAX_DEPTH).is_err());
    }

    #[test]
    fn depth_is_counted_exactly() {
        let nested = |depth: usize| {
            format!("{{\"a\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1)).into_bytes()
        };
        assert!(decode_strict::<Any>(&nested(32), 32).is_ok());
        assert!(matches!(decode_strict::<Any>(&nested(33), 32), Err(DecodeError::TooDeep(32))));
        assert!(matches!(decode_strict::<Any>(&nested(100_000), 32), Err(DecodeError::TooDeep(32))));
        assert!(matches!(decode_bounded::<Any>(&nested(3), 4), Err(DecodeError::TooLarge { .. })));
        assert!(decode_bounded::<Any>(&nested(3), nested(3).len()).is_ok());
        assert!(matches!(decode_strict::<Any>(b"{\"a\":[1,}", 32), Err(DecodeError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_strict::<Any>(&bytes, MAX_DEPTH);
        }

        #[test]
        fn json_like_text_never_panics(text in "[\\[\\]{}:,\"a0\\\\u ]{0,200}") {
            let _ = decode_strict::<Any>(text.as_bytes(), 4);
        }
    }
}
