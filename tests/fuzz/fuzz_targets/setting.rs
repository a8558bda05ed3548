//! `--set`, names and quantities: text of people.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use windlass_core::manifest::Setting;
use windlass_core::{Amount, Counter, Digest, HostId, ServiceId, Size, SlotId, Span, Timestamp};

/// A value that is read is written in its one spelling, which is read to the same.
fn one_spelling<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        assert_eq!(written.parse::<T>().ok(), Some(value), "`{text}` is written `{written}`");
    }
}

fuzz_target!(|text: &str| {
    one_spelling::<Setting>(text);
    one_spelling::<HostId>(text);
    one_spelling::<ServiceId>(text);
    one_spelling::<SlotId>(text);
    one_spelling::<Counter>(text);
    one_spelling::<Digest>(text);
    one_spelling::<Size>(text);
    one_spelling::<Span>(text);
    one_spelling::<Amount>(text);
    one_spelling::<Timestamp>(text);
});
