//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// The least and the most time between two looks.
const REST: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(300));
/// A look rests for so many times as long as it took: one that starts a program leaves most of a processor to what it waits for.
const TIMES: u32 = 3;

/// Looks again and again until `look` answers with `Ok`, and gives that back. The last look begins after `limit`: a
/// scenario that the machine held up in between looks once more.
///
/// # Panics
/// When `limit` has passed: with `what` and the last `Err`, which says what was seen instead.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let started_at = Instant::now();
    loop {
        let looked_at = Instant::now();
        match look() {
            Ok(value) => return value,
            Err(seen) if looked_at.duration_since(started_at) >= limit => {
                panic!("waited {limit:?} in vain until {what}; last seen: {seen}")
            }
            Err(_) => pause((looked_at.elapsed() * TIMES).clamp(REST.0, REST.1)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_that_was_held_up_is_followed_by_another() {
        let mut looks = 0;
        let seen = until("it is there", Duration::from_millis(20), || {
            looks += 1;
            pause(Duration::from_millis(40)); // longer than the limit
            if looks > 1 { Ok(looks) } else { Err("not yet".to_owned()) }
        });
        assert_eq!(seen, 2);
    }

    #[test]
    #[should_panic(expected = "in vain until it is there; last seen: look 2")]
    fn nothing_is_waited_for_without_end() {
        let mut looks = 0;
        until("it is there", Duration::from_millis(20), || {
            looks += 1;
            Err::<(), _>(format!("look {looks}"))
        });
    }
}
