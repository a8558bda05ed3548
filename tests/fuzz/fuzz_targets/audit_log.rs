//! The audit log: entries and checkpoints of whoever kept it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use windlass_core::audit::{Checkpoint, Entry, Verdict, verify};

fuzz_target!(|data: &[u8]| {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let checkpoints: Vec<Checkpoint> =
        lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let entries: Vec<&[u8]> =
        lines.into_iter().filter(|line| serde_json::from_slice::<Checkpoint>(line).is_err()).collect();
    let verdict = verify(&entries, &checkpoints);
    assert!(!verdict.to_string().is_empty());
    if verdict == Verdict::Ok {
        for (at, bytes) in entries.iter().enumerate() {
            let entry: Entry = serde_json::from_slice(bytes).expect("what is verified was read");
            assert_eq!(entry.n, at as u64);
        }
    }
});
