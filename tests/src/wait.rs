//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks again and again until `look` answers with `Ok`, and gives that back.
///
/// # Panics
/// When `limit` has passed: with `what` and the last `Err`, which says what was seen instead.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let started_at = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(seen) if started_at.elapsed() >= limit => {
                panic!("waited {limit:?} in vain until {what}; last seen: {seen}")
            }
            Err(_) => pause(LOOK_EVERY),
        }
    }
}

/// The same for a yes or no.
#[track_caller]
pub fn until_true(what: &str, limit: Duration, mut look: impl FnMut() -> bool) {
    until(what, limit, || if look() { Ok(()) } else { Err("not yet".to_owned()) });
}

/// Lets time pass between two looks.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
