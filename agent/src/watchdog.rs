//! Ends an agent whose loop stands still. Whatever hangs is called aside (see [`windlass_process::aside`]); this is for
//! what nobody thought of. Whoever supervises the process starts it again, and the new one holds to the lease that this
//! one wrote down: `docs/adr/0021`.
//!
//! A thread of its own, which needs nothing of the runtime, looks whether the runtime has moved a counter. It counts
//! its own looks and reads no clock: a process that was stopped, or slept with its machine, has missed as many looks as
//! beats, and is not ended for that.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The exit code of an agent whose loop stood still.
pub const STALLED: i32 = 70;
/// Time between two signs of life of the loop.
const BEAT: Duration = Duration::from_millis(250);
/// Time between two looks at them.
const LOOK: Duration = Duration::from_millis(500);
/// So many looks without a beat are a loop that stands still: eight seconds.
const LOOKS: u32 = 16;
/// Time for an end in order.
const ORDERLY: Duration = Duration::from_secs(1);

/// The loop's side. Dropping it ends the watch.
#[derive(Debug)]
pub struct Pulse(Arc<AtomicU64>);

/// Begins to watch.
///
/// # Errors
/// There is no thread to be had.
pub fn watch() -> std::io::Result<Pulse> {
    let beats = Arc::new(AtomicU64::new(0));
    let seen = beats.clone();
    std::thread::Builder::new().name("watchdog".to_owned()).stack_size(64 * 1024).spawn(move || {
        if stalls(&seen, LOOK, LOOKS) {
            end();
        }
    })?;
    Ok(Pulse(beats))
}

impl Pulse {
    /// The task that beats, until it is cancelled. As long as it lives, somebody watches.
    pub async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        loop {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(BEAT) => {}
            }
        }
    }
}

/// Looks until nobody beats any more because the loop stands still (true), or because it has ended (false).
fn stalls(beats: &Arc<AtomicU64>, every: Duration, most: u32) -> bool {
    let (mut last, mut still) = (None, 0);
    while Arc::strong_count(beats) > 1 {
        sleep(every);
        let now = Some(beats.load(Ordering::Relaxed));
        still = if now == last { still + 1 } else { 0 };
        last = now;
        if still >= most {
            return true;
        }
    }
    false
}

/// Not by a signal: that would leave a core file with our keys in it. What runs at the end of a process may hang as
/// well, or stderr, so that another thread insists.
#[expect(clippy::exit, reason = "nobody else can end it")]
fn end() {
    let insist = std::thread::Builder::new().spawn(|| {
        sleep(ORDERLY);
        std::process::abort();
    });
    if insist.is_err() {
        std::process::abort();
    }
    let seconds = (LOOK * LOOKS).as_secs();
    let line = format!(
        "windlass-agent: its loop has stood still for {seconds} s: ending with code {STALLED}, to be started again; what runs goes on\n"
    );
    drop(std::io::stderr().write_all(line.as_bytes())); // it ends all the same
    std::process::exit(STALLED);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(5);

    #[test]
    fn a_loop_that_stands_still_is_told_from_one_that_ended() {
        let beats = Arc::new(AtomicU64::new(0));
        assert!(!stalls(&beats, TICK, 3), "nobody beats: it has ended");
        let pulse = beats.clone();
        assert!(stalls(&beats, TICK, 3), "somebody should and does not");
        drop(pulse);
    }

    #[test]
    fn a_loop_that_beats_now_and_then_stands_not_still() {
        let beats = Arc::new(AtomicU64::new(0));
        let pulse = beats.clone();
        let beating = std::thread::spawn(move || {
            for _ in 0..50 {
                pulse.fetch_add(1, Ordering::Relaxed);
                sleep(TICK);
            }
        });
        // More looks than a machine that holds up the one that beats ever leaves in between.
        assert!(!stalls(&beats, TICK, 4000), "it ended after a while");
        beating.join().unwrap();
    }
}
